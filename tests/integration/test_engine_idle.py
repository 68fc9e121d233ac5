"""An engine with nothing to do asks its store next to nothing, whatever it holds, and takes little memory."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from orchestrator.engine import Engine
from orchestrator.engine.neighbours import LOOK_PAUSE_S
from orchestrator.protocol import groups as g
from orchestrator.store import SqliteStore, Store
from orchestrator.store.port import LoadDeadline, Program, ask
from orchestrator.store.postgres_connections import Connection, Connections
from tests.engine_world import FAR, GROUP, STORES, TARGET, Ear, create, world
from tests.property.test_engine_oracle import StillClock

HELD = 500
WATCHED_S = 3.0


async def _fill(engine: Engine) -> None:
    """Timers, tasks for which nobody listens, and plain promises: all of them have a deadline, far ahead."""
    commands = []
    for number in range(HELD):
        tags = {"timer": "true"} if number % 3 == 0 else {}
        target = TARGET if number % 3 == 1 else None
        commands.append(create(f"p-{number}", timeout_at=FAR + number, target=target, **tags))
    await asyncio.gather(*(engine.handle(command) for command in commands))


async def test_an_idle_engine_on_a_file_asks_nothing(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "s.db")
    async with Engine(store) as engine:
        await _fill(engine)
        await engine.tick()
        assert store._connection is not None
        asked: list[str] = []
        store._connection.set_trace_callback(asked.append)
        await asyncio.sleep(WATCHED_S)
        assert not asked
        await engine.handle(create("another"))
        assert asked  # it is heard when something is asked
        store._connection.set_trace_callback(None)


async def test_an_idle_engine_on_a_database_asks_once_a_second(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from orchestrator.store.postgres import PostgresStore  # noqa: PLC0415  # an extra

    asked: list[str] = []
    connect = Connections.connect

    async def heard(self: Connections, **options: Any) -> Connection:
        connection = await connect(self, **options)
        connection.add_query_logger(lambda record: asked.append(record.query))
        return connection

    monkeypatch.setattr(Connections, "connect", heard)
    async with Engine(PostgresStore(postgres_url)) as engine:
        await _fill(engine)
        await engine.tick()
        assert asked
        asked.clear()
        await asyncio.sleep(WATCHED_S)
        assert 1 <= len(asked) <= WATCHED_S / LOOK_PAUSE_S + 1, asked


async def test_an_idle_engine_runs_no_program(tmp_path: Path) -> None:
    """Neither do its ticker, its courier nor its committer wake up for nothing."""
    ran = 0

    class Counting(SqliteStore):
        async def run(self, make_program: Callable[[int], Program[Any]], now_ms: int) -> Any:
            nonlocal ran
            ran += 1
            return await super().run(make_program, now_ms)

    store: Store = Counting(tmp_path / "s.db")
    async with Engine(store) as engine:
        await _fill(engine)
        await engine.tick()
        before = ran
        await asyncio.sleep(WATCHED_S)
    assert before > 0
    assert ran == before


def _deadline(_: int) -> Program[int | None]:
    return (yield from ask(LoadDeadline()))


@pytest.mark.parametrize("url", STORES)
async def test_a_task_for_which_nobody_listens_is_looked_at_ever_more_seldom(
    request: pytest.FixtureRequest, url: str
) -> None:
    url = request.getfixturevalue("postgres_url") if url == "postgresql" else url
    async with world(url, StillClock(), retry_unheard_ms_max=3_600_000) as w:
        await w.do(create("p", target=TARGET))
        born, looks = w.now, []
        for _ in range(9):
            deadline = await w.store.run(_deadline, w.now)
            assert deadline is not None
            looks.append(deadline - born)
            await w.pass_time(deadline - w.now)
        pauses = [after - before for before, after in pairwise(looks)]
        assert looks[0] == w.engine.settings.retry_timeout_ms
        assert pauses[:4] == [600_000, looks[1], looks[2], looks[3]]
        assert pauses[-2:] == [3_600_000] * 2
        ear = Ear()
        w.engine.connect(GROUP, "late", ear)
        await ear.hear(1)  # at once, all the same
        assert await w.store.run(_deadline, w.now) == w.now + w.engine.settings.retry_timeout_ms


class Counted:
    """A store's programs, with the queries that they have asked."""

    def __init__(self, store: Store) -> None:
        self.queries = 0
        self._run = store.run

    async def run(self, make_program: Callable[[int], Program[Any]], now_ms: int) -> Any:
        def counted(moment: int) -> Program[Any]:
            program, answer = make_program(moment), None
            while True:
                try:
                    query = program.send(answer)
                except StopIteration as stop:
                    return stop.value
                self.queries += 1
                answer = yield query

        return await self._run(counted, now_ms)


MANY = 100_000
HOUR_MS = 3_600_000


@pytest.mark.parametrize("paused", [False, True])
@pytest.mark.parametrize("url", STORES)
async def test_whatever_it_holds_an_idle_engine_asks_less_than_once_a_second_over_a_day(
    request: pytest.FixtureRequest, url: str, paused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a hundred thousand tasks that nobody hears of, one page stands for all; a timer sleeps besides."""
    url = request.getfixturevalue("postgres_url") if url == "postgresql" else url
    async with world(url, StillClock()) as w:
        if paused:
            await w.do(g.GroupPause(id=GROUP))
        page = w.engine.settings.tick_page
        await asyncio.gather(*(w.do(create(f"p-{number}", target=TARGET)) for number in range(page)))
        await w.do(create("timer", timeout_at=FAR, target=TARGET, timer="true"))
        counted, born, asked = Counted(w.store), w.now, [0] * 24
        monkeypatch.setattr(w.store, "run", counted.run)
        while (deadline := await w.store.run(_deadline, w.now)) is not None:
            if deadline >= born + 24 * HOUR_MS:
                break
            counted.queries = 0
            await w.pass_time(deadline - w.now)
            asked[(w.now - born) // HOUR_MS] += counted.queries
        a_second = [count * MANY / page / 3_600 for count in asked]
        assert a_second[0] > 0
        assert max(a_second[1:]) <= 1, a_second
        assert sum(a_second) / 24 <= 0.25, a_second


@pytest.mark.parametrize("url", STORES)
async def test_places_of_a_limited_group_of_which_nobody_hears_are_kept(
    request: pytest.FixtureRequest, url: str
) -> None:
    """Else one task after another would be told, every second, as long as there are any."""
    url = request.getfixturevalue("postgres_url") if url == "postgresql" else url
    async with world(url, StillClock()) as w:
        await w.do(g.GroupSet(id=GROUP, concurrency=1))
        await asyncio.gather(*(w.do(create(f"p-{number}", target=TARGET)) for number in range(20)))
        born, ticks = w.now, 0
        while (deadline := await w.store.run(_deadline, w.now)) is not None and deadline <= born + HOUR_MS:
            await w.pass_time(deadline - w.now)
            ticks += 1
        assert ticks <= 2 + 2 * HOUR_MS / w.engine.settings.retry_unheard_ms
        assert (await w.engine.gauges()).outbox_executes == 1


SLEEPERS = 10_000
BYTES_PER_SLEEPER_MAX = 50 * 2**20 // 100_000


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="tells a process's memory only on Linux")
def test_sleeping_promises_take_little_memory(tmp_path: Path) -> None:
    command = (sys.executable, "-m", "benchmarks.engine_sleepers", str(tmp_path / "s.db"), str(SLEEPERS), "0")
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    _, added = map(int, told.stdout.split())
    assert added < SLEEPERS * BYTES_PER_SLEEPER_MAX, f"{added / SLEEPERS:.0f} bytes a sleeper"
