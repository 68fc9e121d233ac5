"""Suspended workflows in memory: what is kept, what is dropped, and that it changes nothing but time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from orchestrator import Constant, Context, Never, Orchestrator, PromiseState, Value
from orchestrator.client.context import Context as ContextType
from orchestrator.engine import Engine
from orchestrator.protocol import commands as c
from orchestrator.protocol.messages import Execute, Message
from orchestrator.protocol.transport import Receiver, Transport
from orchestrator.store.memory import MemoryStore
from orchestrator.testing import CrashingTransport, VirtualClock, crash_at, local
from orchestrator.transport.local import LocalTransport
from orchestrator.worker.kept import Kept
from tests import sdk_combinators as corpus
from tests.integration import test_sdk_cuts as cuts
from tests.integration.test_sdk_combinators import compared, quiet_tree
from tests.integration.test_sdk_cuts import ROOT, approve, engine_on, outcome_of
from tests.integration.test_sdk_remote import Published

MANY = 1_000
LATE_S = 0.2


def application(transport: Any, kept_max: int) -> Orchestrator:
    app = Orchestrator(transport=transport, grace_s=0.5, kept_max=kept_max)
    for function in (*cuts.WORKFLOWS, *cuts.LEAVES, *corpus.WORKFLOWS, *corpus.PARTS):
        broken = function in (cuts.broken, corpus.fails)
        app.register(function, retry=Never() if broken else Constant(delay_s=0.001))
    return app


async def told(workflow: Callable[..., Any], kept_max: int) -> object:
    async with engine_on(MemoryStore()) as transport, asyncio.timeout(10):
        await approve(transport)
        async with application(transport, kept_max) as app:
            outcome = await outcome_of(app, workflow)
            return outcome, compared(await quiet_tree(transport))


@pytest.mark.parametrize("workflow", [*cuts.WORKFLOWS, *corpus.WORKFLOWS], ids=lambda one: one.__name__)
async def test_the_record_does_not_depend_on_what_is_kept(workflow: Callable[..., Any]) -> None:
    nothing = await told(workflow, 0)
    assert await told(workflow, 1) == nothing
    assert await told(workflow, MANY) == nothing


class Bodies:
    """A workflow of sequential calls that counts how often it is begun from the top."""

    def __init__(self, waits: int) -> None:
        self.begun = 0
        self.waits = waits

    def workflow(self) -> Callable[..., Any]:
        async def waiting(ctx: ContextType) -> int:
            self.begun += 1
            return sum([await ctx.rpc(corpus.twice, number) for number in range(self.waits)])

        return waiting


async def run(bodies: Bodies, kept_max: int, wrap: Callable[[Any], Any] = lambda one: one) -> list[str]:
    async with engine_on(MemoryStore()) as transport, asyncio.timeout(20):
        seen: CrashingTransport = crash_at(wrap(transport), None)
        app = Orchestrator(transport=seen, kept_max=kept_max)
        workflow = app.register(bodies.workflow(), name="waiting")
        app.register(corpus.twice)
        async with app:
            assert await app.run(ROOT, workflow) == sum(2 * number for number in range(bodies.waits))
        return seen.kinds


async def test_a_wait_costs_no_replay() -> None:
    bodies = Bodies(20)
    await run(bodies, MANY)
    assert bodies.begun == 1


async def test_without_memory_each_wait_is_replayed() -> None:
    bodies = Bodies(20)
    await run(bodies, 0)
    assert bodies.begun == 21


async def test_a_server_without_extensions_is_gone_on_with_from_memory_too() -> None:
    bodies = Bodies(5)
    await run(bodies, MANY, Published)
    assert bodies.begun == 1


async def test_what_rested_longest_is_dropped_and_ended() -> None:
    ended: list[str] = []

    async def holds(ctx: Context) -> int:
        try:
            return int(await ctx.promise(f"for-{ctx.id}"))
        finally:
            ended.append(ctx.id)

    async with engine_on(MemoryStore()) as transport, asyncio.timeout(20):
        app = Orchestrator(transport=transport, kept_max=2)
        app.register(holds)
        async with app:
            for name in ("a", "b", "c"):
                await app.begin_run(name, holds)
                while not (await suspended(transport, name)):  # noqa: ASYNC110 - the store tells nobody
                    await asyncio.sleep(0.005)
            assert ended == ["a"]
            for name in ("a", "b", "c"):
                await app.promises.resolve(f"for-{name}", 7)
                assert await (await app.get(name)).result() == 7
    assert sorted(ended) == ["a", "a", "b", "c"]


class NeverClaiming(LocalTransport):
    """Leaves every claim of an announced task without an answer, and tells of the first."""

    claiming: asyncio.Event

    def call(self, command: Any) -> Any:
        if isinstance(command, c.TaskAcquire):
            self.claiming.set()
            return asyncio.Event().wait()
        return super().call(command)


async def test_what_was_to_go_on_when_the_worker_stopped_is_ended() -> None:
    ended: list[str] = []

    async def holds(ctx: Context) -> int:
        try:
            return int(await ctx.promise("awaited"))
        finally:
            ended.append(ctx.id)

    async with Engine(MemoryStore()) as engine, asyncio.timeout(20):
        transport = NeverClaiming(engine)
        transport.claiming = asyncio.Event()
        app = Orchestrator(transport=transport)
        app.register(holds)
        async with app:
            await app.begin_run("holding", holds)
            while not (await suspended(transport, "holding")):  # noqa: ASYNC110 - the store tells nobody
                await asyncio.sleep(0.005)
            await app.promises.resolve("awaited", 7)
            await transport.claiming.wait()
            assert not ended
            await app.abort()
            assert ended == ["holding"]


class Resting:
    """Of a suspended execution what the memory of a worker looks at."""

    def __init__(self, task_id: str, version: int) -> None:
        self.promise = SimpleNamespace(id=task_id)
        self.writer = SimpleNamespace(lease=SimpleNamespace(version=version))
        self.closed = False

    def close(self) -> None:
        self.closed = True


def test_what_another_worker_has_gone_on_with_is_not_used() -> None:
    kept, execution = Kept(10), Resting("w", 3)
    kept.keep(execution)
    assert kept.take("w", 4) is None
    assert execution.closed
    assert len(kept) == 0


def test_the_very_next_version_is_gone_on_with() -> None:
    kept, execution = Kept(10), Resting("w", 3)
    kept.keep(execution)
    assert kept.take("other", 3) is None
    assert kept.take("w", 3) is execution
    assert not execution.closed
    assert len(kept) == 0


async def suspended(transport: Any, task_id: str) -> bool:
    return str((await transport.call(c.TaskGet(id=task_id))).task.state) == "suspended"


class Hurried:
    """Settles a promise once a task is suspended, and lets its worker hear of that before the answer."""

    def __init__(self, inner: Any, promise_id: str) -> None:
        self._inner = inner
        self._promise_id = promise_id
        self.listens = asyncio.Event()
        self.suspended = asyncio.Event()
        self.writes = asyncio.Event()
        self.answered = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def connect(self, group: str, pid: str, receive: Receiver) -> AbstractAsyncContextManager[None]:
        def late(message: Message) -> None:
            if isinstance(message, Execute) and self.suspended.is_set():
                asyncio.get_running_loop().call_later(LATE_S, receive, message)  # when the suspension is over
            else:
                receive(message)

        context: AbstractAsyncContextManager[None] = self._inner.connect(group, pid, late)
        return context

    async def call(self, command: c.Command[Any]) -> Any:
        if isinstance(command, c.TaskFence) and self.suspended.is_set() and not self.answered.is_set():
            self.writes.set()
            await self.answered.wait()
        answer = await self._inner.call(command)
        if isinstance(command, c.PromiseRegisterListener) and command.awaited == self._promise_id:
            self.listens.set()
        if isinstance(command, c.TaskSuspend) and not self.suspended.is_set():
            self.suspended.set()
            settle = c.PromiseSettle(
                id=self._promise_id, state=PromiseState.RESOLVED, value=Value(data="Nw==")
            )
            await self._inner.call(settle)
            await self.writes.wait()  # the choice, for a task that is not held any more
            self.answered.set()
        return answer


async def test_what_is_heard_while_a_suspension_is_on_its_way_is_not_lost() -> None:
    async with engine_on(MemoryStore()) as transport, asyncio.timeout(10):
        hurried = Hurried(transport, "first")

        async def beside() -> None:
            await hurried.listens.wait()

        async def chooses(ctx: Context) -> int:
            step = ctx.begin_run(beside)
            won = await ctx.race(ctx.promise("first"), ctx.promise())
            await step
            return int(won)

        app = Orchestrator(transport=hurried)
        app.register(beside)
        app.register(chooses)
        async with app:
            assert await app.run(ROOT, chooses) == 7


class Late:
    """Answers that give a task back arrive after the heartbeat that was sent behind them."""

    def __init__(self, inner: Transport) -> None:
        self.inner = inner
        self.lost: list[str] = []

    async def call(self, command: c.Command[Any]) -> Any:
        answer = await self.inner.call(command)
        if isinstance(command, c.TaskHeartbeat):
            self.lost += answer.lost
        if isinstance(command, (c.TaskSuspend, c.TaskFulfill)):
            await asyncio.sleep(5)
        return answer

    def connect(self, group: str, pid: str, receive: Receiver) -> AbstractAsyncContextManager[None]:
        return self.inner.connect(group, pid, receive)

    async def close(self) -> None: ...


def test_a_heartbeat_behind_what_gives_a_task_back_takes_nothing_away() -> None:
    begun, late = [], list[Late]()

    async def flow(ctx: Context) -> int:
        begun.append(1)
        return await ctx.promise("go")

    async def story() -> None:
        def around(inner: Transport) -> Late:
            late.append(Late(inner))
            return late[-1]

        app = local(around=around, clock=clock)
        app.register(flow)
        async with app:
            handle = await app.begin_run("w", flow)
            await asyncio.sleep(6)
            await app.promises.resolve("go", 5)
            assert await handle.result() == 5

    clock = VirtualClock()
    with capture_logs() as logs:
        clock.run(story())
    assert set(late[0].lost) == {"w"}
    assert begun == [1], "what is kept goes on from memory"
    assert "lease lost" not in [entry["event"] for entry in logs]
