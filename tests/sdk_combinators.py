"""Workflows that combine futures, for every test that cuts, replays or simulates workflows.

Their outcomes and records do not depend on timing, so that an interrupted run can be compared with another.
Only what lies below a cancelled call may have got further or less far, and what `NOBODY` serves stays open.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from typing import Any

from orchestrator import AllFailed, ApplicationError, Context, Durable, TimedOut

NOBODY = "nobody"
"""A group without workers."""
LONG_S = 3600.0


async def twice(number: int) -> int:
    return number * 2


async def fails(number: int) -> int:
    raise KeyError(number)


async def stuck() -> int:
    await asyncio.Event().wait()
    return 0


async def after(ctx: Context, earlier: Durable[int], number: int) -> int:
    """A local child that ends only after its sibling has."""
    await earlier
    return await ctx.run(twice, number)


async def works_long(ctx: Context) -> int:
    await ctx.run(twice, 1)
    ctx.begin_run(stuck)
    await ctx.sleep(LONG_S)
    return 0


async def calls_nobody(ctx: Context, how: str) -> int:
    """A branch whose call no worker will ever take: awaited, under way beside it, or in a branch below."""
    called = ctx.options(target=NOBODY).begin_rpc("stuck")
    if how == "left open":
        return 0
    if how == "beside":
        await ctx.sleep(LONG_S)
    if how == "below":
        await ctx.run(calls_nobody, "awaited")
    try:
        return int(await called)
    finally:
        await ctx.run(twice, 6)


async def race_of_a_step(ctx: Context) -> list[int]:
    waited = ctx.sleep(LONG_S)
    never = ctx.promise()
    won = await ctx.race(never, waited, ctx.run(twice, 4))
    return [won, await ctx.run(twice, 5)]


async def race_of_a_call(ctx: Context) -> int:
    remote = ctx.options(target=NOBODY).begin_rpc("stuck")
    return int(await ctx.race(remote, ctx.begin_run(stuck), ctx.rpc(twice, 4)))


async def race_lost_by_a_branch(ctx: Context) -> int:
    return int(await ctx.race(ctx.begin_run(works_long), ctx.begin_rpc(twice, 3)))


async def race_won_by_a_failure(ctx: Context) -> str:
    try:
        await ctx.race(ctx.sleep(LONG_S), ctx.run(fails, 3))
    except ApplicationError as error:
        return error.type_name
    return "nothing"


async def any_of_several(ctx: Context) -> int:
    return int(await ctx.any(ctx.run(fails, 1), ctx.begin_run(stuck), ctx.rpc(fails, 2), ctx.rpc(twice, 3)))


async def any_of_none(ctx: Context) -> list[str]:
    try:
        await ctx.any(ctx.run(fails, 1), ctx.rpc(fails, 2))
    except AllFailed as error:
        return [one.type_name for one in error.errors]
    return []


async def one_after_the_other(ctx: Context) -> list[object]:
    first = ctx.run(twice, 1)
    second = ctx.begin_run(after, first, 2)
    third = ctx.begin_run(after, second, 3)
    order: list[object] = []
    async for future in ctx.as_completed(first, second, third):
        order.append([first, second, third].index(future))  # type: ignore[arg-type]
        order.append(await future)
        order.append(await ctx.rpc(twice, len(order)))
    return order


async def in_time_and_not(ctx: Context) -> list[object]:
    results: list[object] = [await ctx.timeout(ctx.rpc(twice, 2), LONG_S)]
    try:
        await ctx.timeout(ctx.options(target=NOBODY).rpc("stuck"), 0.01)
    except TimedOut as error:
        results.append(type(error).__name__)
    try:
        await ctx.timeout(ctx.begin_run(stuck), 0.01)
    except TimeoutError:
        results.append(await ctx.run(twice, 7))
    return results


async def branches_out_of_time(ctx: Context) -> list[object]:
    results: list[object] = []
    for how in ("awaited", "beside", "below", "left open"):
        try:
            await ctx.timeout(ctx.begin_run(calls_nobody, how), 0.01)
        except TimedOut:
            results.append(await ctx.run(twice, len(results)))
    return results


async def nested_choices(ctx: Context) -> list[object]:
    patient = ctx.timeout(ctx.gather(ctx.promise(), ctx.begin_run(stuck)), LONG_S)
    quick = ctx.any(ctx.run(fails, 1), ctx.gather(ctx.run(twice, 1), ctx.rpc(twice, 2)))
    won = await ctx.race(patient, quick)
    kept = ctx.rpc(twice, 9)
    await ctx.race(ctx.shield(kept), ctx.sleep(0))
    return [won, await kept, await ctx.gather(ctx.run(fails, 5), kept, return_exceptions=True) is not None]


async def unawaited_choice(ctx: Context) -> int:
    ctx.race(ctx.rpc(twice, 1), ctx.begin_run(stuck))
    return await ctx.run(twice, 2)


def generated_choices(ctx: Context) -> Generator[Any, Any, list[object]]:
    won = yield from ctx.race(ctx.sleep(LONG_S), ctx.run(twice, 4))
    first = ctx.run(twice, 1)
    results: list[object] = [won]
    for future in ctx.as_completed(first, ctx.begin_run(after, first, 5)):
        results.append((yield future))
    try:
        yield ctx.timeout(ctx.promise(), 0.01)
    except TimedOut:
        results.append("timed out")
    return results


WORKFLOWS: list[Callable[..., Any]] = [
    race_of_a_step,
    race_of_a_call,
    race_lost_by_a_branch,
    race_won_by_a_failure,
    any_of_several,
    any_of_none,
    one_after_the_other,
    in_time_and_not,
    branches_out_of_time,
    nested_choices,
    unawaited_choice,
    generated_choices,
]
PARTS: list[Callable[..., Any]] = [twice, fails, stuck, after, works_long, calls_nobody]
