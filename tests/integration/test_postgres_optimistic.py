"""Programs of two statements on PostgreSQL: whatever changes between them, the outcome is that of locks."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from orchestrator.domain import tags as tag
from orchestrator.domain.errors import Unavailable
from orchestrator.domain.promise import PromiseState
from orchestrator.engine import EngineSettings, ManualClock
from orchestrator.engine.batch import BatchResult, Sent, Work, batch_program
from orchestrator.engine.debugging import _snapshot
from orchestrator.protocol import commands as c
from orchestrator.protocol import groups as g
from orchestrator.store.port import Changes, LoadRows, Program, Write, ask
from tests.engine_world import (
    FAR,
    GROUP,
    RESOLVED,
    TARGET,
    Ear,
    World,
    acquire,
    claim,
    create,
    fence,
    fulfill,
    settle,
    suspend,
    world,
)
from tests.unit.test_engine_transitions import _promise

asyncpg = pytest.importorskip("asyncpg", reason="the extra `postgres` is not installed")
from orchestrator.store.postgres import PostgresStore  # noqa: E402
from orchestrator.store.postgres_connections import Connections  # noqa: E402
from orchestrator.store.postgres_locks import LOCKS_MAX, WHOLE_STORE, key_of  # noqa: E402
from orchestrator.store.postgres_optimistic import Conflict, Optimistic  # noqa: E402

NOW = 1_700_000_000_000
CLIENT = "poll://uni@clients/c1"
KNOWN = [claim("known")]


def bare(task_id: str, version: int, pid: str) -> c.TaskAcquire:
    """Acquire a task as a worker that remembers its workflow, and needs no preload."""
    return c.TaskAcquire(id=task_id, version=version, pid=pid, ttl=10_000, bare=True)


async def until_somebody_waits(holder: Any) -> None:
    while not await holder.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):  # noqa: ASYNC110
        await asyncio.sleep(0.01)


async def snapshot(w: World) -> tuple[Any, ...]:
    found = await w.store.run(lambda _: _snapshot(), w.now)
    return found.promises, found.tasks, found.callbacks, found.listeners, found.messages


@pytest.fixture
def outcomes(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count the attempts by two statements that succeeded, and those that did not."""
    found: Counter[str] = Counter()

    def counted(through: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def run(*arguments: Any) -> Any:
            try:
                result = await through(*arguments)
            except Conflict:
                found["conflict"] += 1
                raise
            found["done"] += 1
            return result

        return run

    for name in ("run", "run_unread"):
        monkeypatch.setattr(Optimistic, name, counted(getattr(Optimistic, name)))
    return found


@asynccontextmanager
async def two(url: str) -> AsyncIterator[tuple[World, World]]:
    """Two servers on one database and one clock; each knows what is set about groups."""
    clock = ManualClock(NOW)
    async with world(url, clock) as first, world(url, clock) as second:
        for w in (first, second):
            for each in KNOWN:
                await w._answer(each)
        yield first, second


def between(
    monkeypatch: pytest.MonkeyPatch, of: Any, interfere: Callable[[], Awaitable[Any]]
) -> Callable[[], bool]:
    """Let something happen once, when this store has read and is about to write; tell whether it came."""
    through, left = Optimistic._write, [1]

    async def write(self: Optimistic, *arguments: Any) -> None:
        if left and self._remembered is of.remembered:
            left.pop()
            await interfere()
        await through(self, *arguments)

    monkeypatch.setattr(Optimistic, "_write", write)
    return lambda: not left


async def test_no_transaction_is_opened(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, outcomes: Counter[str]
) -> None:
    """What workflows do is two statements each, at most; what reads is one."""

    async def never(*_: object) -> Any:
        raise AssertionError("a transaction")

    async with two(postgres_url) as (w, _):
        ear = Ear()
        w.engine.connect("clients", "c1", ear)
        outcomes.clear()
        monkeypatch.setattr(PostgresStore, "_transact", never)
        await w.do(claim("a"))
        await w.do(fence("a", 1, create("a:1", target=TARGET)))
        await w.do(c.PromiseRegisterListener(awaited="a", address=CLIENT))
        await w.do(suspend("a", 1, "a:1"))
        await w.do(acquire("a:1", 0, "w2"))
        await w.do(c.TaskHeartbeat(pid="w2", tasks=[c.TaskReference(id="a:1", version=1)]))
        await w.do(fulfill("a:1", 1))
        assert (await w.task("a")).resumes == 1
        await w.do(bare("a", 1, "w1"))
        await w.do(fulfill("a", 2))
        assert await w.state("a") is RESOLVED
        assert outcomes["conflict"] == 0
        await ear.hear(1)
        monkeypatch.undo()


MEANWHILE: dict[str, tuple[list[c.Command[Any]], list[c.Command[Any]], c.Command[Any]]] = {
    "settled": ([create("p")], [settle("p", data="first")], settle("p", data="second")),
    "created": ([], [create("p", a="1")], create("p", target=TARGET)),
    "claimed": ([], [claim("p", pid="w2")], claim("p", pid="w1")),
    "acquired": ([create("p", target=TARGET)], [bare("p", 0, "w2")], bare("p", 0, "w1")),
    "given back": ([claim("p")], [c.TaskRelease(id="p", version=1)], fulfill("p", 1)),
    "awaited": ([create("r:1"), claim("r")], [suspend("r", 1, "r:1")], settle("r:1")),
    "awaited by another": (
        [create("r:1"), claim("r"), claim("r:2"), suspend("r", 1, "r:1")],
        [settle("r"), suspend("r:2", 1, "r:1")],
        settle("r:1"),
    ),
    "listened to": ([create("p")], [c.PromiseRegisterListener(awaited="p", address=CLIENT)], settle("p")),
    "settled before it is awaited": (
        [create("r:1"), claim("r")],
        [settle("r:1")],
        c.TaskSuspend(id="r", version=1, actions=suspend("r", 1, "r:1").actions, bare=True),
    ),
    "its awaiter gone on": (
        [create("r:1"), create("r:2"), claim("r"), suspend("r", 1, "r:1", "r:2")],
        [settle("r:2"), bare("r", 1, "w2")],
        settle("r:1"),
    ),
    "a child in its branch": (
        [create("p", target=TARGET)],
        [c.PromiseCreate(id="p:1", timeout_at=FAR, tags={tag.BRANCH: "p"})],
        acquire("p", 0),
    ),
    "a child in a branch of its own": (
        [create("p", target=TARGET)],
        [c.PromiseCreate(id="p:1", timeout_at=FAR, tags={tag.BRANCH: "p:1", tag.PARENT: "p"})],
        acquire("p", 0),
    ),
    "another in its branch": (
        [c.PromiseCreate(id="p:1", timeout_at=FAR, tags={tag.BRANCH: "p", tag.TARGET: TARGET})],
        [c.PromiseCreate(id="p:2", timeout_at=FAR, tags={tag.BRANCH: "p"})],
        acquire("p:1", 0),
    ),
    "a child in a branch of its parent's name": (
        [c.PromiseCreate(id="p:1", timeout_at=FAR, tags={tag.BRANCH: "p", tag.TARGET: TARGET})],
        [c.PromiseCreate(id="p:1.1", timeout_at=FAR, tags={tag.BRANCH: "p:1", tag.PARENT: "p:1"})],
        acquire("p:1", 0),
    ),
    "limited": ([], [g.GroupSet(id=GROUP, concurrency=1)], create("p", target=TARGET)),
}
"""By what happens between reading and writing: what was there before, what happens, and the command."""


@pytest.mark.parametrize("meanwhile", MEANWHILE)
async def test_what_happens_between_reading_and_writing_came_first(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, outcomes: Counter[str], meanwhile: str
) -> None:
    """As a store in memory tells, which carries out one after the other."""
    before, others, command = MEANWHILE[meanwhile]
    async with world("memory://", ManualClock(NOW)) as expected:
        for each in (*KNOWN, *before, *others):
            await expected.do(each)
        wanted = await expected.alone(command), await snapshot(expected)
    async with two(postgres_url) as (one, other):
        for each in before:
            await one.do(each)

        async def interfere() -> None:
            for each in others:
                await other.do(each)

        outcomes.clear()
        came = between(monkeypatch, one.store, interfere)
        found = await one.alone(command), await snapshot(one)
        assert came()
        assert outcomes["conflict"] >= 1
    assert str(found[0]) == str(wanted[0])
    assert found[1] == wanted[1]


async def test_a_deadline_that_passes_between_reading_and_writing_counts(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, outcomes: Counter[str]
) -> None:
    store = PostgresStore(postgres_url)

    async def do(command: c.Command[Any]) -> Any:
        def program(now_ms: int) -> Program[BatchResult]:
            return batch_program(now_ms, (Work(command=command),), EngineSettings(), Sent())

        return (await store.run(program, time.time_ns() // 1_000_000)).outcomes[0]

    await store.open()  # without an engine, whose ticker would look after the deadline
    await do(claim("known"))
    await do(create("p", timeout_at=time.time_ns() // 1_000_000 + 500))
    came = between(monkeypatch, store, lambda: asyncio.sleep(0.7))
    answer = await do(settle("p"))
    assert came()
    assert outcomes["conflict"] >= 1
    assert answer.promise.state is PromiseState.REJECTED_TIMEDOUT
    await store.close()


async def test_what_is_committed_while_the_statement_waits_for_its_locks_is_seen(
    postgres_url: str, outcomes: Counter[str]
) -> None:
    """The statement began before, and so cannot see it: the function that holds the locks can."""
    async with two(postgres_url) as (one, _):
        await one.do(create("r:1"))
        await one.do(claim("r"))
        outcomes.clear()
        holder = await asyncpg.connect(postgres_url)
        async with holder.transaction():
            await holder.execute(f"SELECT pg_advisory_xact_lock({key_of('r')})")
            settling = asyncio.create_task(one.do(settle("r:1")))
            await until_somebody_waits(holder)
            # As another server would have suspended the task.
            await holder.execute("INSERT INTO callbacks VALUES ('r:1', 'r')")
            await holder.execute("UPDATE tasks SET state = 'suspended', pid = NULL WHERE id = 'r'")
        await settling
        await holder.close()
        assert outcomes["conflict"] == 1
        assert (await one.task("r")).resumes == 1


async def test_nobody_reads_what_is_not_committed(postgres_url: str) -> None:
    """Who waits for a lock has not written; who reads meanwhile is not kept waiting."""
    async with two(postgres_url) as (one, other):
        await one.do(create("p"))
        holder = await asyncpg.connect(postgres_url)
        async with holder.transaction():
            await holder.execute(f"SELECT pg_advisory_xact_lock({key_of('p')})")
            settling = asyncio.create_task(one.do(settle("p")))
            await until_somebody_waits(holder)
            async with asyncio.timeout(5):
                assert await other.state("p") is PromiseState.PENDING
        await settling
        await holder.close()
        assert await other.state("p") is RESOLVED


async def test_a_write_whose_answer_was_lost_is_not_repeated(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with two(postgres_url) as (one, _):
        await one.do(create("p", target=TARGET))
        through = asyncpg.Connection.fetchval

        async def cut(connection: Any, query: str, *values: Any, **options: Any) -> Any:
            result = await through(connection, query, *values, **options)
            if "dao_scorer_unchanged" in query:
                connection.terminate()
                raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")
            return result

        monkeypatch.setattr(asyncpg.Connection, "fetchval", cut)
        answers = await one.together(bare("p", 0, "w1"), create("q", target=TARGET))
        assert [type(answer) for answer in answers] == [Unavailable, Unavailable]
        monkeypatch.undo()
        assert (await one.task("p")).version == 1
        assert await one.state("q") is PromiseState.PENDING


async def test_a_program_that_raises_has_written_nothing(postgres_url: str) -> None:
    def program(_: int) -> Program[None]:
        yield from ask(LoadRows(ids=["p"]))
        yield from ask(Write(changes=Changes(promises_created=[_promise()])))
        raise ZeroDivisionError

    async with two(postgres_url) as (one, _):
        with pytest.raises(ZeroDivisionError):
            await one.store.run(program, NOW)
        await one.refused(404, c.PromiseGet(id="p"))


async def test_more_promises_than_locks_are_left_to_a_transaction(
    postgres_url: str, outcomes: Counter[str]
) -> None:
    async with world(postgres_url, batch_max=1_000) as one:
        ids = [f"p{number}" for number in range(LOCKS_MAX + 1)]
        await one.together(*(create(key, target=TARGET) for key in ids))
        assert outcomes["conflict"] >= 1
        assert [await one.state(key) for key in (ids[0], ids[-1])] == [PromiseState.PENDING] * 2


async def test_the_functions_scan_no_table(postgres_url: str) -> None:
    """By the server's own count, whatever it plans."""
    async with two(postgres_url) as (one, _):
        await one.do(create("p"))
    connection = await Connections(postgres_url, 1).connect()
    counts = "SELECT sum(seq_scan) FROM pg_stat_user_tables WHERE relname <> 'alembic_version'"
    mark = await connection.fetchval("SELECT xmin FROM promises WHERE id = 'p'")
    await connection.execute("SELECT pg_stat_force_next_flush()")
    before = await connection.fetchval(counts)
    for _ in range(10):  # after some calls plans are made for any values
        call = f"SELECT dao_scorer_unchanged({WHOLE_STORE}, $1, $2, $3, $4, $5, $6, $7, $8, $9)"
        given = ([key_of("p")], None, 0, ["p"], [mark], [None], ["p"], [], [])
        assert await connection.fetchval(call, *given)
        assert await connection.fetchval("SELECT dao_scorer_childless($1)", ["p"])
    await connection.execute("SELECT pg_stat_force_next_flush()")
    assert await connection.fetchval(counts) == before
    await connection.close()
