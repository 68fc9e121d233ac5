"""Our engine over HTTP: `python -m benchmarks.contestants.ours_remote STORE_URL SECONDS`.

Server, worker and client are three processes; the client invokes by rpc and waits for the results.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchmarks.contestants import shapes
from benchmarks.contestants.ours import application, four_steps, stepwise
from orchestrator import Orchestrator, run_process

GROUP = "bench"


@asynccontextmanager
async def process(*arguments: str) -> AsyncIterator[tuple[Process, str]]:
    """Run a Python program until the block ends; also the first line that it prints."""
    child = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=PIPE)
    assert child.stdout is not None
    try:
        line = await asyncio.wait_for(child.stdout.readline(), timeout=30)
        yield child, line.decode().strip()
    finally:
        if child.returncode is None:
            child.terminate()
        await child.wait()


async def work(url: str) -> None:
    """Be the worker until the process is ended."""
    async with application(Orchestrator.remote(url, group=GROUP)):
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


async def measure(store: str, seconds: float) -> shapes.Figures:
    """Measure with a server on the store at this URL."""
    async with process("-m", "scorers", "serve", "--store", store, "--port", "0") as (_, ready):
        url = ready.split()[-1]
        worker = process("-m", "benchmarks.contestants.ours_remote", "worker", url)
        client = application(Orchestrator.remote(url, group="client", worker=False))
        async with worker, client as app:
            calls = app.options(target=f"poll://any@{GROUP}")
            single = await shapes.one_at_a_time(lambda name: calls.rpc(name, four_steps), seconds)
            many = await shapes.many_at_once(lambda name: calls.rpc(name, four_steps), seconds)
            steps = await shapes.step_rate(lambda count: calls.rpc("long", stepwise, count))
    return shapes.Figures(single=single, many=many, steps=steps)


if __name__ == "__main__":
    if sys.argv[1] == "worker":
        run_process(work(sys.argv[2]))
    else:
        shapes.tell(run_process(measure(sys.argv[1], float(sys.argv[2]))))
