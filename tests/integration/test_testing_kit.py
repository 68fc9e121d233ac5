"""The test kit finds fault: with a workflow that depends on its interruptions, with a wait for nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from orchestrator import Context, Orchestrator
from orchestrator.testing import StandStill, VirtualClock, assert_survives_crashes, local, virtual_time

entries: list[str] = []
"""How often the process has entered a workflow: what no durable function may depend on."""


def double(number: int) -> int:
    return 2 * number


async def tells_its_entries(ctx: Context) -> int:
    entries.append(ctx.id)
    await ctx.run(double, 1)
    return len(entries)


async def acts_by_its_entries(ctx: Context) -> str:
    entries.append(ctx.id)
    await ctx.run(double, 5)
    await ctx.run(double, len(entries))
    return "done"


async def forget(_: Orchestrator) -> None:
    entries.clear()


@pytest.mark.parametrize(
    ("workflow", "difference"),
    [
        (tells_its_entries, r"crashed before command \d+ of tells_its_entries: outcome 2, uncut 1$"),
        (acts_by_its_entries, r"crashed before command \d+ of acts_by_its_entries: cut:2 is .*, uncut "),
    ],
)
async def test_what_depends_on_its_interruptions_is_found(
    workflow: Callable[..., Any], difference: str
) -> None:
    app = Orchestrator.local(":memory:")
    app.register(double)
    app.register(workflow)
    with pytest.raises(AssertionError, match=difference):
        await assert_survives_crashes(app, workflow, hand=forget)


def test_where_nothing_can_go_on_the_clock_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(virtual_time, "STANDSTILL_S", 0.05)
    clock = VirtualClock()

    async def in_vain() -> None:
        await asyncio.sleep(60)
        await asyncio.Event().wait()

    with pytest.raises(StandStill, match="something awaits what nobody settles"):
        clock.run(in_vain())
    assert clock.passed_s == pytest.approx(60)
    assert not clock.taken


async def waits_in_vain(ctx: Context) -> None:
    await ctx.promise("never")


async def waits_in_branches(ctx: Context) -> None:
    """Wait for what nobody settles in a local child and in a call, beside steps that have ended."""
    await ctx.run(double, 1)
    await ctx.gather(ctx.run(waits_in_vain), ctx.rpc(waits_in_vain), ctx.sleep(86_400))


@pytest.mark.parametrize("workflow", [waits_in_vain, waits_in_branches])
def test_beside_an_engine_it_is_told_too(
    workflow: Callable[[Context], Coroutine[Any, Any, None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(virtual_time, "STANDSTILL_S", 0.05)
    clock = VirtualClock()
    app = local(clock=clock)
    for function in (double, waits_in_vain, waits_in_branches):
        app.register(function)

    async def main() -> None:
        async with app:
            await app.run("w", workflow)

    with pytest.raises(StandStill, match="something awaits what nobody settles"):
        clock.run(main())
    assert (clock.passed_s > 86_000) is (workflow is waits_in_branches), "the last timer was waited for"


async def waits_for_centuries(ctx: Context) -> str:
    await ctx.sleep(900 * 365 * 86_400.0)
    return "at last"


def test_a_wait_of_centuries_is_none_in_vain() -> None:
    clock = VirtualClock()
    app = local(clock=clock)
    app.register(waits_for_centuries)

    async def main() -> str:
        async with app:
            return await app.run("w", waits_for_centuries)

    assert clock.run(main()) == "at last"


def test_beside_an_engine_a_timeout_in_virtual_time_ends_the_wait() -> None:
    clock = VirtualClock()
    app = local(clock=clock)
    app.register(waits_in_vain)

    async def main() -> None:
        async with app, asyncio.timeout(3_600):
            await app.run("w", waits_in_vain)

    with pytest.raises(TimeoutError):
        clock.run(main())
    assert clock.passed_s >= 3_600
