"""The one statement of PostgreSQL beside transactions that hold locks: it never waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import pytest

from orchestrator.domain.errors import Refused
from orchestrator.engine import Engine
from orchestrator.engine.shortcut import insert_of
from orchestrator.protocol import commands as c
from orchestrator.store.postgres import PostgresStore
from orchestrator.store.postgres_connections import Connection, Connections
from orchestrator.store.postgres_insert import insert
from orchestrator.store.postgres_locks import LOCK_WHOLE, key_of
from tests.engine_world import acquire, claim, create, fence
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
