"""A server that goes away for a while: who works or waits says so, asks at a bounded rate, and loses nothing.

W1 no settled step is executed again. T5 no task rests for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import Counter
from collections.abc import AsyncIterator, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from structlog.testing import capture_logs

from orchestrator import Context, Orchestrator, Unavailable
from orchestrator.engine import Engine, EngineSettings
from orchestrator.store.memory import MemoryStore
from orchestrator.testing import ExecutionLog
from orchestrator.transport import outage
from tests.integration.server_support import served

AT_ONCE = 64
RECORDS = os.environ.get("DAO_SCORER_RECORDS") == "1"
AWAY_S = 60.0 if RECORDS else 1.0
"""For the record a minute, with the leases of every day."""
LEASE_MS = 10_000 if RECORDS else 700
PATIENCE_S = 30 + AWAY_S
ATTEMPTS_MAX = 20 + 2 * AWAY_S
"""Of one process in `AWAY_S`: calls after pauses of 25, 50, 100 ms, up to half a second, and its stream's."""


class Door:
    """What stands before a server: lets connections through or, while it is shut, counts and drops them."""

    def __init__(self, port_behind: int) -> None:
        self.attempts = 0
        self._port_behind = port_behind
        self._shut = self._keeps_streams = False
        self._calls: set[asyncio.StreamWriter] = set()
        self._streams: set[asyncio.StreamWriter] = set()

    def shut(self, *, keeps_streams: bool = False) -> None:
        """Drop what is open, and all that comes; delivery streams only if they are not kept."""
        self._shut, self._keeps_streams = True, keeps_streams
        for writer in self._calls if keeps_streams else self._calls | self._streams:
            writer.transport.abort()

    def open(self) -> None:
        self._shut = False

    async def let_in(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._shut:
            self.attempts += 1
            writer.transport.abort()
            return
        with contextlib.suppress(ConnectionError):
            first = await reader.read(64 * 1024)
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self._port_behind)
            inner_writer.write(first)
            kept = self._streams if first.startswith(b"GET /poll/") else self._calls
            kept |= {writer, inner_writer}
            await asyncio.gather(_pass(reader, inner_writer), _pass(inner_reader, writer))
            kept -= {writer, inner_writer}


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while chunk := await reader.read(64 * 1024):
            writer.write(chunk)
            await writer.drain()
    writer.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A server, the door before it, and the log lines since the test began."""

    door: Door
    url: str
    url_behind: str
    lines: Sequence[MutableMapping[str, Any]]

    def counted(self) -> Counter[str]:
        return Counter(line["event"] for line in self.lines)


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(outage, "TOLD_AFTER_S", 0.3)
    settings = EngineSettings(retry_timeout_ms=200)
    async with Engine(MemoryStore(), settings=settings) as engine, served(engine) as behind:
        door = Door(int(behind.rpartition(":")[2]))
        server = await asyncio.start_server(door.let_in, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            with capture_logs() as lines:
                yield World(door=door, url=url, url_behind=behind, lines=lines)
        finally:
            door.shut()
            server.close()


async def plus_one(number: int) -> int:
    return number + 1


async def test_away_while_64_executions_are_under_way(world: World) -> None:
    log, started, gate = ExecutionLog(), Counter[str](), asyncio.Event()

    async def during(number: int) -> int:
        started["during"] += 1
        await gate.wait()
        await asyncio.sleep(number / 100)  # so that they do not ask together
        return number + 1

    async def flow(ctx: Context, number: int) -> int:
        first = await ctx.run(plus_one, number)
        return await ctx.run(plus_one, await ctx.run(during, first))

    def application(**settings: Any) -> Orchestrator:
        app = Orchestrator.remote(world.url, ttl_ms=LEASE_MS, refresh_s=0.3, **settings)
        for function in (plus_one, during, flow):
            app.register(function)
        app.observe(log)
        return app

    late = application(group="late")
    async with asyncio.timeout(PATIENCE_S), application() as worker, application(worker=False) as client:
        begun = [await worker.begin_run(f"before-{one}", flow, one) for one in range(AT_ONCE)]
        listening = asyncio.create_task((await client.get("before-7")).result())
        while started["during"] < AT_ONCE:  # noqa: ASYNC110 - all of them execute
            await asyncio.sleep(0.01)
        before = world.counted()  # a machine that stands still may have cost leases already
        world.door.shut()
        gate.set()
        starting = asyncio.create_task(late.start())
        with pytest.raises(Unavailable, match=world.url):
            await client.begin_rpc("refused", flow, 1)
        unheard = asyncio.create_task(begun[0].result())
        await asyncio.sleep(AWAY_S)
        attempts, said = world.door.attempts, world.counted() - before
        if RECORDS:
            print(f"{AT_ONCE} executions, {AWAY_S:g} s away: {attempts} attempts, lines {dict(said)}")  # noqa: T201
        world.door.open()
        await starting
        assert [await each.result() for each in begun] == [number + 3 for number in range(AT_ONCE)]
        assert (await listening, await unheard) == (10, 3)
        assert said["server away, waiting"] <= 2, "one for each of those who listen"
        assert await client.rpc("refused", flow, 1) == 4
        assert await late.run("after", plus_one, 1) == 2
        await late.stop()
    assert not log.again_after_settling
    assert set(log.finished.values()) == {1}
    check_lines_and_attempts(world, attempts, said, processes=3)


def check_lines_and_attempts(world: World, attempts: int, said: Counter[str], *, processes: int) -> None:
    """The lines name who is waited for; until its return neither they nor attempts grow with what waits."""
    assert 2 <= attempts <= processes * ATTEMPTS_MAX
    away = [line for line in world.lines if line["event"] == "server_away"]
    assert 1 <= world.counted()["server_back"] <= processes
    assert 1 <= len(away) <= processes * (1 + AWAY_S // outage.TOLD_EVERY_S)
    for line in away:
        assert line["url"] == f"{world.url}/"
        assert "cannot reach" in line["reason"]
        assert "dao-scorer serve" in line["remedy"]
    assert max(line["waiting_calls"] for line in away) > 1
    # At most one line for each execution that is stopped, and for each that cannot be given back.
    of_executions = {"lease lost", "task not released, its lease will end"}
    others = sum(count for event, count in said.items() if event not in of_executions)
    assert others <= processes * ATTEMPTS_MAX, said
    assert all(said[event] <= AT_ONCE for event in of_executions), said


async def test_announced_while_no_call_comes_through(world: World) -> None:
    log = ExecutionLog()
    worker = Orchestrator.remote(world.url, ttl_ms=LEASE_MS)
    beside = Orchestrator.remote(world.url_behind, worker=False)
    worker.register(plus_one)
    worker.observe(log)
    async with asyncio.timeout(PATIENCE_S), worker, beside:
        world.door.shut(keeps_streams=True)
        begun = []
        for number in range(AT_ONCE):
            begun.append(await beside.begin_rpc(f"during-{number}", plus_one, number))
            await asyncio.sleep(0.01)
        await asyncio.sleep(AWAY_S / 2)
        attempts, said = world.door.attempts, world.counted()
        world.door.open()
        assert [await each.result() for each in begun] == [number + 1 for number in range(AT_ONCE)]
    assert not log.again_after_settling
    assert "task not acquired yet" not in said
    check_lines_and_attempts(world, attempts, said, processes=1)
