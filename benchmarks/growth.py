"""How the cost of one workflow grows with its length: ten times the calls must cost at most twelve times.

    python -m benchmarks.growth [--json]

Each line compares n calls in one workflow with 10 n, in processor time of this process (the engine is in it,
on a SQLite file), so that other work on the machine does not count.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from orchestrator import Context, Orchestrator

GROWTH_MAX = 12.0
WAKE = "wake-{}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """One shape: seconds of processor time for `calls` and for ten times as many."""

    shape: str
    calls: int
    seconds: float
    seconds_tenfold: float

    @property
    def factor(self) -> float:
        """How much more ten times the calls cost."""
        return self.seconds_tenfold / self.seconds


async def leaf(number: int) -> int:
    return number


async def steps(ctx: Context, count: int) -> int:
    return sum([await ctx.run(leaf, number) for number in range(count)])


async def calls(ctx: Context, count: int) -> int:
    return sum([await ctx.rpc(leaf, number) for number in range(count)])


async def sleeps(ctx: Context, count: int) -> int:
    for _ in range(count):
        await ctx.sleep(0.001)
    return count


async def fan_out(ctx: Context, count: int) -> int:
    return sum(await ctx.gather(*[ctx.rpc(leaf, number) for number in range(count)]))


async def completions(ctx: Context, count: int) -> int:
    started = [ctx.run(leaf, number) for number in range(count)]
    return sum([await future async for future in ctx.as_completed(*started)])


async def steps_and_a_wait(ctx: Context, count: int) -> int:
    total = await steps(ctx, count)
    await ctx.promise(WAKE.format(count))
    return total


def application(url: str) -> Orchestrator:
    app = Orchestrator.local(url)
    for function in (leaf, steps, calls, sleeps, fan_out, completions, steps_and_a_wait):
        app.register(function)
    return app


async def _spent(work: Callable[[], Awaitable[object]]) -> float:
    before = time.process_time()
    await work()
    return time.process_time() - before


async def once(workflow: Callable[..., Awaitable[int]], count: int, url: str) -> float:
    """Return the seconds for one workflow of `count` calls."""
    async with application(url) as app:
        return await _spent(lambda: app.run(f"{workflow.__name__}-{count}", workflow, count))


async def replay(count: int, url: str) -> float:
    """Return the seconds in which a new process goes on with a workflow of `count` recorded steps."""
    async with application(url) as app:
        await app.begin_run("replayed", steps_and_a_wait, count)
        wake = WAKE.format(count)
        while not (await app.promises.search(limit=1, tags={"resonate:origin": wake})).promises:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    async with application(url) as app:

        async def resume() -> None:
            await app.promises.resolve(wake, None)
            await (await app.get("replayed")).result()

        return await _spent(resume)


async def growth(shape: str, count: int, measure: Callable[[int, str], Awaitable[float]]) -> Growth:
    """Measure one shape at `count` and at ten times that, each on a store of its own."""
    seconds = []
    for times in (1, 10):
        with tempfile.TemporaryDirectory() as folder:
            seconds.append(await measure(count * times, f"sqlite:///{Path(folder) / 'growth.db'}"))
    return Growth(shape=shape, calls=count, seconds=seconds[0], seconds_tenfold=seconds[1])


SHAPES: dict[str, tuple[int, Callable[[int, str], Awaitable[float]]]] = {
    "steps": (1_000, lambda count, url: once(steps, count, url)),
    "replay of steps": (1_000, replay),
    "fan-out": (100, lambda count, url: once(fan_out, count, url)),
    "as_completed": (1_000, lambda count, url: once(completions, count, url)),
    "sequential rpcs": (100, lambda count, url: once(calls, count, url)),
    "sequential sleeps": (100, lambda count, url: once(sleeps, count, url)),
}


async def _main() -> None:
    parser = argparse.ArgumentParser(description="How costs grow with the length of a workflow.")
    parser.add_argument("--json", action="store_true", help="one line of JSON a shape")
    parser.add_argument("--shape", action="append", choices=sorted(SHAPES), help="only this one; repeatable")
    arguments = parser.parse_args()
    for shape in arguments.shape or SHAPES:
        count, measure = SHAPES[shape]
        found = await growth(shape, count, measure)
        if arguments.json:
            print(json.dumps({**asdict(found), "factor": found.factor}), flush=True)
        else:
            verdict = "" if found.factor <= GROWTH_MAX else f"  MORE THAN {GROWTH_MAX:.0f} TIMES"
            print(
                f"{shape:>20}: {count:>6} calls {found.seconds:8.3f} s, {10 * count:>6} calls "
                f"{found.seconds_tenfold:8.3f} s, factor {found.factor:5.1f}{verdict}",
                flush=True,
            )


def main() -> None:
    """Measure all shapes, or those that are named."""
    asyncio.run(_main())


if __name__ == "__main__":
    main()
