"""A leaf that calls sys.exit fails its step and says so; the worker goes on."""

from __future__ import annotations

import asyncio
import sys

import pytest

from orchestrator import ApplicationError, Context, Never, Orchestrator


async def leaves_async() -> None:
    sys.exit(3)


def leaves_in_a_thread() -> None:
    sys.exit(3)


async def calls(ctx: Context, name: str) -> None:
    await ctx.run(name)


async def stays() -> str:
    return "here"


@pytest.mark.parametrize("leaf", [leaves_async, leaves_in_a_thread], ids=lambda leaf: leaf.__name__)
async def test_a_worker_survives_a_leaf_that_exits(leaf: object) -> None:
    app = Orchestrator.local(":memory:")
    for function in (leaves_async, leaves_in_a_thread, stays, calls):
        app.register(function, retry=Never())
    async with app, asyncio.timeout(10):
        with pytest.raises(ApplicationError, match=r"sys\.exit\(3\)") as caught:
            await app.run("w", calls, leaf.__name__)  # type: ignore[attr-defined]
        assert caught.value.type_name == "LeafExited"
        assert await app.run("after", stays) == "here"
