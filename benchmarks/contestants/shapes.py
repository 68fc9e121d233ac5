"""What every contestant measures, and how its figures leave the process. No more than the peers have."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any, TypeVar

import uvloop

T = TypeVar("T")

STEPS = 4
LONG = 1_000
LANES = 64
Start = Callable[[str], Awaitable[object]]
"""Runs the workflow of four trivial steps under this id to its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Workflows a second one at a time and with 64 in flight; steps a second of a long one; its replay.

    `replay_s` is None where a system has no comparable operation; `many_cpu_us` is the processor time of this
    process for each of the 64 in flight, in microseconds, where all work is done here.
    """

    single: float
    many: float
    steps: float
    replay_s: float | None = None
    many_cpu_us: float | None = None


def run_process(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in another system's process as `orchestrator.run_process` does in ours."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, *gc.get_threshold()[1:])
    sys.setswitchinterval(0.0005)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


async def one_at_a_time(start: Start, seconds: float) -> float:
    """Run workflows one after the other; workflows a second."""
    await start("warm-single")
    return await _lanes(start, "single", 1, seconds)


async def many_at_once(start: Start, seconds: float) -> float:
    """Keep 64 workflows in flight; workflows a second."""
    return await _lanes(start, "many", LANES, seconds)


async def _lanes(start: Start, name: str, lanes: int, seconds: float) -> float:
    begun = perf_counter()

    async def lane(number: int) -> int:
        done = 0
        while perf_counter() - begun < seconds:
            await start(f"{name}-{number}-{done}")
            done += 1
        return done

    finished = sum(await asyncio.gather(*(lane(number) for number in range(lanes))))
    return finished / (perf_counter() - begun)


async def step_rate(run: Callable[[int], Awaitable[object]]) -> float:
    """Run one workflow of 1,000 steps; steps a second."""
    begun = perf_counter()
    await run(LONG)
    return LONG / (perf_counter() - begun)


def tell(figures: Figures) -> None:
    """Print the figures for the benchmark that started this process."""
    sys.stdout.write(json.dumps(asdict(figures)) + "\n")
