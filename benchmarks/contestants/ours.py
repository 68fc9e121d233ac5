"""Our engine, embedded: `python -m benchmarks.contestants.ours STORE_URL SECONDS`.

Its replay is timed from outside, from the signal to the result: claim, reading the record, and the end count.
"""

from __future__ import annotations

import asyncio
import sys
from time import perf_counter, process_time
from uuid import uuid4

from benchmarks.contestants import shapes
from orchestrator import Context, Orchestrator, run_process

_recorded = asyncio.Event()
"""Set once the long workflow has come to its last step."""


def trivial(number: int) -> int:
    """Do nothing worth recording."""
    return number


async def four_steps(ctx: Context) -> int:
    """Await four trivial steps."""
    return await stepwise(ctx, shapes.STEPS)


async def stepwise(ctx: Context, steps: int) -> int:
    """Await so many trivial steps."""
    total = 0
    for number in range(steps):
        total += await ctx.run(trivial, number)
    return total


async def stepwise_then_wait(ctx: Context, steps: int, signal: str) -> int:
    """Await so many steps, then what somebody outside settles."""
    total = await stepwise(ctx, steps)
    _recorded.set()
    await ctx.promise(signal)
    return total


def application(app: Orchestrator) -> Orchestrator:
    """Register the workflows; the step runs inline, as the other systems run theirs."""
    app.register(trivial, executor="inline")
    app.register(four_steps)
    app.register(stepwise)
    app.register(stepwise_then_wait)
    return app


async def measure(url: str, seconds: float) -> shapes.Figures:
    """Measure on the store at `url`."""
    run = uuid4().hex[:8]
    signal = f"signal-{run}"
    async with application(Orchestrator.local(url)) as app:
        single = await shapes.one_at_a_time(lambda name: app.run(f"{run}-{name}", four_steps), seconds)
        begun, busy = perf_counter(), process_time()
        many = await shapes.many_at_once(lambda name: app.run(f"{run}-{name}", four_steps), seconds)
        many_cpu_us = 1e6 * (process_time() - busy) / (many * (perf_counter() - begun))
        steps = await shapes.step_rate(lambda count: app.run(f"{run}-long", stepwise, count))
        waiting = await app.begin_run(f"{run}-replayed", stepwise_then_wait, shapes.LONG, signal)
        await _recorded.wait()
    async with application(Orchestrator.local(url)) as app:
        begun = perf_counter()
        await app.promises.resolve(signal, None)
        await (await app.get(waiting.id)).result()
        replay_s = perf_counter() - begun
    return shapes.Figures(single=single, many=many, steps=steps, replay_s=replay_s, many_cpu_us=many_cpu_us)


if __name__ == "__main__":
    shapes.tell(run_process(measure(sys.argv[1], float(sys.argv[2]))))
