"""The delivery stream of the HTTP transport: end to end, through restarts, cuts and silence."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from orchestrator.domain.errors import Refused, Unreached
from orchestrator.protocol import commands as c
from orchestrator.protocol.envelope import encode_message
from orchestrator.protocol.messages import Message
from orchestrator.transport.http import HttpTransport
from orchestrator.transport.stream import StreamSettings
from tests.integration.server_support import ScriptedEngine, execute, served, unblock

TOKEN = "0123456789abcdef-secret"
QUICK = StreamSettings(first_wait_s=5, backoff_s=0.02, backoff_s_max=0.05, silence_s=0.3)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"


@contextlib.asynccontextmanager
async def member(
    url: str, pid: str = "w1", group: str = "scorers", **options: Any
) -> AsyncIterator[asyncio.Queue[Message]]:
    """Be a member of a group; what it receives is in the queue."""
    received: asyncio.Queue[Message] = asyncio.Queue()
    transport = HttpTransport(url, **({"stream": QUICK} | options))
    try:
        async with asyncio.timeout(20), transport.connect(group, pid, received.put_nowait):
            yield received
    finally:
        await transport.close()


@contextlib.asynccontextmanager
async def peer(
    handle: Callable[[int, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    """A server of our own bytes; `handle` is told the number of the connection, from 1."""
    count = 0
    tasks: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 1
        tasks.add(asyncio.current_task())  # type: ignore[arg-type]  # within a task
        try:
            await reader.readuntil(b"\r\n\r\n")
            await handle(count, reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_each_member_receives_its_own_messages() -> None:
    engine = ScriptedEngine()
    async with served(engine) as url, member(url, "w1") as one, member(url, "w2") as two:
        await engine.until(lambda e: len(e.connections) == 2)
        engine.deliver("scorers", "w1", execute("a", 1))
        engine.deliver("scorers", "w2", unblock("b", "line\nbreak"))
        engine.deliver("scorers", "w1", execute("c", 2))
        assert [await one.get(), await one.get()] == [execute("a", 1), execute("c", 2)]
        assert await two.get() == unblock("b", "line\nbreak")
        assert one.empty()
    assert not engine.connections


async def test_names_reach_the_engine_as_they_are() -> None:
    engine = ScriptedEngine()
    async with served(engine) as url, member(url, "../w 1?x#y%", "Gruppe/ä"):
        await engine.until(lambda e: len(e.connections) == 1)
        assert (engine.connections[0].group, engine.connections[0].member) == ("Gruppe/ä", "../w 1?x#y%")


async def test_a_message_larger_than_any_buffer_arrives_whole() -> None:
    engine = ScriptedEngine()
    async with served(engine) as url, member(url) as received:
        await engine.until(lambda e: len(e.connections) == 1)
        engine.deliver("scorers", "w1", unblock("b", "x" * 3_000_000))
        engine.deliver("scorers", "w1", execute("after"))
        assert await received.get() == unblock("b", "x" * 3_000_000)
        assert await received.get() == execute("after")


async def test_it_reconnects_when_the_server_restarts_on_its_port() -> None:
    first, second = ScriptedEngine(), ScriptedEngine()
    async with contextlib.AsyncExitStack() as stack:
        async with served(first) as url:
            received = await stack.enter_async_context(member(url))
            await first.until(lambda e: len(e.connections) == 1)
            first.deliver("scorers", "w1", execute("before"))
            assert await received.get() == execute("before")
        async with served(second, port=int(url.rpartition(":")[2])):
            await second.until(lambda e: len(e.connections) == 1)
            second.deliver("scorers", "w1", execute("after"))
            assert await received.get() == execute("after")
            await stack.aclose()
    assert not second.connections


async def test_a_server_that_is_away_is_waited_for_in_the_background() -> None:
    engine = ScriptedEngine()
    async with served(engine) as url:
        port = int(url.rpartition(":")[2])
    quick = StreamSettings(first_wait_s=0.1, backoff_s=0.02, backoff_s_max=0.05)
    async with member(url, stream=quick) as received, served(engine, port=port):
        await engine.until(lambda e: len(e.connections) == 1)
        engine.deliver("scorers", "w1", execute("a"))
        assert await received.get() == execute("a")


async def test_a_stream_is_back_as_soon_as_a_call_may_be() -> None:
    engine = ScriptedEngine()
    async with served(engine) as url:
        port = int(url.rpartition(":")[2])
    received: asyncio.Queue[Message] = asyncio.Queue()
    patient = StreamSettings(first_wait_s=0.3, backoff_s=30, backoff_s_max=30)
    async with asyncio.timeout(10), contextlib.AsyncExitStack() as stack:
        transport = HttpTransport(url, stream=patient)
        stack.push_async_callback(transport.close)
        with pytest.raises(Unreached):
            await transport.call(c.Describe())
        await stack.enter_async_context(transport.connect("scorers", "w1", received.put_nowait))
        async with served(engine, port=port):
            await engine.until(lambda e: len(e.connections) == 1)
            engine.deliver("scorers", "w1", execute("here"))
            assert await received.get() == execute("here")
            await stack.aclose()


@pytest.mark.parametrize("status", [None, 502, 504])
async def test_where_nobody_calls_a_stream_asks_as_often_as_calls_would(status: int | None) -> None:
    """By pauses of its own alone the sixth attempt would come after nine seconds."""
    sixth = asyncio.Event()
    asked: list[int] = []

    async def nobody(number: int, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(number)
        if status is not None:
            writer.write(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % status)
            await writer.drain()
        if number == 6:
            sixth.set()

    doubling = StreamSettings(first_wait_s=0.05, backoff_s=0.3, backoff_s_max=30)
    async with peer(nobody) as url, member(url, stream=doubling):
        async with asyncio.timeout(6):
            await sixth.wait()
        count = len(asked)
        await asyncio.sleep(1.5)
        assert 1 <= len(asked) - count <= 5, "the pause has grown to a second, shortened by half at most"


async def test_a_server_that_has_no_room_is_asked_again_by_the_pauses_of_the_stream() -> None:
    asked: list[int] = []

    async def refuse(number: int, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(number)
        writer.write(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()

    patient = StreamSettings(first_wait_s=0.05, backoff_s=30, backoff_s_max=30)
    async with peer(refuse) as url, member(url, stream=patient):
        await asyncio.sleep(0.5)
    assert len(asked) == 1


async def test_what_cuts_off_streams_alone_is_not_asked_for_them_as_fast_as_calls_go() -> None:
    asked, answered = 0, 0

    async def drop(request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async def answer(_: web.Request) -> web.Response:
        nonlocal answered
        answered += 1
        return web.Response()

    app = web.Application()
    app.router.add_get("/poll/scorers/w1", drop)
    app.router.add_post("/", answer)
    patient = StreamSettings(first_wait_s=0.05, backoff_s=30, backoff_s_max=30)
    async with TestServer(app) as server, asyncio.timeout(20):
        transport = HttpTransport(str(server.make_url("/")), stream=patient)
        async with transport.connect("scorers", "w1", lambda message: None):
            while answered < 50:
                with pytest.raises(Refused, match="no orchestrator server"):
                    await transport.call(c.Describe())
                await asyncio.sleep(0.01)
        await transport.close()
    assert asked == 1, "one attempt is one connection"


async def test_silence_after_keep_alives_is_a_half_open_socket() -> None:
    reconnected = asyncio.Event()

    async def comment_once(number: int, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b":\n\n")
        if number > 1:
            reconnected.set()
        await asyncio.Event().wait()

    async with peer(comment_once) as url, member(url):
        await reconnected.wait()


async def test_a_server_without_keep_alives_is_not_held_to_them() -> None:
    release = asyncio.Event()
    connections: list[int] = []

    async def silent(number: int, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(number)
        writer.write(HEAD)
        await release.wait()
        writer.write(b"data: " + encode_message(execute("late")) + b"\n\n")
        await asyncio.Event().wait()

    async with peer(silent) as url, member(url) as received:
        # Longer than the silence that a server with keep-alives is allowed.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(QUICK.silence_s * 2):
                await asyncio.Event().wait()
        release.set()
        assert await received.get() == execute("late")
    assert connections == [1]


async def test_bytes_cut_anywhere_and_foreign_events_do_no_harm() -> None:
    async def dribble(_: int, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD)
        stream = (
            b": hello\r\n\r\ndata: not json\n\n"
            b'data: {"kind":"invented","head":{},"data":{}}\n\n'
            b'event: x\r\nid: 1\r\ndata: {"kind":"execute","head":{"serverUrl":""},\r\n'
            b'data: "data":{"task":{"id":"a","version":7}}}\r\n\r\n'
        )
        for position in range(0, len(stream), 7):
            writer.write(stream[position : position + 7])
            await writer.drain()
            await asyncio.sleep(0)
        await asyncio.Event().wait()

    async with peer(dribble) as url, member(url) as received:
        assert await received.get() == execute("a", 7)


async def test_a_full_server_is_tried_again() -> None:
    async def full_once(number: int, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if number == 1:
            writer.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nfull")
            await writer.drain()
            return
        writer.write(HEAD + b"data: " + encode_message(execute("a")) + b"\n\n")
        await asyncio.Event().wait()

    async with peer(full_once) as url, member(url) as received:
        assert await received.get() == execute("a")


async def test_a_wrong_token_is_told_on_entering() -> None:
    async with served(ScriptedEngine(), token=TOKEN) as url:
        with pytest.raises(Refused, match="check the server's token") as caught:
            async with member(url):
                pass
        assert caught.value.status == 401
        async with member(url, token=TOKEN):
            pass


async def test_what_is_no_orchestrator_is_told_on_entering() -> None:
    async def other(_: int, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    async with peer(other) as url:
        with pytest.raises(Refused, match="no orchestrator server"):
            async with member(url):
                pass


async def test_a_receiver_that_raises_does_not_end_the_stream() -> None:
    engine = ScriptedEngine()
    received: asyncio.Queue[Message] = asyncio.Queue()

    def receive(message: Message) -> None:
        if message == execute("bad"):
            raise RuntimeError("a fault of the receiver")
        received.put_nowait(message)

    async with served(engine) as url, asyncio.timeout(10):
        transport = HttpTransport(url, stream=QUICK)
        async with transport.connect("scorers", "w1", receive):
            await engine.until(lambda e: len(e.connections) == 1)
            engine.deliver("scorers", "w1", execute("bad"))
            engine.deliver("scorers", "w1", execute("good"))
            assert await received.get() == execute("good")
        await transport.close()


async def test_an_error_inside_leaves_as_it_is() -> None:
    engine = ScriptedEngine()
    async with served(engine) as url:
        with pytest.raises(KeyError):
            async with member(url):
                raise KeyError("of the caller")
        await engine.until(lambda e: not e.connections)


async def test_leaving_while_the_server_is_away_is_immediate() -> None:
    async with served(ScriptedEngine()) as url:
        gone = url
    slow = StreamSettings(first_wait_s=0.05, backoff_s=60, backoff_s_max=60)
    async with asyncio.timeout(5), member(gone, stream=slow):
        pass
