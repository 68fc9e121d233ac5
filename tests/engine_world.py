"""An engine on a clock that stands still, with short words for its commands; shared by the engine's tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from orchestrator.domain.errors import Refused
from orchestrator.domain.promise import PromiseState, Value
from orchestrator.engine import Engine, EngineSettings, ManualClock
from orchestrator.engine.batch import Work
from orchestrator.protocol import commands as c
from orchestrator.protocol.messages import Execute, Message
from orchestrator.store import Store, open_store

FAR = 2**50
GROUP = "workers"
TARGET = f"poll://any@{GROUP}"
RESOLVED, REJECTED = PromiseState.RESOLVED, PromiseState.REJECTED


def create(
    promise_id: str, *, timeout_at: int = FAR, target: str | None = None, **tags: str
) -> c.PromiseCreate:
    named = {f"resonate:{name}": text for name, text in tags.items()}
    if target is not None:
        named["resonate:target"] = target
    return c.PromiseCreate(id=promise_id, timeout_at=timeout_at, tags=named)


def settle(promise_id: str, state: PromiseState = RESOLVED, data: str | None = None) -> c.PromiseSettle:
    return c.PromiseSettle(id=promise_id, state=state, value=Value(data=data))


def acquire(task_id: str, version: int, pid: str = "w1", ttl: int = 10_000) -> c.TaskAcquire:
    return c.TaskAcquire(id=task_id, version=version, pid=pid, ttl=ttl)


def claim(promise_id: str, pid: str = "w1", **options: Any) -> c.TaskCreate:
    return c.TaskCreate(pid=pid, ttl=10_000, action=create(promise_id, target=TARGET, **options))


def suspend(task_id: str, version: int, *awaited: str) -> c.TaskSuspend:
    actions = [c.PromiseRegisterCallback(awaited=key, awaiter=task_id) for key in awaited]
    return c.TaskSuspend(id=task_id, version=version, actions=actions)


def fence(task_id: str, version: int, action: Any) -> c.TaskFence:
    return c.TaskFence(id=task_id, version=version, action=action)


def fulfill(task_id: str, version: int, state: PromiseState = RESOLVED) -> c.TaskFulfill:
    return c.TaskFulfill(id=task_id, version=version, action=settle(task_id, state))


class Ear:
    """Collects what a connection is sent."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self._heard = asyncio.Event()

    def __call__(self, message: Message) -> None:
        self.messages.append(message)
        self._heard.set()

    @property
    def executes(self) -> list[tuple[str, int]]:
        return [(m.task.id, m.task.version) for m in self.messages if isinstance(m, Execute)]

    async def hear(self, count: int) -> None:
        async with asyncio.timeout(5):
            while len(self.messages) < count:
                self._heard.clear()
                await self._heard.wait()


class World:
    """One engine and its clock."""

    def __init__(self, engine: Engine, clock: ManualClock, store: Store) -> None:
        self.engine = engine
        self.clock = clock
        self.store = store

    @property
    def now(self) -> int:
        return self.clock.now_ms()

    async def do(self, command: c.Command[Any], *, embedded: bool = False) -> Any:
        return await self.engine.handle(command, embedded=embedded)

    async def refused(self, status: int, command: c.Command[Any]) -> str:
        with pytest.raises(Refused) as caught:
            await self.engine.handle(command)
        assert caught.value.status == status, caught.value
        return caught.value.message

    async def pass_time(self, milliseconds: int) -> None:
        self.clock.advance(milliseconds)
        await self.engine.tick()

    async def state(self, promise_id: str) -> PromiseState:
        return (await self.do(c.PromiseGet(id=promise_id))).promise.state

    async def task(self, task_id: str) -> Any:
        return (await self.do(c.TaskGet(id=task_id))).task

    async def together(self, *commands: c.Command[Any]) -> list[Any]:
        """Carry out commands in one batch, in this order."""
        futures = [self.engine._committer.submit(Work(command=command)) for command in commands]
        return list(await asyncio.gather(*futures, return_exceptions=True))

    async def alone(self, *commands: c.Command[Any]) -> list[Any]:
        """Carry out commands one after another in one task; those that are refused answer their refusal."""
        return [await self._answer(command) for command in commands]

    async def _answer(self, command: c.Command[Any]) -> Any:
        try:
            return await self.do(command)
        except Refused as refusal:
            return refusal


STORES = ["memory://", "sqlite:///:memory:", "postgresql"]
"""The stores over which the behavioural tests run."""


def store_url(request: pytest.FixtureRequest) -> str:
    """Return the URL of one of STORES, which is the parameter of a fixture."""
    url: str = request.param
    return request.getfixturevalue("postgres_url") if url == "postgresql" else url


def store_on_the_tests_clock(url: str) -> Store:
    """Open a store that lives by its engine's clock; one on PostgreSQL would live by the database's."""
    if url.startswith("postgresql://"):
        from orchestrator.store.postgres import PostgresStore  # noqa: PLC0415  # an extra

        return PostgresStore(url, time_from="caller")
    return open_store(url)


@asynccontextmanager
async def world(
    url: str, clock: ManualClock | None = None, store: Store | None = None, **settings: int
) -> AsyncIterator[World]:
    clock, store = clock or ManualClock(), store or store_on_the_tests_clock(url)
    push: Callable[..., Any] | None = None
    async with Engine(store, clock, EngineSettings(**settings), push) as engine:
        yield World(engine, clock, store)
