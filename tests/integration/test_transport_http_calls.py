"""Commands over the HTTP transport, against a real server and against things that are none."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from orchestrator.domain.errors import Refused, Unavailable, Unreached
from orchestrator.protocol import commands as c
from orchestrator.protocol.envelope import encode_refusal
from orchestrator.protocol.transport import Transport
from orchestrator.transport.http import HttpTransport, SessionSettings
from tests.integration.server_support import FAR, ScriptedEngine, served

TOKEN = "0123456789abcdef-secret"
CREATE = c.PromiseCreate(id="a", timeout_at=FAR)


@contextlib.asynccontextmanager
async def transport(url: str, **options: Any) -> AsyncIterator[HttpTransport]:
    made = HttpTransport(url, **options)
    try:
        yield made
    finally:
        await made.close()


@contextlib.asynccontextmanager
async def answering(status: int, **answer: Any) -> AsyncIterator[str]:
    """Something on a port that answers everything alike."""

    async def handle(_: web.BaseRequest) -> web.Response:
        return web.Response(status=status, **answer)

    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", handle)
    async with TestServer(app) as server:
        yield str(server.make_url("/"))


async def test_a_command_comes_back_as_its_answer() -> None:
    async with served(ScriptedEngine()) as url, transport(url) as http:
        port: Transport = http
        answer = await port.call(CREATE)
        assert answer.promise.id == "a"
        suspend = c.TaskSuspend(
            id="a", version=1, actions=[c.PromiseRegisterCallback(awaited="a:1", awaiter="a")]
        )
        assert not (await port.call(suspend)).suspended


async def test_a_refusal_passes_through() -> None:
    async with served(ScriptedEngine()) as url, transport(url) as http:
        with pytest.raises(Refused, match="Promise not found") as caught:
            await http.call(c.PromiseGet(id="nobody"))
        assert caught.value.status == 404


async def test_the_token_opens_the_door() -> None:
    async with served(ScriptedEngine(), token=TOKEN) as url:
        async with transport(url, token=TOKEN) as http:
            assert (await http.call(CREATE)).promise.id == "a"
        async with transport(url) as http:
            with pytest.raises(Refused) as caught:
                await http.call(CREATE)
            assert caught.value.status == 401


async def test_many_calls_share_few_connections() -> None:
    engine = ScriptedEngine()
    async with (
        served(engine) as url,
        transport(url, session=SessionSettings(connections_max=4)) as http,
        asyncio.TaskGroup() as group,
    ):
        for number in range(64):
            group.create_task(http.call(c.PromiseCreate(id=f"p{number}", timeout_at=FAR)))
    assert len(engine.promises) == 64


async def test_nobody_there_is_unavailable_and_names_the_url() -> None:
    async with served(ScriptedEngine()) as url:
        gone = url
    async with transport(gone) as http:
        with pytest.raises(Unavailable, match=gone) as caught:
            await http.call(CREATE)
        assert "check that the server runs" in str(caught.value)
        assert "\n" not in str(caught.value)


async def test_a_server_that_comes_back_is_found_again() -> None:
    engine = ScriptedEngine()
    async with served(engine) as url:
        http = HttpTransport(url)
        await http.call(CREATE)
    with pytest.raises(Unavailable):
        await http.call(CREATE)
    async with served(engine, port=int(url.rpartition(":")[2])):
        assert (await http.call(CREATE)).promise.id == "a"
        await http.close()


async def test_no_answer_in_time_is_unavailable() -> None:
    engine = ScriptedEngine()

    async def never(_: object) -> None:
        await asyncio.Event().wait()

    engine.before = never
    async with served(engine) as url, transport(url, timeout_s=0.1) as http:
        with pytest.raises(Unavailable, match=r"did not answer promise\.create within 0\.1 s"):
            await http.call(CREATE)


@contextlib.asynccontextmanager
async def counting(answer: web.Response) -> AsyncIterator[tuple[str, list[None]]]:
    """Something that answers everything alike, and counts; no two calls share a request."""
    asked: list[None] = []

    async def handle(_: web.Request) -> web.Response:
        asked.append(None)
        return web.Response(status=answer.status, body=answer.body)

    app = web.Application()
    app.router.add_post("/", handle)
    async with TestServer(app) as server:
        yield str(server.make_url("/")), asked


async def failures(http: HttpTransport, calls: int) -> list[Any]:
    made = (http.call(c.PromiseGet(id=f"p-{number}")) for number in range(calls))
    return await asyncio.gather(*made, return_exceptions=True)


async def test_a_proxy_that_finds_no_server_is_asked_by_one_call_for_all() -> None:
    async with (
        counting(web.Response(status=502, body=b"bad gateway")) as (url, asked),
        transport(url) as http,
    ):
        for _ in range(3):
            assert {type(error) for error in await failures(http, 1)} == {Unreached}
        assert len(asked) == 3
        assert {type(error) for error in await failures(http, 32)} == {Unreached}
        assert len(asked) == 4


async def test_a_server_that_says_itself_that_it_cannot_is_there() -> None:
    said = encode_refusal("promise.get", "1", Refused(503, "the database is away"))
    async with counting(web.Response(status=503, body=said)) as (url, asked), transport(url) as http:
        await failures(http, 1)
        assert {type(error) for error in await failures(http, 32)} == {Unavailable}
        assert len(asked) == 33


async def test_who_is_cancelled_while_it_tries_leaves_that_to_the_next() -> None:
    engine = ScriptedEngine()
    async with served(engine) as url:
        gone = url
    async with transport(gone) as http, asyncio.timeout(10):
        for _ in range(4):  # the pause has grown to some 0.4 s
            await failures(http, 1)
        calls = [asyncio.create_task(http.call(CREATE)) for _ in range(4)]
        await asyncio.sleep(0.02)
        async with served(engine, port=int(gone.rpartition(":")[2])):
            calls[0].cancel()
            assert [(await call).promise.id for call in calls[1:]] == ["a"] * 3
        with pytest.raises(asyncio.CancelledError):
            await calls[0]


@pytest.mark.parametrize("packed", [False, True])
async def test_an_answer_without_end_is_read_no_further(packed: bool) -> None:
    sent, ended = Counter[str](), asyncio.Event()

    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        if packed:
            response.enable_compression(web.ContentCoding.gzip)
        await response.prepare(request)
        try:
            while True:
                await response.write(b" " * 64 * 1024)
                sent["bytes"] += 64 * 1024
        finally:
            ended.set()

    app = web.Application()
    app.router.add_post("/", handle)
    bytes_max = 1024 * 1024
    async with asyncio.timeout(10), TestServer(app) as server:
        url = str(server.make_url("/"))
        async with transport(url, session=SessionSettings(answer_bytes_max=bytes_max)) as http:
            with pytest.raises(Refused, match=f"{url} answers with more than {bytes_max} bytes") as caught:
                await http.call(CREATE)
            assert caught.value.status == 421
            await ended.wait()
    assert packed or sent["bytes"] < 20 * bytes_max


async def test_an_answer_of_unknown_length_within_the_bound_is_read() -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        whole = encode_refusal("promise.get", "1", Refused(404, "Promise not found"))
        for piece in (whole[:9], whole[9:]):
            await response.write(piece)
        return response

    app = web.Application()
    app.router.add_post("/", handle)
    async with TestServer(app) as server, transport(str(server.make_url("/"))) as http:
        with pytest.raises(Refused, match="Promise not found"):
            await http.call(c.PromiseGet(id="a"))


async def test_an_engine_that_is_away_is_unavailable() -> None:
    engine = ScriptedEngine()

    async def away(_: object) -> None:
        raise Unavailable("the database is locked")

    engine.before = away
    async with served(engine) as url, transport(url) as http:
        with pytest.raises(Unavailable, match="database is locked"):
            await http.call(CREATE)


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429])
async def test_a_failing_proxy_is_unavailable(status: int) -> None:
    async with answering(status, text="<html>bad gateway</html>") as url, transport(url) as http:
        with pytest.raises(Unavailable, match=str(status)):
            await http.call(CREATE)


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (404, {"text": "<html>not found</html>", "content_type": "text/html"}),
        (404, {"body": b'{"error":"no route"}', "content_type": "application/json"}),
        (405, {"text": "405: Method Not Allowed"}),
        (200, {"text": "welcome"}),
        (200, {"body": b""}),
        (200, {"body": b'{"kind":"x","head":{"corrId":"1","status":200,"version":"v"},"data":[]}'}),
        (302, {"headers": {"Location": "https://elsewhere.example"}}),
    ],
)
async def test_what_is_no_orchestrator_is_named_so_and_not_a_missing_promise(
    status: int, answer: dict[str, Any]
) -> None:
    async with answering(status, **answer) as url, transport(url) as http:
        with pytest.raises(Refused, match="no orchestrator server") as caught:
            await http.call(c.PromiseGet(id="a"))
        assert caught.value.status == 421
        assert url in str(caught.value)


async def test_a_connection_cut_in_the_middle_of_an_answer_is_unavailable() -> None:
    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(cut, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with transport(url) as http:
            with pytest.raises(Unavailable):
                await http.call(CREATE)


async def test_a_closed_transport_calls_no_more() -> None:
    async with served(ScriptedEngine()) as url:
        http = HttpTransport(url)
        await http.call(CREATE)
        await http.close()
        await http.close()
        with pytest.raises(Unavailable, match="closed"):
            await http.call(CREATE)


@pytest.mark.parametrize("url", ["", "localhost:8001", "ftp://x", "http://", "postgresql://h/db"])
def test_an_url_that_is_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="expected http"):
        HttpTransport(url)
