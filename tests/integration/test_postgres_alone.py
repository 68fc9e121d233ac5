"""A lone command that comes down to one statement of PostgreSQL: carried out in its caller's task."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

pytest.importorskip("asyncpg", reason="the extra `postgres` is not installed")

from orchestrator.domain.errors import Refused, Unavailable
from orchestrator.domain.promise import PromiseRecord
from orchestrator.engine import Engine
from orchestrator.protocol import commands as c
from orchestrator.store import StoreError
from orchestrator.store.port import Insert
from orchestrator.store.postgres import PostgresStore
from tests.engine_world import FAR, claim, create, fence
from tests.integration.test_engine_shortcuts import step


class Gate(PostgresStore):
    """A store whose additions are counted, by ids, and once `hold` is set held up when they are done."""

    hold = False

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.added: list[tuple[list[str], asyncio.Task[Any] | None]] = []
        self.done, self.go = asyncio.Event(), asyncio.Event()

    async def add(self, inserts: Sequence[Insert], now_ms: int) -> list[PromiseRecord | None]:
        self.added.append(([each.promise_id for each in inserts], asyncio.current_task()))
        held, self.hold = self.hold, False
        answer = await super().add(inserts, now_ms)
        if held:
            self.done.set()
            await self.go.wait()
        return answer


@asynccontextmanager
async def gated(url: str) -> AsyncIterator[tuple[Gate, Engine]]:
    async with Engine(store := Gate(url)) as engine:
        yield store, engine


async def held_up(store: Gate, engine: Engine, command: c.Command[Any]) -> asyncio.Task[Any]:
    """Return a task that has asked before, and whose addition is held up now that it is durable."""

    async def asks() -> Any:
        await engine.handle(create("before"))
        store.hold = True
        return await engine.handle(command)

    asking = asyncio.create_task(asks())
    await store.done.wait()
    return asking


async def test_who_asks_again_is_served_in_its_own_task(postgres_url: str) -> None:
    async with gated(postgres_url) as (store, engine):
        await engine.handle(claim("a"))
        for command in (create("p"), fence("a", 1, step("a:1"))):
            await engine.handle(command)
        me = asyncio.current_task()
        assert store.added == [(["p"], me), (["a:1"], me)]


async def test_what_one_statement_declines_is_not_tried_so_again(postgres_url: str) -> None:
    async with gated(postgres_url) as (store, engine):
        first = await engine.handle(create("p"))
        store.added.clear()
        assert await engine.handle(create("p")) == first
        with pytest.raises(Refused):
            await engine.handle(fence("absent", 1, step("absent:1")))
        assert [ids for ids, _ in store.added] == [["p"], ["absent:1"]]


async def test_nobody_waits_for_one_that_is_under_way(postgres_url: str) -> None:
    async with gated(postgres_url) as (store, engine):
        asking = await held_up(store, engine, create("p"))
        others = [engine.handle(create(f"q{number}")) for number in range(3)]
        async with asyncio.timeout(10):
            assert all(answer.promise.pending for answer in await asyncio.gather(*others))
        assert not asking.done()
        store.go.set()
        assert (await asking).promise.id == "p"


async def test_a_stop_waits_for_its_answer(postgres_url: str) -> None:
    async with gated(postgres_url) as (store, engine):
        asking = await held_up(store, engine, create("p"))
        stopping = asyncio.create_task(engine.stop())
        await asyncio.sleep(0.1)
        assert not stopping.done()
        store.go.set()
        async with asyncio.timeout(10):
            await stopping
            assert (await asking).promise.id == "p"
        with pytest.raises(Unavailable):
            await engine.handle(create("q"))


async def test_the_deadline_of_who_was_cancelled_counts(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody learned of the promise, which exists: it times out as any other."""
    async with gated(postgres_url) as (store, engine):
        heard: list[int | None] = []
        deadline = engine.clock.now_ms() + 60_000
        monkeypatch.setattr(engine, "_lower", heard.append)
        monkeypatch.setattr(engine._ticker, "lower", heard.append)
        asking = await held_up(store, engine, create("p", timeout_at=deadline))
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        assert asking.cancelled()
        assert deadline in heard
        monkeypatch.undo()
        assert (await engine.handle(c.PromiseGet(id="p"))).promise.timeout_at == deadline


async def test_whoever_asks_is_told_that_it_failed(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with gated(postgres_url) as (_, engine):
        await engine.handle(create("before"))

        async def fails(*_: object) -> Any:
            raise StoreError("the disk is on fire", transient=True)

        monkeypatch.setattr(Gate, "add", fails)
        with pytest.raises(Unavailable, match="the disk is on fire"):
            await engine.handle(create("p"))
        assert engine.statistics.failed_batches == 1
        monkeypatch.undo()
        assert (await engine.handle(create("p", timeout_at=FAR))).promise.pending
