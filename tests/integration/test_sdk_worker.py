"""Workers: lost leases, drain, unknown functions, changed workflows, deadlines, dependencies."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from orchestrator import (
    ApplicationError,
    Constant,
    Context,
    Info,
    Never,
    NondeterminismError,
    NotRegistered,
    Orchestrator,
    PromiseCanceled,
    PromiseTimedOut,
    Refused,
    Unavailable,
)
from orchestrator.client.application import NotStarted
from orchestrator.client.verdict import Ending, Verdict
from orchestrator.engine import Engine, EngineSettings
from orchestrator.protocol.commands import Command, PromiseCreate, TaskAcquire, TaskGet, TaskHeartbeat
from orchestrator.protocol.records import PromiseRecord, TaskState
from orchestrator.protocol.transport import Receiver, Transport
from orchestrator.store.memory import MemoryStore
from orchestrator.testing import ExecutionLog, ManualClock, SimulatedCrash, VirtualClock, crash_at, local
from orchestrator.transport.local import LocalTransport
from tests.integration.sdk_places import way, way_to

__all__ = ["way"]
PATIENCE_S = 5


@pytest.fixture
async def transport(way: str) -> AsyncIterator[Transport]:
    async with (
        Engine(MemoryStore(), settings=EngineSettings(retry_timeout_ms=50)) as engine,
        way_to(engine, way) as made,
    ):
        yield made


async def plus_one(number: int) -> int:
    return number + 1


async def plus_one_before(number: int) -> int:
    return 1 + number


class Cut:
    """A transport that a test can cut: nothing gets through, as if the network had gone."""

    def __init__(self, inner: Transport) -> None:
        self.inner = inner
        self.cut = False
        self.heartbeats = 0
        self._connection = AsyncExitStack()

    async def call(self, command: Command[Any]) -> Any:
        self.heartbeats += isinstance(command, TaskHeartbeat)
        if self.cut:
            raise Unavailable("the network is cut")
        return await self.inner.call(command)

    def connect(self, group: str, pid: str, receive: Receiver) -> AbstractAsyncContextManager[None]:
        return self._connected(group, pid, receive)

    @asynccontextmanager
    async def _connected(self, group: str, pid: str, receive: Receiver) -> AsyncIterator[None]:
        async with self._connection:
            await self._connection.enter_async_context(self.inner.connect(group, pid, receive))
            yield

    async def sever(self) -> None:
        self.cut = True
        await self._connection.aclose()

    async def close(self) -> None: ...


async def test_another_worker_takes_over_and_the_first_stops_in_time(transport: Transport) -> None:
    started: list[str] = []
    begun, stopped = asyncio.Event(), asyncio.Event()
    gate = asyncio.Event()

    def worker(name: str, through: Any) -> Orchestrator:
        app = Orchestrator(transport=through, pid=name, ttl_ms=300)

        async def slow(number: int) -> int:
            started.append(name)
            begun.set()
            if name == "first":
                try:
                    await asyncio.Event().wait()
                finally:
                    stopped.set()
            await gate.wait()
            return number * 2

        async def flow(ctx: Context) -> int:
            one = await ctx.run(plus_one, 1)
            return await ctx.run(slow, one)

        app.register(slow)
        app.register(flow)
        app.register(plus_one)
        return app

    cut = Cut(transport)
    async with worker("first", cut) as first:
        await first.begin_run("w", "flow")
        async with asyncio.timeout(PATIENCE_S):
            await begun.wait()
            await cut.sever()
            async with worker("second", transport) as second:
                handle = await second.get("w")
                await stopped.wait()
                gate.set()
                assert await handle.result() == 4
        assert started == ["first", "second"]


async def test_a_claim_is_repeated_once_the_server_is_back() -> None:
    # The default engine announces a task again after 30 s: longer than this test has patience.
    async with Engine(MemoryStore()) as engine:
        through = Cut(LocalTransport(engine))
        refused = asyncio.Event()
        inner = through.call

        async def call(command: Command[Any]) -> Any:
            if isinstance(command, TaskAcquire) and through.cut:
                refused.set()
            return await inner(command)

        through.call = call  # type: ignore[method-assign]
        app = Orchestrator(transport=through, group="g")
        app.register(plus_one)
        async with asyncio.timeout(PATIENCE_S), app:
            through.cut = True
            caller = Orchestrator(transport=LocalTransport(engine), worker=False)
            async with caller:
                handle = await caller.options(target="poll://any@g").begin_rpc("late", "plus_one", 1)
                await refused.wait()
                through.cut = False
                assert await handle.result() == 2


class Hanging(Cut):
    """Of every three heartbeats the first is never answered, and the second comes while nobody listens."""

    async def call(self, command: Command[Any]) -> Any:
        if isinstance(command, TaskHeartbeat):
            self.heartbeats += 1
            if self.heartbeats % 3 == 1:
                await asyncio.Event().wait()
            if self.heartbeats % 3 == 2:
                raise Unavailable("the server is away")
        return await self.inner.call(command)


@pytest.mark.parametrize("way", [Cut, Hanging], ids=["well", "badly"])
def test_leases_are_renewed_while_a_step_runs(way: type[Cut]) -> None:
    """In virtual time: no other lease is needed, however long it takes and however bad the connection is."""
    log, ways = ExecutionLog(), list[Cut]()

    async def long_step() -> str:
        await asyncio.sleep(600)
        return "done"

    def around(inner: Transport) -> Transport:
        ways.append(way(inner))
        return ways[-1]

    async def story() -> None:
        app = local(around=around, clock=clock)
        app.register(long_step)
        app.observe(log)
        async with app:
            assert await app.run("long", long_step) == "done"

    clock = VirtualClock()
    clock.run(story())
    assert ways[0].heartbeats >= 100
    assert log.started["long"] == 1


async def test_stop_lets_running_work_finish(transport: Transport) -> None:
    entered = asyncio.Event()

    async def short() -> str:
        entered.set()
        await asyncio.sleep(0.05)
        return "finished"

    app = Orchestrator(transport=transport)
    app.register(short)
    await app.start()
    await app.begin_run("short", short)
    await entered.wait()
    await app.stop()
    async with Orchestrator(transport=transport, worker=False) as reader:
        handle = await reader.get("short")
        assert await handle.done()
        assert await handle.result() == "finished"


async def test_stop_releases_what_does_not_finish(transport: Transport) -> None:
    entered = asyncio.Event()

    def register(app: Orchestrator, answer: str | None) -> Callable[..., Any]:
        @app.register
        async def endless() -> str:
            entered.set()
            if answer is None:
                await asyncio.Event().wait()
            return str(answer)

        return endless

    app = Orchestrator(transport=transport, grace_s=0.05, ttl_ms=60_000)
    endless = register(app, None)
    await app.start()
    await app.begin_run("endless", endless)
    await entered.wait()
    await app.stop()
    other = Orchestrator(transport=transport)
    register(other, "taken over")
    async with other, asyncio.timeout(PATIENCE_S):
        assert await (await other.get("endless")).result() == "taken over"


async def test_an_unknown_function_waits_for_a_worker_that_has_it(transport: Transport) -> None:
    through = Cut(transport)
    async with Orchestrator(transport=through) as ignorant:
        handle = await ignorant.begin_rpc("job", "plus_one", 41)
        await asyncio.sleep(0.1)
        assert not await handle.done()
        with pytest.raises(NotRegistered, match="plus_one"):
            await ignorant.run("job2", "plus_one", 1)
        knowing = Orchestrator(transport=transport)
        knowing.register(plus_one)
        async with asyncio.timeout(30):
            await ignorant.stop()
            async with knowing:
                assert await (await knowing.get("job")).result() == 42


class Endings:
    """Notes how executions end."""

    def __init__(self) -> None:
        self.ended: asyncio.Queue[tuple[str, Verdict]] = asyncio.Queue()

    def on_execution_started(self, promise: PromiseRecord, version: int) -> None: ...

    def on_execution_ended(self, promise: PromiseRecord, version: int, verdict: Verdict) -> None:
        self.ended.put_nowait((promise.id, verdict))


async def test_an_unknown_version_is_given_back_until_a_worker_has_it(transport: Transport) -> None:
    outdated, endings = Orchestrator(transport=transport), Endings()
    outdated.register(plus_one)
    outdated.register(plus_one_before, name="plus_one", version=2)
    outdated.observe_executions(endings)
    invocation = {"func": "plus_one", "version": 7, "args": [41], "kwargs": {}}
    with capture_logs() as logs:
        async with outdated, asyncio.timeout(PATIENCE_S):
            await outdated.promises.create(
                "job", param=invocation, tags={"resonate:target": "poll://any@default"}
            )
            promise_id, verdict = await endings.ended.get()
            while (task := (await transport.call(TaskGet(id="job"))).task).state is TaskState.ACQUIRED:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            assert (promise_id, verdict.ending, task.state) == ("job", Ending.RELEASED, TaskState.PENDING)
            assert (await outdated.promises.get("job")).pending
    told = [entry for entry in logs if entry["event"] == "execution given up"]
    assert (told[0]["promise_id"], told[0]["reason"]) == (
        "job",
        "function 'plus_one' version 7 is not registered in this process; of this name there is version 1, 2",
    )
    knowing = Orchestrator(transport=transport)
    knowing.register(plus_one, version=7)
    async with knowing, asyncio.timeout(30):
        assert await (await knowing.get("job")).result() == 42


async def test_a_changed_workflow_is_reported_and_its_record_kept(transport: Transport) -> None:
    async def other(number: int) -> int:
        return number

    def old(app: Orchestrator) -> Callable[..., Any]:
        @app.register(name="flow")
        async def flow(ctx: Context) -> int:
            await ctx.run(plus_one, 1)
            return await ctx.promise()

        return flow

    def new(app: Orchestrator) -> Callable[..., Any]:
        @app.register(name="flow")
        async def flow(ctx: Context) -> int:
            try:
                await ctx.run(other, 1)
            except Exception:
                return -1
            return await ctx.promise()

        return flow

    before = Orchestrator(transport=transport)
    flow = old(before)
    async with before:
        await before.begin_run("w", flow)
        async with asyncio.timeout(PATIENCE_S):
            await suspended(transport, "w")
    after = Orchestrator(transport=transport)
    new(after)
    async with after:
        waiting = asyncio.create_task((await after.get("w")).result())
        await asyncio.sleep(0)
        await after.promises.resolve("w:2", 7)
        with pytest.raises(NondeterminismError) as caught:
            await asyncio.wait_for(waiting, PATIENCE_S)
        assert caught.value.promise_id == "w:1"
        assert caught.value.recorded == "step plus_one version 1"
        assert caught.value.requested == "step other version 1"
        assert caught.value.position == "call 1 of w"
        assert "step other version 1 (call 1 of w)" in str(caught.value)
        assert (await after.promises.get("w")).pending
    repaired = Orchestrator(transport=transport)
    old(repaired)
    async with repaired, asyncio.timeout(30):
        assert await (await repaired.get("w")).result() == 7


async def suspended(transport: Transport, task_id: str) -> None:
    while (await transport.call(TaskGet(id=task_id))).task.state is not TaskState.SUSPENDED:  # noqa: ASYNC110
        await asyncio.sleep(0.005)


async def test_deadlines_of_steps_calls_and_roots(transport: Transport) -> None:
    cancelled = asyncio.Event()

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async def flow(ctx: Context) -> list[str]:
        names = []
        for call in (
            ctx.options(timeout_s=0.05).run(hang),
            ctx.options(timeout_s=0.05, target="nobody").rpc("anything"),
            ctx.promise(timeout_s=0.05),
        ):
            try:
                await call
            except PromiseTimedOut as error:
                names.append(error.type_name)
        return names

    app = Orchestrator(transport=transport)
    app.register(flow)
    async with app, asyncio.timeout(PATIENCE_S):
        assert await app.run("w", flow) == ["PromiseTimedOut"] * 3
        assert cancelled.is_set()
        with pytest.raises(PromiseTimedOut):
            await app.options(timeout_s=0.05, target="nobody").rpc("late", "anything")


async def test_cancelling_a_root_stops_its_leaves(transport: Transport) -> None:
    entered, cancelled = asyncio.Event(), asyncio.Event()

    async def hang() -> None:
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    app = Orchestrator(transport=transport, ttl_ms=200)
    app.register(hang)
    async with app, asyncio.timeout(PATIENCE_S):
        handle = await app.begin_run("w", hang)
        await entered.wait()
        await app.promises.cancel("w")
        with pytest.raises(PromiseCanceled):
            await handle.result()
        await cancelled.wait()


async def test_threads_infos_dependencies_and_retries(transport: Transport) -> None:
    seen: list[tuple[int, str, bool]] = []

    class Node:
        name = "mainnet"

    def blocking(info: Info, number: int) -> str:
        seen.append((info.attempt, info.promise_id, threading.current_thread() is threading.main_thread()))
        if info.attempt < 3:
            raise ConnectionError("again")
        return f"{info.dependency(Node).name} {info.dependency('factor') * number}"

    async def flow(ctx: Context) -> str:
        assert ctx.dependency(Node).name == "mainnet"
        return await ctx.options(retry=Constant(delay_s=0.001)).run(blocking, 2)

    app = Orchestrator(transport=transport)
    app.register(flow)
    app.set_dependency(Node())
    app.set_dependency(21, "factor")
    async with app:
        assert await app.run("w", flow) == "mainnet 42"
    assert seen == [(1, "w:1", False), (2, "w:1", False), (3, "w:1", False)]


async def test_errors_say_what_failed_and_settle_once(transport: Transport) -> None:
    class Broken(Exception):
        def __init__(self) -> None:
            super().__init__("no such vote")
            self.data = {"vote": 7}

    async def leaf() -> None:
        raise Broken

    async def unstorable() -> object:
        return object()

    async def flow(ctx: Context) -> None:
        await ctx.run(leaf)

    async def bad_result(ctx: Context) -> None:
        await ctx.run(unstorable)

    async def bad_argument(ctx: Context) -> None:
        await ctx.rpc(leaf, object())

    app = Orchestrator(transport=transport)
    for function in (flow, bad_result, bad_argument):
        app.register(function)
    app.register(leaf, retry=Never())
    async with app:
        with pytest.raises(ApplicationError, match="no such vote") as caught:
            await app.run("w", flow)
        assert (caught.value.type_name, caught.value.data) == ("Broken", {"vote": 7})
        with pytest.raises(ApplicationError, match=r"result of unstorable .*builtins\.object") as caught:
            await app.run("w2", bad_result)
        with pytest.raises(ApplicationError, match="argument 1 of leaf") as caught:
            await app.run("w3", bad_argument)
        assert caught.value.type_name == "EncodingError"
        with pytest.raises(Refused):
            await app.get("nothing")
        with pytest.raises(ValueError, match="':'"):
            await app.run("a:b", flow)
        with pytest.raises(ApplicationError, match="unexpected keyword"):
            await app.rpc("w4", flow, surplus=1)


async def test_unawaited_children_hold_the_parent(transport: Transport) -> None:
    order: list[str] = []
    gate, ended = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        await gate.wait()
        order.append("child")

    async def flow(ctx: Context) -> str:
        ctx.begin_run(slow)
        ctx.begin_rpc(slow)
        order.append("body")
        ended.set()
        return "ok"

    app = Orchestrator(transport=transport)
    app.register(flow)
    app.register(slow)
    async with app, asyncio.timeout(PATIENCE_S):
        handle = await app.begin_run("w", flow)
        await ended.wait()
        assert not await handle.done()
        gate.set()
        assert await handle.result() == "ok"
    # The body may run again after a suspension; what it called may not.
    assert order.count("child") == 2


async def test_a_crashed_start_says_so_and_a_stopped_application_refuses(transport: Transport) -> None:
    app = Orchestrator(transport=crash_at(transport, 1))
    with pytest.raises(SimulatedCrash):
        await app.start()
    unstarted = Orchestrator(transport=transport)
    with pytest.raises(NotStarted):
        await unstarted.get("x")
    async with Orchestrator(transport=transport, worker=False) as client:
        with pytest.raises(NotStarted, match="no worker"):
            await client.begin_run("x", "f")


async def test_a_pure_client_takes_no_tasks_of_its_group(transport: Transport) -> None:
    async with Orchestrator(transport=transport, worker=False) as client:
        handle = await client.begin_rpc("job", "plus_one", 1)
        worker = Orchestrator(transport=transport)
        worker.register(plus_one)
        async with worker, asyncio.timeout(PATIENCE_S):
            assert await handle.result() == 2


async def test_many_at_once_stay_within_the_bound_and_all_end(transport: Transport) -> None:
    running, most = 0, 0

    async def busy(number: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1
        return number

    app = Orchestrator(transport=transport, concurrency=4)
    app.register(busy)
    async with app, asyncio.timeout(PATIENCE_S):
        local = [app.run(f"run-{number}", busy, number) for number in range(20)]
        remote = [app.rpc(f"rpc-{number}", busy, number) for number in range(20)]
        assert await asyncio.gather(*local, *remote) == [*range(20), *range(20)]
    assert most <= 4


async def test_a_manual_clock_skips_the_waiting() -> None:
    async def flow(ctx: Context) -> int:
        before = await ctx.now()
        await ctx.sleep(86_400)
        return await ctx.now() - before

    clock = ManualClock()
    app = Orchestrator.local(":memory:", clock=clock)
    app.register(flow)
    async with app, asyncio.timeout(PATIENCE_S):
        handle = await app.begin_run("w", flow)
        while not await handle.done():
            # Every advance ends the leases: what comes between two must be able to make some progress.
            clock.advance(3_600_000)
            await asyncio.sleep(0.01)
        assert await handle.result() >= 86_400_000


async def test_a_step_recorded_by_another_sdk_is_taken_as_it_is(transport: Transport) -> None:
    """The published Python SDK stores no param for a local step; such a task can be taken over."""

    async def flow(ctx: Context) -> int:
        return await ctx.run(plus_one, 1)

    log = ExecutionLog()
    app = Orchestrator(transport=transport)
    app.register(flow)
    app.observe(log)
    tree = {"resonate:origin": "w", "resonate:branch": "w", "resonate:parent": "w", "resonate:scope": "local"}
    async with Orchestrator(transport=transport, worker=False) as other, asyncio.timeout(PATIENCE_S):
        handle = await other.begin_rpc("w", "flow")
        await transport.call(PromiseCreate(id="w:1", timeout_at=2**53 - 1, tags=tree))
        await other.promises.resolve("w:1", 40)
        async with app:
            assert await handle.result() == 40
    assert not log.started


async def test_a_branch_goes_on_while_another_one_runs_a_long_step(transport: Transport) -> None:
    """A running step keeps the task from suspending, not the other branches from their outcomes."""
    answered = asyncio.Event()

    async def long_step() -> str:
        await answered.wait()
        return "ended"

    async def answer(number: int) -> int:
        answered.set()
        return number

    async def other(ctx: Context) -> int:
        await ctx.sleep(0.01)
        return await ctx.run(answer, await ctx.rpc(plus_one, await ctx.promise("outside")))

    async def flow(ctx: Context) -> list[object]:
        return await ctx.gather(ctx.begin_run(long_step), ctx.begin_run(other))

    app = Orchestrator(transport=transport)
    app.register(flow)
    app.register(plus_one)
    async with app, asyncio.timeout(PATIENCE_S):
        handle = await app.begin_run("w", flow)
        await app.promises.create("outside")
        await app.promises.resolve("outside", 1)
        assert await handle.result() == ["ended", 2]
