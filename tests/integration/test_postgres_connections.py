"""The connections of a PostgreSQL store: how many there are, who waits for them, which are cut off."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic

import pytest

from orchestrator.domain.errors import Unavailable
from orchestrator.engine import Engine
from orchestrator.store import StoreError, open_store
from tests.engine_world import create, settle

asyncpg = pytest.importorskip("asyncpg", reason="the extra `postgres` is not installed")
from orchestrator.store import postgres_connections  # noqa: E402
from orchestrator.store.postgres_connections import Connections  # noqa: E402
from orchestrator.store.postgres_faults import LOST  # noqa: E402


@asynccontextmanager
async def _connections(url: str, most: int) -> AsyncIterator[Connections]:
    connections = Connections(url, most)
    try:
        yield connections
    finally:
        await connections.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_connections, "LENT_S_MAX", 0.3)
    monkeypatch.setattr(postgres_connections, "LOOK_S", 0.05)


async def _pid(connections: Connections) -> int:
    async with connections.lent() as connection:
        pid: int = await connection.fetchval("SELECT pg_backend_pid()")
        return pid


async def test_one_is_used_again_and_no_more_are_made_than_are_allowed(postgres_url: str) -> None:
    async with _connections(postgres_url, 2) as connections:
        assert await _pid(connections) == await _pid(connections)

        async def hold() -> int:
            async with connections.lent() as connection:
                await asyncio.sleep(0.01)
                pid: int = await connection.fetchval("SELECT pg_backend_pid()")
                return pid

        assert len(set(await asyncio.gather(*(hold() for _ in range(20))))) == 2


async def test_who_came_first_is_served_first(postgres_url: str) -> None:
    served = []
    async with _connections(postgres_url, 1) as connections:

        async def use(number: int) -> None:
            async with connections.lent():
                served.append(number)
                await asyncio.sleep(0)

        await asyncio.gather(*map(use, range(10)))
    assert served == list(range(10))


async def test_who_waits_for_long_is_told_that_all_are_busy(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_connections, "BUSY_TIMEOUT_S", 0.05)
    async with _connections(postgres_url, 1) as connections:
        async with connections.lent():
            with pytest.raises(StoreError, match="all 1 connections are busy; try again later") as caught:
                await _pid(connections)
            assert caught.value.transient
        assert await _pid(connections)


async def test_a_waiter_that_is_cancelled_takes_no_place(postgres_url: str) -> None:
    async with _connections(postgres_url, 1) as connections:
        async with connections.lent():
            waiting = [asyncio.create_task(_pid(connections)) for _ in range(2)]
            await asyncio.sleep(0.01)
            waiting[0].cancel()
        assert await waiting[1]
        assert waiting[0].cancelled()


async def test_a_connection_that_could_not_be_made_leaves_its_place(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_connections, "PAUSE_S_MIN", 0.0)
    async with _connections(postgres_url, 1) as connections:
        with monkeypatch.context() as changed:
            changed.setattr(postgres_connections, "VERSION_MIN", 99)
            for _ in range(3):
                with pytest.raises(StoreError, match="too old"):
                    await _pid(connections)
        connections._pause_s = connections._retry_at_s = 0.0
        assert await _pid(connections)


@pytest.mark.usefixtures("impatient")
async def test_a_connection_that_is_kept_too_long_is_cut_off(postgres_url: str) -> None:
    async with _connections(postgres_url, 2) as connections:
        before = await _pid(connections)
        started = monotonic()
        with pytest.raises(LOST):
            async with connections.lent() as connection:
                await connection.fetchval("SELECT pg_sleep(20)")
        assert 0.3 <= monotonic() - started < 10
        assert await _pid(connections) != before


@pytest.mark.usefixtures("impatient")
def test_what_was_closed_may_be_used_in_another_loop(postgres_url: str) -> None:
    connections = Connections(postgres_url, 2)

    async def use() -> None:
        try:
            await _pid(connections)
            with pytest.raises(LOST):
                async with connections.lent() as connection:
                    await connection.fetchval("SELECT pg_sleep(20)")
        finally:
            await connections.close()

    for _ in range(2):
        asyncio.run(asyncio.wait_for(use(), 10))


@pytest.mark.usefixtures("impatient")
async def test_what_is_lent_again_and_again_is_not_cut_off(postgres_url: str) -> None:
    async with _connections(postgres_url, 1) as connections:
        before, until = await _pid(connections), monotonic() + 0.6
        while monotonic() < until:
            assert await _pid(connections) == before


@pytest.mark.usefixtures("impatient")
async def test_a_database_that_falls_silent_keeps_nobody_waiting(postgres_url: str) -> None:
    """Both ways of an engine to it: a statement alone and a transaction."""
    async with Engine(open_store(postgres_url)) as engine:
        await engine.handle(create("before"))
        await engine.handle(create("between"))
        other = await asyncpg.connect(postgres_url)
        async with other.transaction():
            await other.execute("LOCK TABLE promises IN ACCESS EXCLUSIVE MODE")
            for command in (create("new"), settle("before")):
                async with asyncio.timeout(8):
                    with pytest.raises(Unavailable, match="lost its connection"):
                        await engine.handle(command)
        await other.close()
        answer = await engine.handle(settle("before"))
        assert answer.promise.id == "before"


async def test_a_statement_at_hand_outlives_a_change_of_its_table(postgres_url: str) -> None:
    async with _connections(postgres_url, 1) as connections, connections.lent() as connection:
        await connection.execute("CREATE TEMPORARY TABLE few (value INTEGER)")
        await connection.execute("INSERT INTO few VALUES (1)")
        for _ in range(2):
            assert await connection.fetchval_often("SELECT value FROM few WHERE value = $1", 1) == 1
        await connection.execute("ALTER TABLE few ALTER value TYPE BIGINT")
        for _ in range(2):
            assert await connection.fetchval_often("SELECT value FROM few WHERE value = $1", 1) == 1
        with pytest.raises(asyncpg.DataError):
            await connection.fetchval_often("SELECT value FROM few WHERE value = $1", "one")
