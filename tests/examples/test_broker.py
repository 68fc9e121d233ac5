"""The seam to the broker, with a real one: the unacknowledged comes again, the repeated does not."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest

from examples.broker import Message, connected

SERVER = Path(sys.executable).parent / "nats-server"
PATIENCE_S = 30


@asynccontextmanager
async def nats_server(folder: Path, port: int) -> AsyncIterator[str]:
    """Run a server with its queues in a folder; it is killed at the end."""
    where = ("--addr", "127.0.0.1", "--port", str(port), "--store_dir", str(folder))
    server = await asyncio.create_subprocess_exec(
        str(SERVER), "--jetstream", *where, stderr=asyncio.subprocess.PIPE
    )
    assert server.stderr is not None
    try:
        async with asyncio.timeout(PATIENCE_S):
            async for line in server.stderr:
                if b"Server is ready" in line:
                    break
        yield f"nats://127.0.0.1:{port}"
    finally:
        server.kill()
        await server.communicate()


async def take(url: str, number: int, *, acknowledge: bool) -> list[Message]:
    """Take so many messages from the queue `jobs`, as a process of its own would."""
    taken: list[Message] = []
    async with asyncio.timeout(PATIENCE_S), connected(url) as broker, aclosing(broker.taken("jobs")) as jobs:
        async for message in jobs:
            taken.append(message)
            if acknowledge:
                await message.acknowledge()
            if len(taken) == number:
                break
    return taken


async def test_what_was_not_acknowledged_comes_again(
    tmp_path: Path, unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("examples.broker.REDELIVER_S", 0.5)
    async with nats_server(tmp_path, unused_tcp_port) as url:
        async with connected(url) as broker:
            for number in (1, 2, 2, 1, 3):
                await broker.publish("jobs", str(number), {"number": number})
        first = await take(url, 2, acknowledge=False)
    async with nats_server(tmp_path, unused_tcp_port) as url:
        second = await take(url, 3, acknowledge=True)
        async with connected(url) as broker:
            await broker.publish("jobs", "4", {"number": 4})
        (last,) = await take(url, 1, acknowledge=True)
    assert [message.id for message in first] == ["1", "2"]
    assert sorted((message.id, message.body["number"]) for message in second) == [
        ("1", 1),
        ("2", 2),
        ("3", 3),
    ]
    assert last.id == "4"


async def test_everybody_who_reads_a_queue_sees_all_of_it(tmp_path: Path, unused_tcp_port: int) -> None:
    async with nats_server(tmp_path, unused_tcp_port) as url, connected(url) as broker:
        await broker.publish("done", "a", 1)
        await broker.publish("other", "a", 2)
        await broker.publish("done", "b", 3)
        for _ in range(2):
            async with asyncio.timeout(PATIENCE_S), aclosing(broker.read("done")) as done:
                assert [await anext(done), await anext(done)] == [1, 3]


async def test_a_broker_that_is_away_is_waited_for_and_told_of(
    tmp_path: Path, unused_tcp_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    async def publish() -> None:
        async with connected(f"nats://127.0.0.1:{unused_tcp_port}") as broker:
            await broker.publish("jobs", "1", None)

    publishing = asyncio.create_task(publish())
    said = ""
    async with asyncio.timeout(PATIENCE_S):
        while "start one: nats-server --jetstream" not in said:
            await asyncio.sleep(0.01)
            said += capsys.readouterr().out
    assert f"127.0.0.1:{unused_tcp_port} is away" in said
    async with nats_server(tmp_path, unused_tcp_port) as url:
        await publishing
        assert [message.id for message in await take(url, 1, acknowledge=True)] == ["1"]
