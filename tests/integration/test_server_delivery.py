"""Delivery streams over real sockets: their bytes, their bounds and their end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket

import pytest

from orchestrator.protocol.commands import PromiseGet
from orchestrator.server import ServerMisconfigured, ServerSettings, create_app, listening, serve
from tests.integration.server_support import (
    ScriptedEngine,
    execute,
    get,
    promise,
    raw_stream,
    served,
    unblock,
)

TOKEN = "0123456789abcdef-secret"


async def test_a_message_is_one_event_of_one_line_ended_by_lf() -> None:
    engine = ScriptedEngine()
    async with served(engine) as url, raw_stream(url, "/poll/scorers/w1") as stream:
        head = (await stream.until(b"\r\n\r\n")).lower()
        assert head.startswith(b"http/1.1 200")
        assert b"content-type: text/event-stream\r\n" in head
        assert b"\n:\n\n" in await stream.until(b":\n\n")
        await engine.until(lambda e: len(e.connections) == 1)
        assert engine.deliver("scorers", "w1", unblock("p", "line\nbreak and \u2028"))
        sent = await stream.until(b"\n\n\r\n")
    event = sent[sent.index(b"data: ") : -2]
    assert event.count(b"\n") == 2
    assert b"\r" not in event
    content = json.loads(event.removeprefix(b"data: "))
    assert content["kind"] == "unblock"
    assert content["head"] == {}
    assert content["data"]["promise"]["value"]["data"] == "line\nbreak and \u2028"


async def test_an_execute_message_has_the_published_form() -> None:
    engine = ScriptedEngine()
    async with served(engine) as url, raw_stream(url, "/poll/scorers/w1") as stream:
        await stream.until(b":\n\n")
        await engine.until(lambda e: len(e.connections) == 1)
        engine.deliver("scorers", "w1", execute("a", 3))
        sent = await stream.until(b"}\n\n")
    content = json.loads(sent[sent.index(b"data: ") + 6 :])
    assert content == {
        "kind": "execute",
        "head": {"serverUrl": ""},
        "data": {"task": {"id": "a", "version": 3}},
    }


@pytest.mark.parametrize(
    ("path", "group", "member"),
    [
        ("/poll/a%20group/w%2F1", "a group", "w/1"),
        ("/poll/MixedCase/%E6%97%A5", "MixedCase", "日"),
        ("/poll/a%2Fb/a%3Ab.c%25", "a/b", "a:b.c%"),
    ],
)
async def test_the_path_is_percent_decoded(path: str, group: str, member: str) -> None:
    engine = ScriptedEngine()
    async with served(engine) as url, raw_stream(url, path) as stream:
        await stream.until(b":\n\n")
        await engine.until(lambda e: len(e.connections) == 1)
        assert (engine.connections[0].group, engine.connections[0].member) == (group, member)


async def test_a_second_connection_of_a_member_is_accepted_beside_the_first() -> None:
    engine = ScriptedEngine()
    async with (
        served(engine) as url,
        raw_stream(url, "/poll/scorers/w1") as first,
        raw_stream(url, "/poll/scorers/w1") as second,
    ):
        await first.until(b":\n\n")
        await second.until(b":\n\n")
        await engine.until(lambda e: len(e.connections) == 2)
        for number, connection in enumerate(engine.connections):
            connection.receive(execute(f"task-{number}"))
        both = await first.until(b"}\n\n") + await second.until(b"}\n\n")
        assert b"task-0" in both
        assert b"task-1" in both


async def test_silence_is_broken_by_comments() -> None:
    engine = ScriptedEngine()
    async with served(engine, keep_alive_s=0.05) as url, raw_stream(url, "/poll/scorers/w1") as stream:
        for _ in range(4):
            await stream.until(b":\n\n")
        await engine.until(lambda e: len(e.connections) == 1)


async def test_a_client_that_hangs_up_is_noticed_at_once() -> None:
    engine = ScriptedEngine()
    async with served(engine, keep_alive_s=60) as url:
        async with raw_stream(url, "/poll/scorers/w1") as stream:
            await stream.until(b":\n\n")
            await engine.until(lambda e: len(e.connections) == 1)
        await engine.until(lambda e: not e.connections)
        assert b"orchestrator_streams 0.0" in (await get(url, "/metrics"))[1]


async def test_a_slow_reader_loses_messages_and_keeps_its_stream() -> None:
    engine = ScriptedEngine()
    async with served(engine, buffer_messages=5) as url, raw_stream(url, "/poll/scorers/w1") as stream:
        await stream.until(b":\n\n")
        await engine.until(lambda e: len(e.connections) == 1)
        # All in one step of the loop, so that the writer cannot take any in between.
        for number in range(50):
            engine.deliver("scorers", "w1", execute(f"task-{number:02}"))
        sent = b""
        while b"task-04" not in sent:
            sent += await stream.until(b"}\n\n")
        engine.deliver("scorers", "w1", execute("task-afterwards"))
        sent += await stream.until(b"}\n\n")
        assert [number for number in range(50) if f"task-{number:02}".encode() in sent] == [0, 1, 2, 3, 4]
        assert b"task-afterwards" in sent
        stream.writer.close()
        await engine.until(lambda e: not e.connections)
        metrics = (await get(url, "/metrics"))[1]
        assert b'orchestrator_stream_messages_total{outcome="buffered"} 6.0' in metrics
        assert b'orchestrator_stream_messages_total{outcome="dropped"} 45.0' in metrics


async def test_a_reader_that_takes_nothing_at_all_is_let_go() -> None:
    engine = ScriptedEngine()
    async with served(engine, stall_s=0.3, buffer_messages=64, shutdown_s=0.2) as url:
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as deaf:
            deaf.sendall(b"GET /poll/scorers/w1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await engine.until(lambda e: len(e.connections) == 1)
            async with asyncio.timeout(10):
                while engine.connections:
                    engine.deliver("scorers", "w1", unblock("p", "x" * 1_000_000))
                    await asyncio.sleep(0.01)
        assert (await get(url, "/health"))[0] == 200


async def test_connections_beyond_the_bound_are_refused() -> None:
    engine = ScriptedEngine()
    async with served(engine, connections_max=1) as url:
        async with raw_stream(url, "/poll/scorers/w1") as stream:
            await stream.until(b":\n\n")
            status, body, _ = await get(url, "/poll/scorers/w2")
            assert status == 503
            assert b"connections_max" in body
        await engine.until(lambda e: not e.connections)
        async with raw_stream(url, "/poll/scorers/w2") as stream:
            assert (await stream.until(b"\r\n")).startswith(b"HTTP/1.1 200")
            await engine.until(lambda e: len(e.connections) == 1)


async def test_the_token_of_a_stream_is_in_its_header() -> None:
    engine = ScriptedEngine()
    async with served(engine, token=TOKEN) as url:
        for headers in ({}, {"Authorization": "Bearer wrong"}):
            status, _, answered = await get(url, "/poll/scorers/w1", **headers)
            assert status == 401
            assert answered["Content-Type"].startswith("text/plain")
        assert not engine.connections
        async with raw_stream(url, "/poll/scorers/w1", f"Authorization: Bearer {TOKEN}") as stream:
            assert (await stream.until(b"\r\n")).startswith(b"HTTP/1.1 200")
            await engine.until(lambda e: len(e.connections) == 1)


async def test_stopping_answers_what_is_in_flight_and_ends_the_streams() -> None:
    engine = ScriptedEngine()
    engine.promises["a"] = promise("a")
    entered, released = asyncio.Event(), asyncio.Event()

    async def slow(command: object) -> None:
        if isinstance(command, PromiseGet):
            entered.set()
            await released.wait()

    engine.before = slow
    stop = asyncio.Event()
    urls: asyncio.Queue[str] = asyncio.Queue()
    app = create_app(engine, ServerSettings(port=0, shutdown_s=5.0))
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        serving = group.create_task(serve(app, on_ready=urls.put_nowait, stop=stop))
        url = await urls.get()
        async with raw_stream(url, "/poll/scorers/w1") as stream, raw_stream(url, "/health") as caller:
            await stream.until(b":\n\n")
            await caller.until(b"\r\n\r\n")
            await engine.until(lambda e: len(e.connections) == 1)
            body = '{"kind":"promise.get","head":{"corrId":"c","version":"2026-04-01"},"data":{"id":"a"}}'
            caller.writer.write(
                f"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
            )
            await entered.wait()
            engine.deliver("scorers", "w1", execute("last"))
            stop.set()
            rest = await stream.rest()
            assert b'"last"' in rest
            assert rest.endswith(b"0\r\n\r\n"), "the stream ended in order"
            assert not serving.done(), "the request in flight is waited for"
            released.set()
            assert b'"status":200' in await caller.rest()
    assert not engine.connections


async def test_stopping_does_not_wait_for_the_readers_of_streams() -> None:
    engine = ScriptedEngine()
    async with contextlib.AsyncExitStack() as readers, asyncio.timeout(10):
        async with served(engine, shutdown_s=30) as url:
            stream = await readers.enter_async_context(raw_stream(url, "/poll/scorers/w1"))
            await stream.until(b":\n\n")
            await engine.until(lambda e: len(e.connections) == 1)
        assert not engine.connections


async def test_a_port_in_use_is_told() -> None:
    async with served(ScriptedEngine()) as url:
        port = int(url.rpartition(":")[2])
        app = create_app(ScriptedEngine(), ServerSettings(port=port))
        with pytest.raises(ServerMisconfigured, match=rf"cannot listen on 127.0.0.1:{port}"):
            async with listening(app):
                pass
