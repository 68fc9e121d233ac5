"""race, any, as_completed, timeout and gather: the same answer wherever they are cut.

W1 no settled step is executed again. W2 replay sees the recorded choice. W3 the record is the one of the
uninterrupted run.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from orchestrator import (
    AllFailed,
    ApplicationError,
    Constant,
    Context,
    ForeignAwait,
    Info,
    Never,
    Orchestrator,
    PromiseCanceled,
    PromiseRecord,
    PromiseState,
    TimedOut,
)
from orchestrator.engine import Engine, EngineSettings
from orchestrator.protocol.transport import Transport
from orchestrator.store import Store
from orchestrator.store.memory import MemoryStore
from orchestrator.testing import CrashingTransport, ExecutionLog, SimulatedCrash, crash_at
from orchestrator.transport.local import LocalTransport
from tests import sdk_combinators as corpus
from tests.integration.sdk_places import way, way_to
from tests.integration.test_sdk_cuts import (
    CUTS_MAX,
    ROOT,
    engine_on,
    outcome_of,
    records,
    shown,
)
from tests.integration.test_sdk_remote import Published

__all__ = ["way"]


def application(transport: Any, log: ExecutionLog) -> Orchestrator:
    app = Orchestrator(transport=transport, ttl_ms=5_000, grace_s=0.5)
    for function in (*corpus.WORKFLOWS, *corpus.PARTS):
        app.register(function, retry=Never() if function is corpus.fails else Constant(delay_s=0.001))
    app.observe(log)
    return app


def compared(stored: dict[str, Any]) -> dict[str, object]:
    """What W3 speaks of, without what lies below a call that was cancelled while it went on."""
    cancelled = [key for key, one in stored.items() if one.state is PromiseState.REJECTED_CANCELED]
    return {
        key: one
        for key, one in shown(stored).items()
        if not any(key.startswith(f"{loser}.") for loser in cancelled) and not unserved(stored[key])
    }


def unserved(record: PromiseRecord) -> bool:
    return corpus.NOBODY in (record.target or "")


async def quiet_tree(transport: LocalTransport) -> dict[str, PromiseRecord]:
    """Wait until all has ended that somebody serves."""
    while True:
        stored = await records(transport)
        if not any(record.pending and not unserved(record) for record in stored.values()):
            return stored
        await asyncio.sleep(0.005)


@asynccontextmanager
async def both_on(store: Store, way: str) -> AsyncIterator[tuple[LocalTransport, Transport]]:
    """Yield an engine's own transport, to look on, and the way by which an application reaches it."""
    settings = EngineSettings(retry_timeout_ms=50)
    async with Engine(store, settings=settings) as engine, way_to(engine, way) as reached:
        yield LocalTransport(engine), reached


async def uncut(
    workflow: Callable[..., Any], wrap: Callable[[Any], Any] = lambda one: one, way: str = "embedded"
) -> Any:
    async with (
        both_on(MemoryStore(), way) as (transport, reached),
        application(wrap(reached), ExecutionLog()) as app,
    ):
        outcome = await outcome_of(app, workflow)
        return outcome, compared(await quiet_tree(transport))


async def stopped_by_crash(
    app: Orchestrator, crashing: CrashingTransport, invoke: Callable[[Orchestrator], Coroutine[Any, Any, Any]]
) -> bool:
    """Start, invoke, and end at the crash or the outcome; tell whether it was the crash."""
    try:
        await app.start()
        running = asyncio.create_task(invoke(app))
        crashed = asyncio.create_task(crashing.crashed.wait())
        await asyncio.wait((running, crashed), return_when=asyncio.FIRST_COMPLETED)
        running.cancel()
        crashed.cancel()
        await asyncio.gather(running, crashed, return_exceptions=True)
    except SimulatedCrash:
        pass
    finally:
        await app.abort()
    return crashing.crashed.is_set()


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("workflow", corpus.WORKFLOWS, ids=lambda workflow: workflow.__name__)
async def test_same_answer_wherever_it_is_cut(workflow: Callable[..., Any], after: bool) -> None:
    expected = await uncut(workflow)
    for cut in range(1, CUTS_MAX):
        store = MemoryStore()
        async with engine_on(store) as transport:
            crashing = crash_at(transport, cut, after=after)
            app = application(crashing, ExecutionLog())
            crashed = await stopped_by_crash(app, crashing, lambda app: outcome_of(app, workflow))
            before = await records(transport)
        if not crashed:
            break
        log = ExecutionLog()
        async with engine_on(store) as transport, application(transport, log) as app, asyncio.timeout(10):
            outcome = await outcome_of(app, workflow)
            tree = compared(await quiet_tree(transport))
        place = f"{'after' if after else 'before'} command {cut}"
        assert (outcome, tree) == expected, place
        settled = {promise_id for promise_id, record in before.items() if not record.pending}
        assert not settled & set(log.started), place
    else:
        pytest.fail(f"still crashing after {CUTS_MAX} cuts")
    assert cut > 4


@pytest.mark.parametrize("workflow", corpus.WORKFLOWS, ids=lambda workflow: workflow.__name__)
async def test_without_extensions(workflow: Callable[..., Any]) -> None:
    async with asyncio.timeout(10):
        assert await uncut(workflow, Published) == await uncut(workflow)


@pytest.mark.parametrize("workflow", corpus.WORKFLOWS, ids=lambda workflow: workflow.__name__)
async def test_through_a_server(workflow: Callable[..., Any]) -> None:
    async with asyncio.timeout(20):
        assert await uncut(workflow, way="served") == await uncut(workflow)


async def run(workflow: Callable[..., Any], *functions: Callable[..., Any], way: str = "embedded") -> Any:
    async with both_on(MemoryStore(), way) as (transport, reached):
        app = Orchestrator(transport=reached, grace_s=0.5)
        for function in (workflow, *functions):
            app.register(function, retry=Never())
        async with app, asyncio.timeout(10):
            return await app.run(ROOT, workflow), await tree_of(transport)


async def tree_of(transport: LocalTransport) -> dict[str, Any]:
    return await records(transport)


async def test_a_loser_has_ended_before_the_winner_is_seen(way: str) -> None:
    ended: list[str] = []

    async def holds(info: Info) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(info.promise_id)

    async def race(ctx: Context) -> list[str]:
        await ctx.race(ctx.run(holds), ctx.sleep(0.02))
        return list(ended)

    result, stored = await run(race, way=way)
    assert result == ["cut:1"]
    assert stored["cut:1"].state is PromiseState.REJECTED_CANCELED


async def test_a_thread_is_told_that_it_lost(way: str) -> None:
    seen = asyncio.Event()
    loop = asyncio.get_running_loop()

    def waits(info: Info) -> None:
        while not info.cancelled:
            pass
        loop.call_soon_threadsafe(seen.set)

    async def race(ctx: Context) -> None:
        await ctx.race(ctx.run(waits), ctx.sleep(0.02))

    await run(race, way=way)
    async with asyncio.timeout(5):
        await seen.wait()


async def test_a_loser_may_be_awaited_later(way: str) -> None:
    async def race(ctx: Context) -> str:
        loser = ctx.promise()
        await ctx.race(loser, ctx.sleep(0))
        try:
            await loser
        except PromiseCanceled as error:
            return error.message
        return ""

    message, _ = await run(race, way=way)
    assert message == "promise cut:1 was cancelled"


async def test_the_first_to_settle_wins_though_nobody_was_looking(way: str) -> None:
    """A worker that comes back after a long time decides by when things happened."""
    store = MemoryStore()

    async def late(ctx: Context) -> str:
        answer = ctx.promise()
        return str(await ctx.timeout(answer, 1.0))

    async with both_on(store, way) as (transport, reached):
        app = Orchestrator(transport=reached)
        app.register(late)
        async with app:
            await app.begin_run(ROOT, late)
            while "cut:2" not in await records(transport):  # noqa: ASYNC110 - the store tells nobody
                await asyncio.sleep(0.005)
            await app.abort()
        async with Orchestrator(transport=reached, group="hands", worker=False) as hand:
            await hand.promises.resolve("cut:1", "in time")
            async with asyncio.timeout(5):
                await (await hand.get("cut:2")).result()
        app = Orchestrator(transport=reached)
        app.register(late)
        async with app, asyncio.timeout(60):
            assert await app.run(ROOT, late) == "in time"


async def test_completions_come_in_the_order_of_settlement(way: str) -> None:
    async def order(ctx: Context) -> list[int]:
        sleeps = [ctx.sleep(delay) for delay in (0.15, 0.01, 0.08)]
        return [sleeps.index(one) async for one in ctx.as_completed(*sleeps)]  # type: ignore[arg-type]

    result, _ = await run(order, way=way)
    assert result == [1, 2, 0]


async def test_gather_may_return_failures() -> None:
    async def several(ctx: Context) -> list[str]:
        results = await ctx.gather(ctx.run(corpus.fails, 1), ctx.run(corpus.twice, 2), return_exceptions=True)
        return [one.type_name if isinstance(one, ApplicationError) else str(one) for one in results]

    result, _ = await run(several, corpus.fails)
    assert result == ["KeyError", "4"]


async def test_timed_out_says_what_and_crosses_as_an_error(way: str) -> None:
    async def slow(ctx: Context) -> None:
        await ctx.timeout(ctx.promise(), 0.01)

    with pytest.raises(ApplicationError) as caught:
        await run(slow, way=way)
    assert caught.value.type_name == TimedOut.__name__
    assert "cut:3" in str(caught.value)


async def test_all_failures_are_told(way: str) -> None:
    async def failing(ctx: Context) -> None:
        await ctx.any(ctx.run(corpus.fails, 1), ctx.run(corpus.fails, 2))

    with pytest.raises(ApplicationError) as caught:
        await run(failing, corpus.fails, way=way)
    assert caught.value.type_name == AllFailed.__name__
    assert caught.value.data == [{"name": "KeyError", "message": "1"}, {"name": "KeyError", "message": "2"}]


@pytest.mark.parametrize("name", ["race", "gather", "any", "as_completed", "timeout", "shield"])
async def test_a_foreign_awaitable_is_refused_with_advice(name: str) -> None:
    async def foreign(ctx: Context) -> str:
        arguments = (corpus.stuck(), 1.0) if name == "timeout" else (corpus.stuck(),)
        try:
            getattr(ctx, name)(*arguments)
        except ForeignAwait as error:
            return str(error)
        return ""

    message, _ = await run(foreign)
    assert f"ctx.{name}" in message
    assert "ctx.run" in message


async def test_a_choice_among_nothing_is_refused() -> None:
    async def nothing(ctx: Context) -> list[str]:
        faults = []
        for choice in (ctx.race, ctx.any):
            try:
                choice()
            except ValueError as error:
                faults.append(str(error))
        return [*faults, *[str(one) async for one in ctx.as_completed()]]

    result, _ = await run(nothing)
    assert result == ["ctx.race needs at least one future", "ctx.any needs at least one future"]


async def test_outside_promises_and_detached_calls_survive_a_lost_race(way: str) -> None:
    async def race(ctx: Context) -> None:
        outside = ctx.promise("approval")
        free = ctx.options(target=corpus.NOBODY).detached("stuck")
        await ctx.race(outside, free, ctx.sleep(0))

    _, stored = await run(race, way=way)
    assert sorted(key for key, one in stored.items() if one.pending) == [
        "approval",
        *[key for key in stored if key.startswith("cut:d")],
    ]
