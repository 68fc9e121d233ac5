"""Requests over a channel: the client's side, and what becomes of it where there is none, or one breaks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from orchestrator.domain import trace
from orchestrator.domain.errors import Refused, Unavailable, Unreached
from orchestrator.engine import Engine
from orchestrator.protocol import commands as c
from orchestrator.protocol.lines import LINE_BYTES_MAX
from orchestrator.protocol.records import Value
from orchestrator.store import MemoryStore
from orchestrator.transport import channel, skew
from orchestrator.transport.http import SessionSettings
from tests.integration.server_support import promise, served
from tests.integration.transport_support import Announcing, counted, create, described

TOKEN = "0123456789abcdef-secret"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def test_one_connection_carries_what_is_asked() -> None:
    async with Engine(MemoryStore()) as engine, counted(engine) as (url, paths), described(url) as http:
        paths.clear()
        *made, missing, refused = await asyncio.gather(
            *(http.call(create(f"p-{number}")) for number in range(600)),
            http.call(c.PromiseGet(id="nobody")),
            http.call(create("")),
            return_exceptions=True,
        )
        for number in range(5):
            assert (await http.call(c.PromiseGet(id=f"p-{number}"))).promise.id == f"p-{number}"
    assert paths == ["/channel"]
    assert [answer.promise.id for answer in made] == [f"p-{number}" for number in range(600)]
    assert isinstance(missing, Refused)
    assert missing.status == 404
    assert isinstance(refused, Refused)
    assert refused.status == 400


async def test_what_may_hold_up_others_goes_by_http() -> None:
    async with Engine(MemoryStore()) as engine, counted(engine) as (url, paths), described(url) as http:
        await http.call(create("a"))
        paths.clear()
        await http.call(c.PromiseSearch())
        await http.call(create("large", param=Value(data="x" * LINE_BYTES_MAX)))
        token = trace.HERE.set("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
        await http.call(create("traced"))
        trace.HERE.reset(token)
        assert paths == ["/"] * 3
        assert len((await http.call(c.PromiseGet(id="large"))).promise.param.data or "") == LINE_BYTES_MAX
        assert paths == ["/"] * 3


async def test_the_clock_is_looked_at_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    async with counted(Announcing()) as (url, paths), described(url) as http:
        await http.call(create("a"))
        monkeypatch.setattr(skew, "AGAIN_S", -1.0)
        await http.call(create("b"))
    assert paths == ["/", "/channel", "/"]


async def test_a_client_may_do_without() -> None:
    session = SessionSettings(channel=False)
    async with counted(Announcing()) as (url, paths), described(url, session=session) as http:
        await http.call(create("a"))
    assert paths == ["/", "/"]


@contextlib.asynccontextmanager
async def before(engine: Any, handle: Handler) -> AsyncIterator[str]:
    """Serve an engine behind something that answers what asks for the channel by itself."""
    async with served(engine) as behind, aiohttp.ClientSession() as session:

        async def passed(request: web.Request) -> web.Response:
            async with session.post(f"{behind}{request.path}", data=await request.read()) as answer:
                return web.Response(
                    status=answer.status, body=await answer.read(), content_type=answer.content_type
                )

        app = web.Application()
        app.router.add_get("/channel", handle)
        app.router.add_post("/{path:.*}", passed)
        async with TestServer(app) as server:
            yield str(server.make_url("/"))


@pytest.mark.parametrize("status", [302, 400, 401, 404, 502])
async def test_where_none_is_to_be_had_requests_go_by_http(
    status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0

    async def refuse(request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        return web.Response(status=status, headers={"Location": "/elsewhere"})

    async with before(Announcing(), refuse) as url, described(url) as http:
        for key in "abc":
            assert (await http.call(create(key))).promise.id == key
        await asyncio.gather(*(http.call(create(f"p-{number}")) for number in range(20)))
        assert asked == 1
        monkeypatch.setattr(channel, "AGAIN_S", 0.0)
        await http.call(create("d"))
        assert asked == 2


async def test_who_says_nothing_to_being_asked_is_given_up() -> None:
    async def wait(request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        return web.Response()

    session = SessionSettings(connect_s=0.2)
    async with before(Announcing(), wait) as url, described(url, session=session) as http:
        assert (await http.call(create("a"))).promise.id == "a"


async def test_a_transport_may_close_while_its_channel_opens() -> None:
    asked = asyncio.Event()

    async def wait(request: web.Request) -> web.StreamResponse:
        asked.set()
        await asyncio.Event().wait()
        return web.Response()

    async with before(Announcing(), wait) as url, described(url) as http:
        calls = [asyncio.create_task(http.call(create(key))) for key in "ab"]
        await asked.wait()
        await http.close()
        for call in calls:
            with pytest.raises(Unavailable, match="closed before there was an answer"):
                await call


async def test_a_connection_that_never_answers_anything_is_not_opened_again_and_again() -> None:
    asked = 0

    async def close(request: web.Request) -> web.WebSocketResponse:
        nonlocal asked
        asked += 1
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.receive()
        await socket.close()
        return socket

    async with before(Announcing(), close) as url, described(url) as http:
        with pytest.raises(Unreached, match="the channel was closed"):
            await http.call(create("a"))
        for key in "abc":
            assert (await http.call(create(key))).promise.id == key
    assert asked == 1


@pytest.mark.parametrize("nonsense", [b"<html>", b'{"kind":"x"}', b'{"head":{"corrId":1}}'])
async def test_what_brings_something_else_than_answers_is_left(nonsense: bytes) -> None:
    async def talk(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.receive()
        await socket.send_bytes(nonsense)
        await socket.receive()
        return socket

    async with before(Announcing(), talk) as url, described(url) as http:
        with pytest.raises(Unreached, match="something else than answers"):
            await http.call(create("a"))
        assert (await http.call(create("a"))).promise.id == "a"


async def test_an_answer_that_goes_on_and_on_is_not_read() -> None:
    engine = Announcing()
    engine.promises["large"] = promise("large", param=Value(data="x" * 100_000))
    session = SessionSettings(answer_bytes_max=50_000)
    async with served(engine) as url, described(url, session=session) as http:
        await http.call(create("a"))
        with pytest.raises(Unreached, match="the channel failed"):
            await http.call(c.PromiseGet(id="large"))
        assert (await http.call(c.PromiseGet(id="a"))).promise.id == "a"


async def test_a_call_that_is_not_answered_in_time_hurts_no_other() -> None:
    engine, go_on = Announcing(), asyncio.Event()

    async def wait(command: object) -> None:
        if getattr(command, "id", None) == "slow":
            await go_on.wait()

    engine.before = wait
    async with counted(engine) as (url, paths), described(url, timeout_s=0.3) as http:
        slow = asyncio.create_task(http.call(create("slow")))
        for key in "abc":
            await http.call(create(key))
        with pytest.raises(Unavailable, match=r"did not answer promise.create within 0.3 s"):
            await slow
        go_on.set()
        assert (await http.call(create("slow"))).promise.id == "slow"
    assert paths == ["/", "/channel"]


async def test_a_caller_that_goes_hurts_no_other() -> None:
    async with counted(Announcing()) as (url, paths), described(url) as http:
        gone, stays = (asyncio.create_task(http.call(create(key))) for key in "ab")
        await asyncio.sleep(0)
        gone.cancel()
        assert (await stays).promise.id == "b"
        with pytest.raises(asyncio.CancelledError):
            await gone
    assert paths == ["/", "/channel"]


async def test_a_server_that_comes_again_is_reached_again() -> None:
    engine = Announcing()
    async with contextlib.AsyncExitStack() as stack:
        async with served(engine) as url:
            http = await stack.enter_async_context(described(url))
            await http.call(create("a"))
        with pytest.raises(Unreached, match="cannot reach"):
            await http.call(create("b"))
        async with served(engine, port=int(url.rpartition(":")[2])):
            assert (await http.call(create("b"))).promise.id == "b"


async def test_a_small_server_refuses_what_is_too_large_for_it() -> None:
    async with counted(Announcing(), body_bytes_max=1000) as (url, paths), described(url) as http:
        with pytest.raises(Refused, match="at most 1000 bytes") as caught:
            await http.call(create("x" * 2000))
        assert caught.value.status == 413
    assert paths == ["/", "/channel"]


async def test_calls_under_way_are_told_when_the_transport_closes() -> None:
    engine, begun = Announcing(), asyncio.Event()

    async def wait(_: object) -> None:
        begun.set()
        await asyncio.Event().wait()

    async with served(engine) as url, described(url) as http:
        await http.call(create("a"))
        engine.before = wait
        waiting = asyncio.create_task(http.call(create("b")))
        await begun.wait()
        await http.close()
        with pytest.raises(Unavailable, match="closed before there was an answer"):
            await waiting
        with pytest.raises(Unavailable, match="closed: open a new one"):
            await http.call(create("c"))


async def test_a_token_that_changes_is_asked_for_again() -> None:
    engine, tokens = Announcing(), ["stale-0123456789abcdef", TOKEN]

    async def renewed() -> str:
        return tokens.pop(0) if len(tokens) > 1 else tokens[0]

    async with served(engine, token=TOKEN) as url, described(url, token=renewed) as http:
        assert (await http.call(create("a"))).promise.id == "a"
        http._tokens._current = "stale again"
        assert (await http.call(create("b"))).promise.id == "b"
