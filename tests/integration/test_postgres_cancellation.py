"""Tasks that are cancelled while they use a PostgreSQL store: they end, and may clean up before."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from orchestrator.store import open_store
from orchestrator.store.port import LoadDeadline, LoadRows, Program, Row, ask
from tests.engine_world import GROUP, world

asyncpg = pytest.importorskip("asyncpg", reason="the extra `postgres` is not installed")
from orchestrator.store.postgres import PostgresStore  # noqa: E402
from orchestrator.store.postgres_notices import PROBE_S  # noqa: E402


def _read(promise_id: str) -> Program[list[Row]]:
    return (yield from ask(LoadRows(ids=[promise_id])))


def _next_deadline() -> Program[int | None]:
    """What takes a transaction."""
    return (yield from ask(LoadDeadline()))


async def test_a_cancelled_task_may_use_the_store_to_clean_up(postgres_url: str) -> None:
    async with world(postgres_url) as w:
        began, counted = asyncio.Event(), []

        async def work() -> None:
            try:
                began.set()
                await asyncio.Event().wait()
            finally:
                counted.append(await w.engine.gauges())

        working = asyncio.create_task(work())
        await began.wait()
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        assert len(counted) == 1


@pytest.mark.parametrize("method", ["fetch", "execute", "fetchrow"])
async def test_a_cancellation_that_the_driver_loses_is_heeded(
    postgres_url: str, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loop over transactions ends when it is told to."""
    async with world(postgres_url) as w:
        assert isinstance(w.store, PostgresStore)
        real, losing = getattr(asyncpg.Connection, method), asyncio.Event()

        async def loses(connection: Any, *arguments: Any, **options: Any) -> Any:
            if asyncio.current_task() is looping:
                losing.set()
                with suppress(asyncio.CancelledError):
                    await asyncio.sleep(0.2)
            return await real(connection, *arguments, **options)

        async def loop() -> None:
            while True:
                await w.store.run(lambda _: _read("p"), w.now)
                await w.store.run(lambda _: _next_deadline(), w.now)
                await w.store.look([GROUP])

        looping = asyncio.create_task(loop())
        monkeypatch.setattr(asyncpg.Connection, method, loses)
        await losing.wait()
        looping.cancel()
        done, _ = await asyncio.wait({looping}, timeout=10)
        assert done
        assert looping.cancelled()


async def test_notices_stop_though_the_driver_loses_their_cancellation(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, losing = asyncpg.Connection.add_listener, asyncio.Event()

    async def loses(connection: Any, *arguments: Any) -> None:
        losing.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await real(connection, *arguments)

    monkeypatch.setattr(asyncpg.Connection, "add_listener", loses)
    store = open_store(postgres_url)
    await store.open()
    await losing.wait()
    async with asyncio.timeout(PROBE_S / 2):
        await store.close()
