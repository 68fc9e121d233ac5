"""The channel of the server, by a plain WebSocket: lines in, answers out, and what it does not take."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from orchestrator.engine import Engine
from orchestrator.protocol import commands as c
from orchestrator.protocol.envelope import BUNDLE_MAX, encode_request
from orchestrator.protocol.lines import TOGETHER_BYTES_MAX
from orchestrator.protocol.records import Value
from orchestrator.server import channel
from orchestrator.store import MemoryStore
from tests.integration.server_support import FAR, ScriptedEngine, get, promise, served

TOKEN = "0123456789abcdef-secret"
PATIENCE_S = 10


def create(key: str, corr_id: str, token: str | None = None) -> bytes:
    return encode_request(c.PromiseCreate(id=key, timeout_at=FAR), corr_id, token)


@asynccontextmanager
async def opened(url: str, **headers: str) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    async with (
        aiohttp.ClientSession() as session,
        asyncio.timeout(PATIENCE_S),
        session.ws_connect(f"{url}/channel", headers=headers, max_msg_size=0) as socket,
    ):
        yield socket


async def answers(socket: aiohttp.ClientWebSocketResponse, number: int) -> dict[str, Any]:
    """Return so many answers, each under its corrId."""
    found: dict[str, Any] = {}
    while len(found) < number:
        for line in (await socket.receive_bytes()).split(b"\n"):
            envelope = json.loads(line)
            found[envelope["head"]["corrId"]] = envelope
    return found


async def test_each_line_is_answered_as_if_it_had_come_alone() -> None:
    async with Engine(MemoryStore()) as engine, served(engine) as url, opened(url) as socket:
        await socket.send_bytes(b"\n".join([create("a", "1"), create("b", "2"), b"nonsense"]))
        await socket.send_str(encode_request(c.PromiseGet(id="nobody"), "4").decode())
        found = await answers(socket, 4)
    assert {corr_id: one["head"]["status"] for corr_id, one in found.items()} == {
        "1": 200,
        "2": 200,
        "0": 400,
        "4": 404,
    }
    assert found["2"]["data"]["promise"]["id"] == "b"


async def test_an_answer_does_not_wait_for_those_before() -> None:
    engine, go_on = ScriptedEngine(), asyncio.Event()

    async def wait(command: object) -> None:
        if getattr(command, "id", None) == "slow":
            await go_on.wait()

    engine.before = wait
    async with served(engine) as url, opened(url) as socket:
        await socket.send_bytes(create("slow", "1") + b"\n" + create("quick", "2"))
        assert list(await answers(socket, 1)) == ["2"]
        go_on.set()
        assert list(await answers(socket, 1)) == ["1"]


async def test_what_is_asked_in_one_message_is_begun_in_its_order() -> None:
    engine = ScriptedEngine()
    keys = [f"p-{number}" for number in range(200)]
    async with served(engine) as url, opened(url) as socket:
        await socket.send_bytes(b"\n".join(create(key, key) for key in keys))
        assert set(await answers(socket, len(keys))) == set(keys)
    assert [command.id for command in engine.handled if isinstance(command, c.PromiseCreate)] == keys


@pytest.mark.parametrize(
    ("settings", "headers", "status"),
    [
        ({"token": TOKEN}, {}, 401),
        ({"token": TOKEN}, {"Authorization": "Bearer wrong"}, 401),
        ({}, {"Origin": "http://evil.example"}, 403),
        ({}, {"Host": "evil.example"}, 403),
        ({"connections_max": 1}, {}, 503),
    ],
)
async def test_who_may_not_ask_gets_no_channel(
    settings: dict[str, Any], headers: dict[str, str], status: int
) -> None:
    async with served(ScriptedEngine(), **settings) as url, aiohttp.ClientSession() as session:
        first = session.ws_connect(f"{url}/channel") if status == 503 else None
        held = await first if first is not None else None
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await session.ws_connect(f"{url}/channel", headers=headers)
        assert caught.value.status == status
        if held is not None:
            await held.close()


async def test_every_line_proves_by_itself_who_sent_it() -> None:
    engine = ScriptedEngine()
    async with (
        served(engine, token=TOKEN) as url,
        opened(url, Authorization=f"Bearer {TOKEN}") as socket,
    ):
        await socket.send_bytes(create("a", "1", TOKEN) + b"\n" + create("b", "2"))
        await socket.send_bytes(create("c", "3", "wrong"))
        found = await answers(socket, 3)
    assert [found[corr_id]["head"]["status"] for corr_id in "123"] == [200, 401, 401]
    assert list(engine.promises) == ["a"]


async def test_a_plain_request_is_told_what_is_expected() -> None:
    async with served(ScriptedEngine()) as url:
        status, text, headers = await get(url, "/channel")
    assert (status, headers["Upgrade"]) == (426, "websocket")
    assert b"WebSocket" in text


async def test_what_is_too_large_is_refused_and_the_rest_goes_on() -> None:
    async with served(ScriptedEngine(), body_bytes_max=1000) as url, opened(url) as socket:
        large = encode_request(c.PromiseCreate(id="x" * 2000, timeout_at=FAR), "1")
        await socket.send_bytes(large + b"\n" + create("a", "2"))
        found = await answers(socket, 2)
    assert [found[corr_id]["head"]["status"] for corr_id in "12"] == [413, 200]
    assert "at most 1000 bytes" in found["1"]["data"]


@pytest.mark.parametrize(
    "message",
    [b"\n".join([b"{}"] * (BUNDLE_MAX + 1)), b"x" * (TOGETHER_BYTES_MAX + 1)],
    ids=["lines", "bytes"],
)
async def test_a_message_beyond_bounds_ends_the_channel(message: bytes) -> None:
    async with served(ScriptedEngine(), body_bytes_max=1000) as url, opened(url) as socket:
        await socket.send_bytes(message)
        ended = await socket.receive()
        assert (ended.type, ended.data) == (aiohttp.WSMsgType.CLOSE, aiohttp.WSCloseCode.MESSAGE_TOO_BIG)
        async with opened(url) as another:
            await another.send_bytes(create("a", "1"))
            assert (await answers(another, 1))["1"]["head"]["status"] == 200


async def test_no_more_is_carried_out_together_than_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "IN_FLIGHT_MAX", 3)
    engine, go_on = ScriptedEngine(), asyncio.Event()
    now = most = 0

    async def wait(_: object) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await go_on.wait()
        now -= 1

    engine.before = wait
    async with served(engine) as url, opened(url) as socket:
        await socket.send_bytes(b"\n".join(create(f"p-{number}", str(number)) for number in range(10)))
        await asyncio.sleep(0.1)
        assert len(engine.handled) == 3
        go_on.set()
        assert len(await answers(socket, 10)) == 10
    assert most == 3


async def test_a_server_that_stops_answers_what_it_has_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "IN_FLIGHT_MAX", 1)
    engine, begun, go_on = ScriptedEngine(), asyncio.Event(), asyncio.Event()

    async def wait(_: object) -> None:
        begun.set()
        await go_on.wait()

    engine.before = wait
    leaving = asyncio.Event()

    async def serve(ready: asyncio.Future[str]) -> None:
        async with served(engine, shutdown_s=5.0) as url:
            ready.set_result(url)
            await leaving.wait()

    ready = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(serve(ready))
    async with opened(await ready) as socket:
        await socket.send_bytes(create("begun", "1") + b"\n" + create("late", "2"))
        await begun.wait()
        leaving.set()
        await asyncio.sleep(0.1)
        go_on.set()
        assert list(await answers(socket, 1)) == ["1"]
        ended = await socket.receive()
        assert (ended.type, ended.data) == (aiohttp.WSMsgType.CLOSE, aiohttp.WSCloseCode.GOING_AWAY)
    await serving
    assert list(engine.promises) == ["begun"]


async def test_what_nobody_waits_for_any_more_is_given_up() -> None:
    engine, begun, given_up = ScriptedEngine(), asyncio.Event(), asyncio.Event()

    async def wait(_: object) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            given_up.set()

    engine.before = wait
    async with served(engine) as url:
        async with opened(url) as socket:
            await socket.send_bytes(create("a", "1"))
            await begun.wait()
        async with asyncio.timeout(PATIENCE_S):
            await given_up.wait()


async def test_a_reader_that_takes_nothing_is_let_go() -> None:
    """What it has asked for would stay in memory, and be added to."""
    engine = ScriptedEngine()
    engine.promises["large"] = promise("large", param=Value(data="x" * 1_000_000))
    async with served(engine, stall_s=0.3, open_metrics=True) as url, asyncio.timeout(PATIENCE_S):
        host, port = url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
        writer.write(
            f"GET /channel HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
        )
        await reader.readuntil(b"\r\n\r\n")
        request = encode_request(c.PromiseGet(id="large"), "1")
        frame = bytes([0x82, 0x80 | len(request), 0, 0, 0, 0]) + request
        writer.write(frame * 50)
        while not await counted_channels(url):  # noqa: ASYNC110 - the server's
            await asyncio.sleep(0.02)
        while await counted_channels(url):  # noqa: ASYNC110 - the server's
            await asyncio.sleep(0.05)
        writer.close()


async def counted_channels(url: str) -> float:
    _, text, _ = await get(url, "/metrics")
    return float(text.decode().split("\norchestrator_channels ")[1].split()[0])
