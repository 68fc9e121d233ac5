"""What no worker here can execute is claimed ever more rarely: no hot loop, and nothing lost (T5)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from itertools import pairwise
from typing import Any

import pytest
from structlog.testing import capture_logs

from orchestrator import Context, Orchestrator
from orchestrator.protocol import commands as c
from orchestrator.protocol.transport import Receiver, Transport
from orchestrator.store.memory import MemoryStore
from orchestrator.testing import VirtualClock, local

HOUR_S = 3_600.0
CLAIMS_MAX = 40
BACKOFF_S_MAX = 300.0
"""Of the engine, see `release_backoff_ms_max`."""


class Claims:
    """A transport that notes when (virtual seconds) a task was claimed."""

    def __init__(self, inner: Transport, clock: VirtualClock, at_s: list[float]) -> None:
        self.inner, self.clock, self.at_s = inner, clock, at_s

    async def call(self, command: c.Command[Any]) -> Any:
        if isinstance(command, c.TaskAcquire):
            self.at_s.append(self.clock.passed_s)
            assert len(self.at_s) <= CLAIMS_MAX, "a hot loop"
        return await self.inner.call(command)

    def connect(self, group: str, pid: str, receive: Receiver) -> AbstractAsyncContextManager[None]:
        return self.inner.connect(group, pid, receive)

    async def close(self) -> None:
        await self.inner.close()


async def before(number: int) -> int:
    return number


async def after(number: int) -> int:
    return number


async def recorded(ctx: Context) -> int:
    return await ctx.run(before, 1) + int(await ctx.promise("go-on"))


async def changed(ctx: Context) -> int:
    return await ctx.run(after, 1) + int(await ctx.promise("go-on"))


async def of_a_changed_workflow(app: Orchestrator) -> None:
    """Have a workflow go on whose code was another one when it began."""
    await app.promises.resolve("go-on", 1)


async def of_an_unknown_function(app: Orchestrator) -> None:
    await app.begin_rpc("w", "nobody_has_it")


async def of_an_unknown_version(app: Orchestrator) -> None:
    await app.options(version=9).begin_rpc("w", "flow")


@pytest.mark.parametrize(
    ("begin", "reason"),
    [
        (of_a_changed_workflow, "step before version 1"),
        (of_an_unknown_function, "'nobody_has_it' version 1 is not registered"),
        (of_an_unknown_version, "'flow' version 9 is not registered"),
    ],
    ids=["changed-workflow", "unknown-function", "unknown-version"],
)
def test_it_is_claimed_ever_more_rarely(
    begin: Callable[[Orchestrator], Awaitable[None]], reason: str
) -> None:
    at_s, claimed = list[float](), list[float]()
    clock, store = VirtualClock(), MemoryStore()

    def application(flow: Callable[..., Any]) -> Orchestrator:
        app = local(clock=clock, store=store, around=lambda inner: Claims(inner, clock, at_s))
        app.register(flow, name="flow")
        return app

    async def until_the_code_is_back() -> int:
        async with application(recorded) as first:
            await first.promises.create("go-on")
            await first.begin_run("recorded", recorded)
            await asyncio.sleep(1)
        at_s.clear()
        async with application(changed) as second:
            await begin(second)
            await asyncio.sleep(HOUR_S)
        claimed.extend(at_s)
        async with application(recorded) as third:
            await third.promises.resolve("go-on", 1)
            return int(await (await third.get("recorded")).result())

    with capture_logs() as lines:
        assert clock.run(until_the_code_is_back()) == 2, "the record has suffered nothing"
    pauses = [later - earlier for earlier, later in pairwise(claimed)]
    assert pauses[:4] == pytest.approx([0, 0.25, 0.5, 1.0], abs=0.1)
    assert all(later >= min(1.9 * earlier, BACKOFF_S_MAX) for earlier, later in pairwise(pauses))
    assert pauses[-1] == pytest.approx(BACKOFF_S_MAX, abs=0.1)
    told = [line["reason"] for line in lines if line["event"] == "execution given up"]
    assert len(told) >= len(claimed), "each says why"
    assert all(reason in each for each in told)
