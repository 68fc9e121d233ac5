"""Workflows that change while they live: what the guard reports, what ctx.version and ctx.patched decide.

W1 no settled step is executed again. W2 replay sees the recorded outcome. A change that the code did not
announce never corrupts the record.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from orchestrator import Context, NondeterminismError, Orchestrator
from orchestrator.engine import Engine, EngineSettings
from orchestrator.store.memory import MemoryStore
from orchestrator.testing import ExecutionLog, assert_survives_crashes, local
from tests.integration.sdk_places import way, way_to

__all__ = ["way"]
GATE = "gate"
Workflow = Callable[..., Any]


def reserve(number: int) -> int:
    return number


def charge(number: int) -> int:
    return number * 10


def ship(number: int) -> int:
    return number * 100


def with_functions(
    app: Orchestrator, workflow: Workflow, log: ExecutionLog | None = None, newer: Workflow | None = None
) -> Orchestrator:
    for leaf in (reserve, charge, ship):
        app.register(leaf, executor="inline")
    app.register(workflow, name="order")
    if newer is not None:
        app.register(newer, name="order", version=2)
    if log is not None:
        app.observe(log)
    return app


async def old(ctx: Context) -> list[Any]:
    first = await ctx.run(reserve, 1)
    second = await ctx.run(charge, 2)
    await ctx.promise(GATE)
    return [first, second, await ctx.run(ship, 3)]


@asynccontextmanager
async def place_on(store: MemoryStore, way: str) -> AsyncIterator[Orchestrator]:
    """Yield an application that is not started: in virtual time, or before a server in real time."""
    if way == "embedded":
        yield local(store=store)
        return
    async with (
        Engine(store, settings=EngineSettings(retry_timeout_ms=50)) as engine,
        way_to(engine, way) as transport,
    ):
        yield Orchestrator(transport=transport)


async def begin_under(
    store: MemoryStore, workflow: Workflow, promise_id: str = "w", *, way: str = "embedded"
) -> None:
    """Run a workflow up to its gate, then stop its process."""
    async with place_on(store, way) as made, with_functions(made, workflow) as app:
        await app.begin_run(promise_id, "order")
        while (await app.promises.search(tags={"resonate:parent": GATE})).promises == []:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def go_on_under(
    store: MemoryStore,
    workflow: Workflow,
    promise_id: str = "w",
    log: ExecutionLog | None = None,
    *,
    way: str = "embedded",
) -> Any:
    async with place_on(store, way) as made, with_functions(made, workflow, log) as app:
        await app.promises.resolve(GATE, None)
        return await app.run(promise_id, "order")


async def renamed(ctx: Context) -> None:
    await ctx.run(ship, 1)


async def reordered(ctx: Context) -> None:
    await ctx.run(charge, 2)
    await ctx.run(reserve, 1)


async def inserted(ctx: Context) -> None:
    await ctx.run(reserve, 1)
    await ctx.run(ship, 1)
    await ctx.run(charge, 2)


async def removed(ctx: Context) -> None:
    await ctx.run(reserve, 1)
    await ctx.promise(GATE)


async def other_kind(ctx: Context) -> None:
    await ctx.run(reserve, 1)
    await ctx.sleep(5)


async def called_elsewhere(ctx: Context) -> None:
    await ctx.run(reserve, 1)
    await ctx.rpc(charge, 2)


@pytest.mark.parametrize(
    ("changed", "promise_id", "recorded", "requested"),
    [
        (renamed, "w:1", "step reserve version 1", "step ship version 1"),
        (reordered, "w:1", "step reserve version 1", "step charge version 1"),
        (inserted, "w:2", "step charge version 1", "step ship version 1"),
        (removed, "w:2", "step charge version 1", "nothing: w ends before"),
        (other_kind, "w:2", "step charge version 1", "a sleep"),
        (called_elsewhere, "w:2", "step charge version 1", "call of charge version 1"),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
async def test_each_kind_of_change_is_reported_and_the_record_stays(
    way: str, changed: Workflow, promise_id: str, recorded: str, requested: str
) -> None:
    store, log = MemoryStore(), ExecutionLog()
    await begin_under(store, old, way=way)
    with pytest.raises(NondeterminismError) as caught:
        await go_on_under(store, changed, log=log, way=way)
    fault = caught.value
    assert (fault.promise_id, fault.recorded, fault.requested) == (promise_id, recorded, requested)
    if promise_id == "w:2":
        assert fault.before == ("w:1 step reserve version 1",)
        assert "after w:1 step reserve version 1" in str(fault)
    if requested.startswith(("step", "call", "a ")):
        assert f"(call {promise_id[-1]} of w)" in str(fault)
    assert not log.started, "nothing was executed on a changed record"
    # With the old code restored it goes on as if nothing had been.
    assert await go_on_under(store, old, way=way) == [1, 20, 300]


async def test_another_version_of_a_step_is_reported() -> None:
    store = MemoryStore()

    async def first(ctx: Context) -> int:
        found: int = await ctx.options(version=1).run("priced", 1)
        await ctx.promise(GATE)
        return found

    async def second(ctx: Context) -> int:
        found: int = await ctx.options(version=2).run("priced", 1)
        await ctx.promise(GATE)
        return found

    for workflow in (first, second):
        app = with_functions(local(store=store), workflow)
        app.register(reserve, name="priced", version=1)
        app.register(charge, name="priced", version=2)
        async with app:
            if workflow is first:
                await app.begin_run("w", "order")
                while not (await app.promises.search(tags={"resonate:parent": GATE})).promises:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                continue
            await app.promises.resolve(GATE, None)
            with pytest.raises(NondeterminismError, match=r"step priced version 1, .* step priced version 2"):
                await app.run("w", "order")


async def patched(ctx: Context) -> list[Any]:
    first = await ctx.run(reserve, 1)
    second = await (ctx.run(ship, 2) if await ctx.patched("ship-first") else ctx.run(charge, 2))
    await ctx.promise(GATE)
    return [first, second, await ctx.run(ship, 3)]


def patched_generator(ctx: Context) -> Generator[Any, Any, list[Any]]:
    first = yield from ctx.run(reserve, 1)
    changed = yield from ctx.patched("ship-first")
    second = yield from ctx.run(ship if changed else charge, 2)
    yield from ctx.promise(GATE)
    return [first, second, (yield from ctx.run(ship, 3))]


@pytest.mark.parametrize("changed", [patched, patched_generator])
async def test_a_live_workflow_keeps_the_old_branch_and_a_new_one_takes_the_new(
    way: str, changed: Workflow
) -> None:
    store, log = MemoryStore(), ExecutionLog()
    await begin_under(store, old, way=way)
    assert await go_on_under(store, changed, log=log, way=way) == [1, 20, 300]
    assert dict(log.started) == {"w:3": 1}, "what was recorded is numbered as before, and not executed again"
    async with place_on(store, way) as made, with_functions(made, changed) as app:
        assert await app.run("new", "order") == [1, 200, 300]
        assert (await app.promises.get("new:2")).param.headers == {
            "func": "ctx.version:ship-first",
            "version": "1",
        }
    # One that was begun under the new code replays as the new branch.
    other = MemoryStore()
    await begin_under(other, changed, way=way)
    assert await go_on_under(other, changed, way=way) == [1, 200, 300]


async def test_a_workflow_that_has_not_come_to_the_change_yet_takes_the_new_branch() -> None:
    store = MemoryStore()

    async def before(ctx: Context) -> list[Any]:
        await ctx.promise(GATE)
        return [await ctx.run(charge, 1)]

    async def after(ctx: Context) -> list[Any]:
        await ctx.promise(GATE)
        return [await (ctx.run(ship, 1) if await ctx.patched("late") else ctx.run(charge, 1))]

    await begin_under(store, before)
    assert await go_on_under(store, after) == [100]


async def test_one_answer_for_a_change_to_the_end_of_a_workflow() -> None:
    store = MemoryStore()

    async def before(ctx: Context) -> list[Any]:
        first = await ctx.run(reserve, 1)
        await ctx.promise(GATE)
        return [first, await ctx.run(reserve, 2)]

    async def after(ctx: Context) -> list[Any]:
        found = []
        for number in (1, 2):
            version = await ctx.version("rate", 0, 2)
            found.append(await ctx.run((reserve, charge, ship)[version], number))
            if number == 1:
                await ctx.promise(GATE)
        return found

    await begin_under(store, before)
    assert await go_on_under(store, after) == [1, 2]
    async with with_functions(local(store=store), after) as app:
        assert await app.run("new", "order") == [100, 200]


async def test_a_version_that_the_code_has_dropped_ends_the_execution_and_not_the_record() -> None:
    def asking(oldest: int, newest: int) -> Workflow:
        async def order(ctx: Context) -> int:
            version = await ctx.version("rate", oldest, newest)
            await ctx.run(reserve, version)
            await ctx.promise(GATE)
            return version

        return order

    async def unversioned(ctx: Context) -> int:
        await ctx.run(reserve, 0)
        await ctx.promise(GATE)
        return -1

    for workflow, bounds in ((asking(0, 1), (2, 3)), (unversioned, (1, 2))):
        store = MemoryStore()
        await begin_under(store, workflow)
        with pytest.raises(NondeterminismError, match=r"change 'rate'.* versions \d to \d only"):
            await go_on_under(store, asking(*bounds))
        assert await go_on_under(store, asking(0, 3)) in (0, 1)


@pytest.mark.parametrize(("oldest", "newest"), [(-1, 1), (2, 1)])
async def test_impossible_bounds_are_refused(oldest: int, newest: int) -> None:
    async def order(ctx: Context) -> int:
        return await ctx.version("rate", oldest, newest)

    async with with_functions(local(), order) as app:
        with pytest.raises(Exception, match="0 <= oldest <= newest"):
            await app.run("w", "order")


async def test_versions_survive_crashes_whether_awaited_or_not() -> None:
    async def order(ctx: Context) -> list[Any]:
        first = ctx.begin_run(reserve, 1)
        asked = ctx.version("rate", 0, 3)
        promise = ctx.promise(timeout_s=0.01)
        second, third = ctx.begin_run(charge, 2), ctx.begin_rpc(ship, 3)
        del promise
        return [await first, await asked, await ctx.patched("more"), await second, await third]

    app = with_functions(Orchestrator.local(":memory:"), order)
    assert await assert_survives_crashes(app, order) > 8


async def test_several_versions_of_a_workflow_side_by_side(way: str) -> None:
    store = MemoryStore()

    async def second(ctx: Context) -> str:
        return "second"

    await begin_under(store, old, way=way)
    async with place_on(store, way) as made, with_functions(made, old, newer=second) as app:
        await app.promises.resolve(GATE, None)
        assert await app.run("w", "order") == [1, 20, 300]
        assert await app.run("x", "order") == "second"
        assert await app.options(version=1).rpc("y", "order") == [1, 20, 300]
        assert await app.options(version=2).rpc("z", "order") == "second"
