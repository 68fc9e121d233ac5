"""Workers in adversity: answers that are lost, values that no server takes, code that changed, odd bodies.

W1 no settled step is executed again. W2 replay sees the recorded outcome. W3 the record is the one of the
undisturbed run.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from orchestrator import (
    ApplicationError,
    Constant,
    Context,
    Never,
    NondeterminismError,
    Orchestrator,
    Refused,
    Unavailable,
)
from orchestrator.engine import Engine, EngineSettings
from orchestrator.protocol import commands as c
from orchestrator.protocol.records import PromiseState, TaskState
from orchestrator.protocol.transport import Receiver
from orchestrator.store.memory import MemoryStore
from orchestrator.testing import ExecutionLog
from orchestrator.transport.local import LocalTransport
from tests.integration import test_sdk_cuts as cuts

PATIENCE_S = 60
AT_ONCE = 12


@pytest.fixture
async def transport() -> AsyncIterator[LocalTransport]:
    settings = EngineSettings(retry_timeout_ms=50, release_backoff_ms=20)
    async with Engine(MemoryStore(), settings=settings) as engine:
        yield LocalTransport(engine)


async def plus_one(number: int) -> int:
    return number + 1


class Around:
    """A transport around another one; `call` is what a test changes."""

    def __init__(self, inner: LocalTransport) -> None:
        self.inner = inner

    async def call(self, command: c.Command[Any]) -> Any:
        return await self.inner.call(command)

    def connect(self, group: str, pid: str, receive: Receiver) -> AbstractAsyncContextManager[None]:
        return self.inner.connect(group, pid, receive)

    async def close(self) -> None: ...


class Faltering(Around):
    """Loses the `number`-th command, or with `after` its answer, once; then everything goes on."""

    def __init__(self, inner: LocalTransport, number: int, *, after: bool) -> None:
        super().__init__(inner)
        self.number = number
        self.after = after
        self.seen = 0

    async def call(self, command: c.Command[Any]) -> Any:
        self.seen += 1
        if self.seen != self.number:
            return await self.inner.call(command)
        if self.after:
            await self.inner.call(command)
        raise Unavailable(f"command {self.number} was lost")


async def patient_outcome(app: Orchestrator, workflow: Callable[..., Any]) -> object:
    """Invoke as a caller does who asks again when the server was away."""
    while True:
        try:
            return await cuts.outcome_of(app, workflow)
        except Unavailable:
            continue


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("workflow", cuts.WORKFLOWS, ids=lambda workflow: workflow.__name__)
async def test_one_lost_command_or_answer_changes_nothing(workflow: Callable[..., Any], after: bool) -> None:
    expected = await cuts.uncut(MemoryStore(), workflow)

    async def lost(number: int) -> bool:
        async with cuts.engine_on(MemoryStore()) as transport:
            await cuts.approve(transport)
            log, faltering = ExecutionLog(), Faltering(transport, number, after=after)
            app = cuts.application(faltering, log, ttl_ms=400)
            async with app, asyncio.timeout(PATIENCE_S):
                outcome = await patient_outcome(app, workflow)
                tree = cuts.shown(await cuts.settled_tree(transport))
        place = f"{'answer of ' if after else ''}command {number} lost"
        assert (outcome, tree) == expected, place
        assert not log.again_after_settling, place
        return faltering.seen >= number

    # Most of the time leases are waited for: several at once.
    for first in range(1, cuts.CUTS_MAX, AT_ONCE):
        numbers = range(first, first + AT_ONCE)
        if not all(await asyncio.gather(*map(lost, numbers))):
            break
    else:
        pytest.fail(f"still more than {cuts.CUTS_MAX} commands")


async def test_a_workflow_that_drops_its_last_calls_is_reported(transport: LocalTransport) -> None:
    def register(app: Orchestrator, steps: int) -> Callable[..., Any]:
        @app.register(name="flow")
        async def flow(ctx: Context) -> int:
            await ctx.promise()
            return sum([await ctx.run(plus_one, number) for number in range(steps)])

        return flow

    class AtTheEnd(Around):
        async def call(self, command: c.Command[Any]) -> Any:
            if isinstance(command, c.TaskFulfill):
                at_the_end.set()
                raise Unavailable("cut before the end")
            return await self.inner.call(command)

    at_the_end = asyncio.Event()
    before = Orchestrator(transport=AtTheEnd(transport), ttl_ms=600)
    flow = register(before, 3)
    async with before, asyncio.timeout(PATIENCE_S):
        await before.begin_run("w", flow)
        await settle_when_there(before, "w:1")
        await at_the_end.wait()
        await before.abort()
    after = Orchestrator(transport=transport)
    register(after, 1)
    async with after, asyncio.timeout(PATIENCE_S):
        with pytest.raises(NondeterminismError) as caught:
            await (await after.get("w")).result()
        assert (caught.value.promise_id, caught.value.recorded) == ("w:3", "step plus_one version 1")
        assert (await after.promises.get("w")).pending
    repaired = Orchestrator(transport=transport)
    register(repaired, 3)
    async with repaired, asyncio.timeout(PATIENCE_S):
        assert await (await repaired.get("w")).result() == 6


async def settle_when_there(app: Orchestrator, promise_id: str) -> None:
    while True:
        try:
            await app.promises.resolve(promise_id, 1)
        except Refused:
            await asyncio.sleep(0.005)
        else:
            return


class Narrow(Around):
    """A server that takes no body above its limit, as ours does with `body_bytes_max`."""

    LIMIT = 2_000

    async def call(self, command: c.Command[Any]) -> Any:
        action = getattr(command, "action", command)
        values = (getattr(action, "param", None), getattr(action, "value", None))
        if sum(len(value.data or "") for value in values if value is not None) > self.LIMIT:
            raise Refused(413, f"Request too large: at most {self.LIMIT} bytes; store the value elsewhere")
        return await self.inner.call(command)


async def large(length: int) -> str:
    return "x" * length


@pytest.mark.parametrize("slow", [False, True])
async def test_a_result_that_no_server_takes_fails_its_step_and_runs_once(
    transport: LocalTransport, slow: bool
) -> None:
    log = ExecutionLog()
    app = Orchestrator(transport=Narrow(transport))
    app.observe(log)

    @app.register(name="large")
    async def perhaps_slow(length: int) -> str:
        # A slow step is created before it ends, a quick one is written in one piece.
        await asyncio.sleep(0.15 if slow else 0)
        return "x" * length

    @app.register
    async def flow(ctx: Context) -> str:
        try:
            await ctx.run(perhaps_slow, 5_000)
        except ApplicationError as error:
            return error.message
        return "stored"

    async with app, asyncio.timeout(PATIENCE_S):
        message = await app.run("w", flow)
        record = await app.promises.get("w:1")
    assert "413" in message
    assert "too large" in message
    assert record.state is PromiseState.REJECTED
    assert log.started == {"w:1": 1}


async def test_a_workflow_or_task_whose_own_result_is_not_taken_is_rejected(
    transport: LocalTransport,
) -> None:
    app = Orchestrator(transport=Narrow(transport))
    app.register(large)

    @app.register
    async def flow(ctx: Context) -> str:
        return "x" * 5_000

    @app.register
    async def outer(ctx: Context) -> str:
        return await ctx.run(flow)

    async with app, asyncio.timeout(PATIENCE_S):
        for number, call in enumerate((flow, outer)):
            with pytest.raises(ApplicationError, match="too large"):
                await app.run(f"w{number}", call)
        with pytest.raises(ApplicationError, match="too large"):
            await app.run("leaf", large, 5_000)


async def test_an_argument_that_no_server_takes_fails_the_workflow_that_passes_it(
    transport: LocalTransport,
) -> None:
    app = Orchestrator(transport=Narrow(transport))

    @app.register
    async def flow(ctx: Context) -> int:
        return await ctx.rpc("length", "x" * 5_000)

    async with app, asyncio.timeout(PATIENCE_S):
        with pytest.raises(ApplicationError, match=r"call of length version 1 \(call 1 of w\).*too large"):
            await app.run("w", flow)


async def test_an_argument_without_a_stored_form_fails_the_workflow_that_passes_it(
    transport: LocalTransport,
) -> None:
    app = Orchestrator(transport=transport)

    @app.register
    async def flow(ctx: Context) -> int:
        return await ctx.rpc("length", object())

    async with app, asyncio.timeout(PATIENCE_S):
        with pytest.raises(
            ApplicationError, match=r"argument 1 of length: builtins\.object has no stored form"
        ):
            await app.run("w", flow)


class Counting(Around):
    """Counts commands by kind."""

    def __init__(self, inner: LocalTransport) -> None:
        super().__init__(inner)
        self.kinds: list[str] = []

    async def call(self, command: c.Command[Any]) -> Any:
        self.kinds.append(command.KIND)
        return await self.inner.call(command)


async def test_an_unknown_function_is_not_claimed_in_a_hot_loop() -> None:
    async with Engine(MemoryStore(), settings=EngineSettings(retry_timeout_ms=50)) as engine:
        counting = Counting(LocalTransport(engine))
        async with Orchestrator(transport=counting) as ignorant:
            await ignorant.begin_rpc("job", "nobody_knows_it", 41)
            await asyncio.sleep(1.2)
    assert 2 <= counting.kinds.count("task.acquire") <= 6


@pytest.mark.parametrize("name", ["finally", "except", "swallow"])
async def test_bodies_that_hold_on_are_suspended_all_the_same(transport: LocalTransport, name: str) -> None:
    log = ExecutionLog()
    app = Orchestrator(transport=transport)
    app.observe(log)
    app.register(plus_one)
    cleaned = []

    @app.register(name="finally")
    async def in_finally(ctx: Context) -> int:
        try:
            return await ctx.promise()
        finally:
            cleaned.append(await ctx.run(plus_one, 1))

    @app.register(name="except")
    async def in_except(ctx: Context) -> int:
        try:
            return await ctx.promise()
        except Exception:
            return -1

    @app.register(name="swallow")
    async def swallow(ctx: Context) -> int:
        waiting = ctx.promise()
        try:
            return await waiting
        except BaseException:
            return await waiting

    async with app, asyncio.timeout(PATIENCE_S):
        handle = await app.begin_run("w", name)
        while (await transport.call(c.TaskGet(id="w"))).task.state is not TaskState.SUSPENDED:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        assert not log.started
        await app.promises.resolve("w:1", 5)
        assert await handle.result() == 5
    assert cleaned == ([2] if name == "finally" else [])
    assert log.started == ({"w:2": 1} if name == "finally" else {})


async def test_an_error_after_some_steps_settles_with_them_recorded(transport: LocalTransport) -> None:
    app = Orchestrator(transport=transport)
    app.register(plus_one, retry=Never())

    @app.register
    async def flow(ctx: Context) -> int:
        open_one = ctx.begin_run(plus_one, 5)
        await ctx.run(plus_one, 1)
        raise ValueError(f"in vain: {open_one.id}")

    async with app, asyncio.timeout(PATIENCE_S):
        with pytest.raises(ApplicationError, match="in vain"):
            await app.run("w", flow)
        assert {one.id for one in (await app.promises.search()).promises} == {"w", "w:1", "w:2"}


async def test_a_cancellation_raised_by_a_workflow_ends_no_worker(transport: LocalTransport) -> None:
    app = Orchestrator(transport=transport)
    app.register(plus_one)

    @app.register
    async def flow(ctx: Context) -> int:
        await ctx.run(plus_one, 1)
        raise asyncio.CancelledError

    async with app, asyncio.timeout(PATIENCE_S):
        handle = await app.begin_run("w", flow)
        with pytest.raises(ApplicationError) as caught:
            await handle.result()
        assert caught.value.type_name == "CancelledError"
        assert await app.run("other", plus_one, 1) == 2


async def test_two_workers_of_one_name_corrupt_nothing(transport: LocalTransport) -> None:
    log = ExecutionLog()

    def worker() -> Orchestrator:
        # A lease that a busy machine does not cost: what is lost is executed again, and rightly so.
        app = Orchestrator(transport=transport, pid="worker-1", ttl_ms=30_000)
        app.observe(log)
        app.register(slow_one, retry=Constant(delay_s=0.001))

        @app.register
        async def flow(ctx: Context, number: int) -> int:
            return sum(await ctx.gather(*(ctx.run(slow_one, number) for _ in range(3))))

        return app

    # What settles is told to one of the two only, so that a third one asks.
    asking = Orchestrator(transport=transport, worker=False)
    async with worker(), worker(), asking, asyncio.timeout(PATIENCE_S):
        handles = [await asking.begin_rpc(f"w{number}", "flow", number) for number in range(20)]
        assert [await handle.result() for handle in handles] == [3 * (n + 1) for n in range(20)]
    assert set(log.started.values()) == {1}


async def slow_one(number: int) -> int:
    await asyncio.sleep(0.02)
    return number + 1


class Gated(Around):
    """Holds back whatever goes to one promise until it is let through."""

    def __init__(self, inner: LocalTransport, held: Callable[[str], bool]) -> None:
        super().__init__(inner)
        self.held = held
        self.reached, self.through = asyncio.Event(), asyncio.Event()
        self.kinds: list[str] = []

    async def call(self, command: c.Command[Any]) -> Any:
        self.kinds.append(command.KIND)
        action = getattr(command, "action", None)
        if self.held(getattr(action, "id", getattr(command, "id", ""))):
            self.reached.set()
            await self.through.wait()
        return await self.inner.call(command)


@pytest.mark.parametrize("nested", [False, True])
async def test_what_a_workflow_does_not_wait_for_exists_before_it_settles(
    transport: LocalTransport, nested: bool
) -> None:
    gated = Gated(transport, lambda promise_id: ":d" in promise_id)
    app = Orchestrator(transport=gated)
    app.register(plus_one)

    @app.register
    async def flow(ctx: Context) -> int:
        ctx.detached(plus_one, 1)
        return 5

    @app.register
    async def outer(ctx: Context) -> int:
        return await ctx.run(flow)

    async with app, asyncio.timeout(PATIENCE_S):
        handle = await app.begin_run("w", outer if nested else flow)
        await gated.reached.wait()
        for _ in range(100):
            await asyncio.sleep(0)
        # Settled now, and crashed then, the detached call would never be made.
        assert "task.fulfill" not in gated.kinds
        child = (await app.promises.search()).promises
        assert all(one.pending for one in child)
        gated.through.set()
        assert await handle.result() == 5


async def test_a_claim_that_is_answered_after_the_stop_raises_nothing(transport: LocalTransport) -> None:
    gated = Gated(transport, lambda promise_id: promise_id == "w")
    app = Orchestrator(transport=gated)
    app.register(plus_one)
    async with asyncio.timeout(PATIENCE_S):
        await app.start()
        beginning = asyncio.create_task(app.begin_run("w", plus_one, 1))
        await gated.reached.wait()
        await app.abort()
        gated.through.set()
        await asyncio.wait((beginning,))
    assert not isinstance(beginning.exception(), RuntimeError)
