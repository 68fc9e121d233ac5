"""A leaf that blocks the worker's loop is named while it does, and blamed for the leases that it costs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from orchestrator import Context, Orchestrator
from orchestrator.client.info import Info
from orchestrator.engine import Engine
from orchestrator.store.memory import MemoryStore
from orchestrator.transport.local import LocalTransport
from orchestrator.worker.stalls import StallWatch
from tests.integration.server_support import served

TTL_MS = 1_200
LONG_S = 2.5


async def blocks_though_async(seconds: float) -> str:
    await asyncio.sleep(0)
    time.sleep(seconds)  # noqa: ASYNC251 - this is what is to be noticed
    return "done"


def blocks_inline(seconds: float) -> str:
    time.sleep(seconds)
    return "done"


def computes_inline(seconds: float) -> str:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
    return "done"


def blocks_in_a_thread(seconds: float) -> str:
    time.sleep(seconds)
    return "done"


async def waits(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "done"


async def calls(ctx: Context, name: str, seconds: float) -> str:
    return str(await ctx.run(name, seconds))


LEAVES: list[Callable[..., Any]] = [
    blocks_though_async,
    blocks_inline,
    computes_inline,
    blocks_in_a_thread,
    waits,
]


def with_leaves(app: Orchestrator) -> Orchestrator:
    for leaf in LEAVES:
        app.register(leaf, executor="inline" if leaf.__name__.endswith("inline") else "thread")
    app.register(calls)
    return app


async def logged(leaf: Callable[..., Any], seconds: float) -> list[Any]:
    async with Engine(MemoryStore()) as engine:
        app = with_leaves(Orchestrator(transport=LocalTransport(engine), ttl_ms=TTL_MS))
        with capture_logs() as logs:
            async with app, asyncio.timeout(20):
                assert await app.run("w", calls, leaf.__name__, seconds) == "done"
                # The end of a stall is told by another thread.
                await asyncio.sleep(0.2)
    return [one for one in logs if "block" in one["event"]]


@pytest.mark.parametrize("leaf", LEAVES[:3], ids=lambda leaf: leaf.__name__)
async def test_what_blocks_the_loop_is_named(leaf: Callable[..., Any]) -> None:
    begun, ended = await logged(leaf, 0.75)
    assert (begun["event"], ended["event"]) == ("the loop is blocked", "the loop was blocked")
    assert begun["function"] == f"{leaf.__name__} version 1"
    assert begun["promise_id"] == "w:1"
    assert leaf.__name__ in begun["where"]
    assert begun["seconds"] < ended["seconds"] < 1.5
    assert {begun["log_level"], ended["log_level"]} == {"warning"}


@pytest.mark.parametrize("leaf", LEAVES[3:], ids=lambda leaf: leaf.__name__)
async def test_what_lets_the_loop_go_on_is_not(leaf: Callable[..., Any]) -> None:
    assert await logged(leaf, 0.6) == []


async def test_a_lease_lost_to_a_blocked_loop_is_told_with_advice() -> None:
    """It begins again each time: whoever watches the log must see why."""
    attempts = 0

    async def hogs() -> int:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            time.sleep(LONG_S)  # noqa: ASYNC251 - longer than the lease
        return attempts

    async with Engine(MemoryStore()) as engine, served(engine) as url:
        # The server has a loop of its own elsewhere: there the lease ends while this worker is blocked.
        app = Orchestrator.remote(url, ttl_ms=TTL_MS)
        app.register(hogs)
        with capture_logs() as logs:
            async with app, asyncio.timeout(20):
                await app.run("w", hogs)
    lost = next(one for one in logs if one["event"] == "lease lost to a blocked loop")
    assert (lost["log_level"], lost["function"], lost["blocked_by"]) == ("error", "hogs version 1", "w")
    assert lost["seconds"] >= TTL_MS / 3000
    assert 'executor="thread"' in lost["advice"]
    assert "ttl_ms" in lost["advice"]


async def test_a_watch_rests_while_nothing_runs() -> None:
    asked = 0

    def busy() -> bool:
        nonlocal asked
        asked += 1
        return False

    attempts: dict[asyncio.Task[Any], Info] = {}
    watch = StallWatch(attempts, busy, 0.04)
    await asyncio.sleep(0.1)
    assert asked == 0
    watch.wake()
    while not asked:  # noqa: ASYNC110 - a thread tells nobody
        await asyncio.sleep(0.005)
    await asyncio.sleep(0.1)
    assert asked == 1
    assert watch.within(1e9) is None
    watch.close()
