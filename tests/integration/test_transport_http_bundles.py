"""Requests that travel together: what is asked within one turn, and each answered as if it had come alone."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import aiohttp
import pytest

from orchestrator.domain import trace
from orchestrator.domain.errors import Refused, Unavailable, Unreached
from orchestrator.engine import Engine
from orchestrator.protocol import commands as c
from orchestrator.protocol.envelope import BUNDLE_MAX, encode_request
from orchestrator.protocol.lines import LINE_BYTES_MAX
from orchestrator.store import MemoryStore
from orchestrator.transport.http import HttpTransport, SessionSettings
from tests.integration.server_support import ScriptedEngine, post, served
from tests.integration.transport_support import Announcing, counted, create, described

TOKEN = "0123456789abcdef-secret"
by_http = partial(described, session=SessionSettings(channel=False))


async def test_calls_of_one_turn_travel_together_and_are_answered_each() -> None:
    async with Engine(MemoryStore()) as engine, counted(engine) as (url, paths), by_http(url) as http:
        paths.clear()
        *made, missing, refused = await asyncio.gather(
            *(http.call(create(f"p-{number}")) for number in range(20)),
            http.call(c.PromiseGet(id="nobody")),
            http.call(create("")),
            return_exceptions=True,
        )
    assert paths == ["/bundle"]
    assert [answer.promise.id for answer in made] == [f"p-{number}" for number in range(20)]
    assert (missing.status, refused.status) == (404, 400)


async def test_a_lone_call_goes_as_it_always_did() -> None:
    async with counted(Announcing()) as (url, paths), by_http(url) as http:
        await http.call(create("a"))
        await http.call(create("b"))
    assert paths == ["/"] * 3


async def test_a_server_that_announces_nothing_is_sent_no_bundle() -> None:
    async with counted(ScriptedEngine()) as (url, paths):
        http = HttpTransport(url)
        with pytest.raises(Refused):
            await http.call(c.Describe())
        await asyncio.gather(*(http.call(create(f"p-{number}")) for number in range(3)))
        await http.close()
    assert paths == ["/"] * 4


@pytest.mark.parametrize("status", [404, 413, 502])
async def test_what_is_not_taken_together_is_sent_singly(status: int) -> None:
    async with counted(Announcing(), status) as (url, paths), by_http(url) as http:
        answers = await asyncio.gather(*(http.call(create(f"p-{number}")) for number in range(3)))
    assert [answer.promise.id for answer in answers] == ["p-0", "p-1", "p-2"]
    assert sorted(paths) == ["/", "/", "/", "/", "/bundle"]


async def test_searches_large_requests_and_traced_ones_go_alone() -> None:
    async with counted(Announcing()) as (url, paths), by_http(url) as http:
        paths.clear()
        large = create("large", tags={"text": "x" * LINE_BYTES_MAX})

        async def traced() -> None:
            trace.HERE.set("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
            await http.call(create("traced"))

        search = http.call(c.PromiseSearch())
        await asyncio.gather(search, http.call(large), asyncio.create_task(traced()), http.call(create("a")))
    assert paths == ["/"] * 4


async def test_more_than_one_bundle_holds_goes_in_two() -> None:
    async with counted(Announcing()) as (url, paths), by_http(url) as http:
        paths.clear()
        await asyncio.gather(*(http.call(create(f"p-{number}")) for number in range(BUNDLE_MAX + 2)))
        assert paths == ["/bundle"] * 2
        body = b"\n".join([b"{}"] * (BUNDLE_MAX + 1))
        status, envelope = await post(f"{url}bundle", body)
    assert (status, envelope["head"]["status"]) == (413, 413)


async def test_an_engine_that_is_away_is_unavailable_to_each() -> None:
    engine = Announcing()

    async def away(command: Any) -> None:
        if command.id == "b":
            raise Unavailable("the database is locked")

    engine.before = away
    async with counted(engine) as (url, _), by_http(url) as http:
        made, failed = await asyncio.gather(
            http.call(create("a")), http.call(create("b")), return_exceptions=True
        )
    assert made.promise.id == "a"
    assert isinstance(failed, Unavailable)
    assert "database is locked" in str(failed)


async def test_a_server_that_is_gone_is_unavailable_to_each() -> None:
    async with counted(Announcing()) as (url, _):
        http = HttpTransport(url)
        await http.call(c.Describe())
    failed = await asyncio.gather(
        *(http.call(create(f"p-{number}")) for number in range(3)), return_exceptions=True
    )
    await http.close()
    assert [type(error) for error in failed] == [Unreached] * 3
    assert "cannot reach" in str(failed[0])


async def test_who_waits_when_the_transport_is_closed_is_told() -> None:
    engine, asked = Announcing(), asyncio.Event()

    async def never(_: object) -> None:
        asked.set()
        await asyncio.Event().wait()

    engine.before = never
    async with counted(engine) as (url, _), by_http(url) as http:
        calls = [asyncio.create_task(http.call(create(f"p-{number}"))) for number in range(2)]
        await asked.wait()
        await http.close()
        failed = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(error) for error in failed] == [Unavailable] * 2


async def test_a_caller_that_goes_takes_nobody_with_it() -> None:
    engine, asked, go_on = Announcing(), asyncio.Event(), asyncio.Event()

    async def wait(_: object) -> None:
        asked.set()
        await go_on.wait()

    engine.before = wait
    async with counted(engine) as (url, _), by_http(url) as http:
        gone, stays = (asyncio.create_task(http.call(create(key))) for key in "ab")
        await asked.wait()
        gone.cancel()
        go_on.set()
        assert (await stays).promise.id == "b"
        with pytest.raises(asyncio.CancelledError):
            await gone


async def test_the_token_of_each_line_counts() -> None:
    engine = Announcing()
    lines = [encode_request(create("a"), "1", TOKEN), encode_request(create("b"), "2"), b"nonsense"]
    async with served(engine, token=TOKEN) as url, aiohttp.ClientSession() as session:
        async with session.post(f"{url}/bundle", data=b"\n".join(lines)) as response:
            assert response.status == 200
            answers = (await response.text()).split("\n")
        async with by_http(url, token=TOKEN) as http:
            await asyncio.gather(http.call(create("c")), http.call(create("d")))
    assert ['"status":200' in answers[0], '"status":401' in answers[1]] == [True, True]
    assert '"status":4' in answers[2]
    assert sorted(engine.promises) == ["a", "c", "d"]
