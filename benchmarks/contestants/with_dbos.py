"""DBOS: `python -m benchmarks.contestants.with_dbos SYSTEM_DATABASE_URL SECONDS`.

Its replay is timed inside the workflow's body, so that neither start nor polling of a queue counts.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import sys
from time import perf_counter

from dbos import DBOS, DBOSConfig, SetWorkflowID

from benchmarks.contestants import shapes

_reached: queue.SimpleQueue[float] = queue.SimpleQueue()
"""Seconds that each execution of the long workflow needed up to its last step."""


@DBOS.step()
async def trivial(number: int) -> int:
    """Do nothing worth recording."""
    return number


@DBOS.workflow()
async def stepwise(steps: int) -> int:
    """Await so many trivial steps."""
    total = 0
    for number in range(steps):
        total += await trivial(number)
    return total


@DBOS.workflow()
async def stepwise_then_wait(steps: int) -> int:
    """Await so many steps, then a message."""
    begun = perf_counter()
    total = 0
    for number in range(steps):
        total += await trivial(number)
    _reached.put(perf_counter() - begun)
    await DBOS.recv_async("go", timeout_seconds=60)
    return total


async def run(workflow_id: str, steps: int) -> object:
    """Run the workflow under this id."""
    with SetWorkflowID(workflow_id):
        return await stepwise(steps)


def launch(url: str) -> None:
    """Start DBOS on this database; what is pending there is recovered."""
    config: DBOSConfig = {
        "name": "bench",
        "system_database_url": url,
        "log_level": "CRITICAL",
        "run_admin_server": False,
        "application_version": "1",
    }
    DBOS(config=config)
    DBOS.launch()


async def measure(seconds: float) -> shapes.Figures:
    """Measure all but the replay, and leave a workflow that waits behind its steps."""
    single = await shapes.one_at_a_time(lambda name: run(name, shapes.STEPS), seconds)
    many = await shapes.many_at_once(lambda name: run(name, shapes.STEPS), seconds)
    steps = await shapes.step_rate(lambda count: run("long", count))
    with SetWorkflowID("replayed"):
        await DBOS.start_workflow_async(stepwise_then_wait, shapes.LONG)
    await asyncio.to_thread(_reached.get, timeout=60)
    return shapes.Figures(single=single, many=many, steps=steps)


def main(url: str, seconds: float) -> None:
    """Measure, start again for the replay, and tell."""
    logging.disable(logging.CRITICAL)
    launch(url)
    figures = shapes.run_process(measure(seconds))
    DBOS.destroy()
    launch(url)
    replay_s = _reached.get(timeout=60)
    shapes.tell(
        shapes.Figures(single=figures.single, many=figures.many, steps=figures.steps, replay_s=replay_s)
    )
    DBOS.destroy()


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
