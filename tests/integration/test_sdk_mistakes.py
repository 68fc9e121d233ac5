"""Mistakes are told clearly: a call that is none, a continuation that is not returned, workflows too deep."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from orchestrator import ApplicationError, Constant, Context, Info, Orchestrator


async def fetch(number: int) -> int:
    return number


async def forgets_ctx_run(ctx: Context) -> int:
    fetch(1)  # type: ignore[unused-coroutine] # the mistake
    return await ctx.run(fetch, 2)


async def forgets_at_the_end(ctx: Context) -> int:
    number = await ctx.run(fetch, 2)
    lost = fetch(3)
    return number if lost else 0


async def leaves_calls_open(ctx: Context) -> int:
    ctx.run(fetch, 1)
    ctx.begin_rpc(fetch, 2)
    return 3


async def run(workflow: Callable[..., Any], *arguments: object) -> Any:
    app = Orchestrator.local(":memory:")
    app.register(fetch)
    app.register(workflow)
    async with app, asyncio.timeout(60):
        return await app.run("w", workflow, *arguments)


@pytest.mark.parametrize("workflow", [forgets_ctx_run, forgets_at_the_end])
async def test_a_coroutine_never_awaited_is_told_with_the_workflow(workflow: Callable[..., Any]) -> None:
    with capture_logs() as logs:
        assert await run(workflow) == 2
    told = [one for one in logs if one["event"] == "coroutine never awaited"]
    assert [(one["workflow"], one["function"]) for one in told] == [
        (f"{workflow.__name__} version 1", "fetch")
    ]
    assert "ctx.run(fetch, ...)" in told[0]["advice"]


async def test_calls_that_nobody_awaits_are_no_mistake() -> None:
    with capture_logs() as logs:
        assert await run(leaves_calls_open) == 3
    assert logs == []


async def test_outside_of_workflows_python_warns_as_ever() -> None:
    assert await run(forgets_ctx_run) == 2
    with pytest.warns(RuntimeWarning, match="never awaited"):
        fetch(1)  # type: ignore[unused-coroutine]


async def goes_on_without_return(ctx: Context, number: int) -> int:
    await ctx.run(fetch, number)
    if number < 2:
        ctx.continue_as(number + 1)
    return number


async def test_a_continuation_that_is_not_returned_fails_the_workflow() -> None:
    with pytest.raises(ApplicationError, match=r"write `return ctx\.continue_as\(\.\.\.\)`") as caught:
        await run(goes_on_without_return, 1)
    assert caught.value.type_name == "NotReturned"
    assert "goes_on_without_return" in str(caught.value)
    assert await run(goes_on_without_return, 2) == 2


async def descend(ctx: Context, depth: int) -> int:
    return 1 + await ctx.run(descend, depth - 1) if depth else await ctx.run(fetch, 0)


async def descend_twice(ctx: Context, depth: int, again: bool = True) -> int:
    found = await ctx.run(descend, depth)
    return ctx.continue_as(depth, again=False) if again else found


async def test_three_hundred_levels_are_none_too_many() -> None:
    app = Orchestrator.local(":memory:")
    for function in (fetch, descend, descend_twice):
        app.register(function)
    async with app, asyncio.timeout(60):
        assert await app.run("w", descend_twice, 300) == 300


async def test_what_is_too_deep_for_its_ids_is_refused_clearly() -> None:
    with pytest.raises(ApplicationError, match=r"levels deep .* ctx\.continue_as") as caught:
        await run(descend, 1_000)
    assert caught.value.type_name == "TooDeep"


@pytest.mark.parametrize(
    ("error", "reason"),
    [(ConnectionRefusedError("nobody at port 9"), "nobody at port 9"), (ValueError("secret"), None)],
)
async def test_attempts_that_fail_are_told_less_and_less_often(error: Exception, reason: str | None) -> None:
    async def fails_often(info: Info) -> int:
        if info.attempt < 6:
            raise error
        return info.attempt

    async def calls_it(ctx: Context) -> int:
        return await ctx.options(retry=Constant(delay_s=0.001)).run(fails_often)

    with capture_logs() as logs:
        assert await run(calls_it) == 6
    told = [one for one in logs if one["event"] == "attempt failed"]
    assert [one["attempt"] for one in told] == [1, 2, 4]
    assert {(one["promise_id"], one["function"], one["error"]) for one in told} == {
        ("w:1", "fails_often", type(error).__name__)
    }
    assert [one.get("reason") for one in told] == [reason] * 3
