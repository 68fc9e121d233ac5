"""The one statement of PostgreSQL beside transactions that hold locks: it never waits."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import asyncpg
import pytest
from msgspec.structs import replace

from orchestrator.domain.errors import Refused, Unavailable
from orchestrator.domain.promise import PromiseRecord, Value
from orchestrator.engine import Engine
from orchestrator.engine.shortcut import insert_of
from orchestrator.protocol import commands as c
from orchestrator.store.port import Insert, LoadRows
from orchestrator.store.postgres import PostgresStore
from orchestrator.store.postgres_connections import Connection, Connections
from orchestrator.store.postgres_insert import insert
from orchestrator.store.postgres_locks import LOCK_WHOLE, key_of
from orchestrator.store.postgres_statements import INSERT_PLAIN, INSERT_PLAIN_ONE, INSERT_PROMISES_IF_ABSENT
from orchestrator.store.rows import PROMISE_ALL_COLUMNS, promise_row
from tests.engine_world import acquire, claim, create, fence, world
from tests.integration import test_sqlite_insert as sqlite
from tests.integration.test_engine_shortcuts import step

NOW = 1_700_000_000_000


async def test_no_transaction_is_opened(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Engine(PostgresStore(postgres_url)) as engine:
        await engine.handle(claim("a"))

        async def never(*_: object) -> Any:
            raise AssertionError("a transaction")

        monkeypatch.setattr(PostgresStore, "_transact", never)
        assert (await engine.handle(create("p"))).promise.pending
        assert (await engine.handle(fence("a", 1, step("a:1")))).promise is not None
        monkeypatch.undo()


HOLD = {
    "origin": f"SELECT pg_advisory_xact_lock({key_of('a')})",
    "whole": LOCK_WHOLE,
    "task": "UPDATE tasks SET resumes = 1 WHERE id = 'a'",
}


@asynccontextmanager
async def closing(connection: Connection) -> AsyncIterator[Connection]:
    try:
        yield connection
    finally:
        await connection.close()


@pytest.mark.parametrize("held", HOLD)
async def test_nothing_is_waited_for(postgres_url: str, held: str) -> None:
    """While somebody holds a lock that the statement needs, it does nothing, at once."""
    command = fence("a", 1, step("a:1"))
    query = insert_of(command, 10**9)
    assert query is not None
    async with Engine(PostgresStore(postgres_url)) as engine:
        await engine.handle(claim("a"))
    # The engine is closed: what it does by itself takes locks, too.
    connections = Connections(postgres_url, 2)
    async with closing(await connections.connect()) as one, closing(await connections.connect()) as other:
        blocked = one.transaction()
        await blocked.start()
        await one.execute(HOLD[held])
        assert await insert(other, query, NOW, None) is None
        await blocked.rollback()
        assert await insert(other, query, NOW, None) is not None


@pytest.mark.parametrize("held", [HOLD["origin"], HOLD["whole"]])
async def test_nothing_is_waited_for_by_a_plain_promise(postgres_url: str, held: str) -> None:
    query = insert_of(create("a"), 1)
    assert query is not None
    async with Engine(PostgresStore(postgres_url)):
        pass
    connections = Connections(postgres_url, 2)
    async with closing(await connections.connect()) as one, closing(await connections.connect()) as other:
        async with one.transaction():
            await one.execute(held)
            assert await insert(other, query, NOW, None) is None
        assert await insert(other, query, NOW, None) is not None
        assert await insert(other, query, NOW, None) is None


async def test_single_plain_promises_are_those_of_the_wider_statement(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = [_plain(f"p{number}" if number != 1 else "there", number) for number in range(16)]
    singly, alone = await sqlite.filled(), PostgresStore(postgres_url, time_from="caller")
    await sqlite.fill(alone)
    asked = _texts_of(monkeypatch, "fetchval_often")
    answers = [(await alone.add([each], sqlite.NOW))[0] for each in wanted]
    assert asked == [INSERT_PLAIN_ONE] * len(wanted)
    assert answers == [await sqlite.answer(singly, each) for each in wanted]
    every = LoadRows(ids=[each.promise_id for each in wanted])
    rows = [await sqlite.answer(store, every) for store in (singly, alone)]
    assert sorted(rows[0], key=str) == sorted(rows[1], key=str)
    await alone.close()
    await singly.close()


@pytest.mark.parametrize("count", [1, 2, 64, 300])
@pytest.mark.parametrize("faulty", [0.0, 0.3, 1.0])
async def test_many_as_one_by_one(postgres_url: str, count: int, faulty: float) -> None:
    """What one statement adds is what a store in SQLite adds singly. INSERT_SEED repeats a run."""
    seed = int(os.environ.get("INSERT_SEED", random.randrange(2**32)))  # noqa: S311
    print("seed", seed, "(set INSERT_SEED to repeat)")  # noqa: T201
    wanted = sqlite.inserts(random.Random(seed), count, faulty)  # noqa: S311
    singly, together = await sqlite.filled(), PostgresStore(postgres_url, time_from="caller")
    await sqlite.fill(together)
    answers = await together.add(wanted, sqlite.NOW)
    assert answers == [await sqlite.answer(singly, each) for each in wanted]
    assert faulty or None not in answers
    every = LoadRows(ids=[*(each.promise_id for each in wanted), *sqlite.TASKS])
    rows = [await sqlite.answer(store, every) for store in (singly, together)]
    assert sorted(rows[0], key=str) == sorted(rows[1], key=str)
    assert await together.add(wanted, sqlite.NOW) == [None] * len(wanted)
    await together.close()
    await singly.close()


def _plain(key: str, number: int) -> Insert:
    """A promise of no tree, with what a caller may give it."""
    tags = {"colour": "blue"} if number % 3 else {}
    param = Value(headers={"a": "b"} if number % 5 == 0 else None, data="x" if number % 2 else None)
    query = insert_of(c.PromiseCreate(id=key, timeout_at=2 * sqlite.NOW, tags=tags, param=param), 1)
    assert query is not None
    return query


@pytest.mark.parametrize("count", [2, 3, 64, 255, 256, 257])
async def test_plain_promises_as_one_by_one(
    postgres_url: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = [_plain(f"p{number}" if number != 1 else "there", number) for number in range(count)]
    singly, together = await sqlite.filled(), PostgresStore(postgres_url, time_from="caller")
    await sqlite.fill(together)
    asked = _texts_of(monkeypatch)
    answers = await together.add(wanted, sqlite.NOW)
    assert (asked[-1] in INSERT_PLAIN.values()) == (count <= 256)
    assert answers == [await sqlite.answer(singly, each) for each in wanted]
    assert [number for number, answer in enumerate(answers) if answer is None] == [1]
    every = LoadRows(ids=[each.promise_id for each in wanted])
    rows = [await sqlite.answer(store, every) for store in (singly, together)]
    assert sorted(rows[0], key=str) == sorted(rows[1], key=str)
    assert await together.add(wanted, sqlite.NOW) == [None] * count
    await together.close()
    await singly.close()


def _texts_of(monkeypatch: pytest.MonkeyPatch, way: str = "fetch") -> list[str]:
    """Return the statements that are fetched this way from now on, as they come."""
    asked: list[str] = []
    through = getattr(Connection, way)

    async def fetch(connection: Any, query: str, *values: Any, **options: Any) -> Any:
        asked.append(query)
        return await through(connection, query, *values, **options)

    monkeypatch.setattr(Connection, way, fetch)
    return asked


UNLIKE = {
    "a step": step("p1"),
    "late": create("p1", timeout_at=sqlite.NOW),
    "of a tree": create("p1", origin="p0"),
    "of a branch": create("p1", branch="p0"),
    "a child": create("p1", parent="p0"),
    "of a schedule": create("p1", schedule="s"),
}


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("kind", UNLIKE)
async def test_what_is_not_plain_is_stored_whole(postgres_url: str, kind: str, alone: bool) -> None:
    store = PostgresStore(postgres_url, time_from="caller")
    await store.open()
    other = insert_of(UNLIKE[kind], 1)
    assert other is not None
    wanted = [other] if alone else [_plain("p0", 0), other, _plain("p2", 2)]
    answers = await store.add(wanted, sqlite.NOW)
    late = [each is other and kind == "late" for each in wanted]
    assert [answer is None for answer in answers] == late
    rows = await sqlite.answer(store, LoadRows(ids=["p0", "p1", "p2"]))
    stored = {promise.id: promise for promise, _ in rows}
    assert [stored.get(each.promise_id) for each in wanted] == answers
    await store.close()
    connections = Connections(postgres_url, 1)
    columns = ", ".join(PROMISE_ALL_COLUMNS)
    async with closing(await connections.connect()) as one:
        found = await one.fetch(f"SELECT {columns} FROM promises ORDER BY id")  # noqa: S608
    assert [tuple(row) for row in found] == [promise_row(answer) for answer in answers if answer is not None]


@pytest.mark.parametrize("plain", [False, True])
async def test_those_that_would_have_to_wait_are_left_out(postgres_url: str, plain: bool) -> None:
    """The others are added, at once; what is left comes with the next batch."""
    store = PostgresStore(postgres_url, time_from="caller")
    await sqlite.fill(store)
    like = sqlite.inserts(random.Random(1), 1, 0)[0]  # noqa: S311
    ids = ("held:1", "busy:1", "new:1")
    wanted = [replace(like, promise_id=key, made=_made(key)) for key in ids]
    if plain:
        wanted = [_plain(key, number) for number, key in enumerate(ids)]
    connections = Connections(postgres_url, 2)
    async with closing(await connections.connect()) as one:
        blocked = one.transaction()
        await blocked.start()
        await one.execute(f"SELECT pg_advisory_xact_lock({key_of('busy')})")
        async with asyncio.timeout(5):
            answers = await store.add(wanted, sqlite.NOW)
        assert [answer is None for answer in answers] == [False, True, False]
        await blocked.rollback()
        assert (await store.add(wanted, sqlite.NOW))[1] is not None
    await store.close()


def _made(key: str) -> Callable[[int], PromiseRecord]:
    return lambda _: sqlite.promise(key)


@pytest.mark.parametrize("fenced", [False, True])
async def test_a_batch_whose_answer_was_lost(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, fenced: bool
) -> None:
    """Creations are repeated; of steps nobody knows, and nobody is told that they were refused."""
    async with world(postgres_url) as w:
        await w.do(claim("a"))
        through, cuts = asyncpg.Connection.fetch, []

        async def cut(connection: Any, query: str, *values: Any, **options: Any) -> Any:
            result = await through(connection, query, *values, **options)
            if query in {INSERT_PROMISES_IF_ABSENT, *INSERT_PLAIN.values()}:
                cuts.append(query)
                connection.terminate()
                raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")
            return result

        monkeypatch.setattr(asyncpg.Connection, "fetch", cut)
        first = fence("a", 1, step("a:1")) if fenced else create("p")
        answers = await w.together(first, create("q"), claim("b"))
        monkeypatch.undo()
        assert cuts == [INSERT_PROMISES_IF_ABSENT if fenced else INSERT_PLAIN[2]]
        lost = Unavailable if fenced else c.PromiseAnswer
        assert [type(answer) for answer in answers[:2]] == [lost, lost]
        assert isinstance(answers[2], c.TaskClaim)
        for key in ("a:1" if fenced else "p", "q"):
            assert (await w.do(c.PromiseGet(id=key))).promise.id == key


async def test_steps_and_releases_of_two_servers_exclude_one_another(postgres_url: str) -> None:
    """A step that is acknowledged was written; one that is refused was not."""
    async with Engine(PostgresStore(postgres_url)) as first, Engine(PostgresStore(postgres_url)) as second:
        await first.handle(create("a", target="poll://any@nobody"))
        written: dict[str, bool] = {}
        over = asyncio.Event()

        async def steps() -> None:
            number = 0
            while not over.is_set():
                number += 1
                held = (await first.handle(c.TaskGet(id="a"))).task.version
                try:
                    await first.handle(fence("a", held, step(f"a:{number}", data=str(held))))
                    written[f"a:{number}"] = True
                except Refused:
                    written[f"a:{number}"] = False

        async def turns() -> None:
            for version in count():
                await second.handle(acquire("a", version))
                await second.handle(create(f"between-{version}"))
                await second.handle(c.TaskRelease(id="a", version=version + 1))
                if version > 60 and {True, False} <= set(written.values()):
                    break
            over.set()

        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            group.create_task(steps())
            group.create_task(turns())
        for key, acknowledged in written.items():
            try:
                await second.handle(c.PromiseGet(id=key))
                assert acknowledged, key
            except Refused:
                assert not acknowledged, key
