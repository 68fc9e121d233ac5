"""What suspended workflows cost their worker: its memory before and after, in a process of its own.

    python -m benchmarks.worker_memory [--count 100000] [--json]

A server on a SQLite file, a worker and this client are three processes. Each workflow runs a step, asks for
a promise that nobody settles, and is suspended. The worker's memory is read when it is idle: once some
workflows more than it keeps rest, and again when all do.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from time import perf_counter

from benchmarks.engine.http import serving
from benchmarks.engine_sleepers import resident
from orchestrator import Context, Orchestrator
from orchestrator.client.verdict import Ending, Verdict
from orchestrator.protocol.records import PromiseRecord

COUNT = 100_000
WARM = 2_000
LANES = 64
MIB = 2**20
ADDED_MIB_MAX = 20
GROUP = "resting"
PATIENCE_S = 600
ANSWER = "suspended"


async def look(number: int) -> int:
    return number


async def rests(ctx: Context, number: int) -> None:
    await ctx.run(look, number)
    await ctx.promise()


class Suspended:
    """Counts the executions that were suspended."""

    def __init__(self) -> None:
        self.count = 0

    def tags_for(self, promise_id: str) -> dict[str, str]:
        """Give no tags."""
        return {}

    def on_execution_started(self, promise: PromiseRecord, version: int) -> None:
        """Count ends only."""

    def on_execution_ended(self, promise: PromiseRecord, version: int, verdict: Verdict) -> None:
        """Count it if it was suspended."""
        self.count += verdict.ending is Ending.SUSPENDED


def application(app: Orchestrator) -> Orchestrator:
    """Register the workflow and its step."""
    app.register(look)
    app.register(rests)
    return app


async def be_worker(url: str) -> None:
    """Work until standard input ends; answer each line with the suspensions so far and the resident bytes."""
    app, suspended = application(Orchestrator.remote(url, group=GROUP)), Suspended()
    app.observe_executions(suspended)
    async with app:
        while await asyncio.to_thread(sys.stdin.readline):
            gc.collect()
            sys.stdout.write(f"{ANSWER} {suspended.count} {resident()}\n")
            sys.stdout.flush()


async def _ask(worker: Process) -> tuple[int, int]:
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.write(b"\n")
    while line := await asyncio.wait_for(worker.stdout.readline(), PATIENCE_S):
        match line.decode().split():  # among the lines of its log
            case [answer, count, resident_bytes] if answer == ANSWER:
                return int(count), int(resident_bytes)
    raise RuntimeError("the worker has ended")


async def _suspend(app: Orchestrator, worker: Process, first: int, end: int) -> int:
    """Have workflows come to rest; return the bytes of the worker when they have."""
    numbers = iter(range(first, end))
    invoked = app.options(target=f"poll://any@{GROUP}")

    async def lane() -> None:
        for number in numbers:
            await invoked.begin_rpc(f"rests-{number}", rests, number)

    await asyncio.gather(*(lane() for _ in range(LANES)))
    while True:
        count, resident_bytes = await _ask(worker)
        if count >= end:
            return resident_bytes
        await asyncio.sleep(1)


async def measure(count: int) -> dict[str, float]:
    """Return MiB before, MiB added by `count` suspended workflows, and the seconds that it took."""
    begun = perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        async with serving(f"sqlite:///{Path(folder) / 'memory.db'}") as url:
            command = (sys.executable, "-m", "benchmarks.worker_memory", "--worker", url)
            worker = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
            try:
                async with application(Orchestrator.remote(url, group="client", worker=False)) as app:
                    before = await _suspend(app, worker, 0, WARM)
                    after = await _suspend(app, worker, WARM, WARM + count)
            finally:
                worker.terminate()
                await worker.wait()
    return {
        "count": count,
        "idle_mib": before / MIB,
        "added_mib": (after - before) / MIB,
        "seconds": perf_counter() - begun,
    }


def main() -> None:
    """Measure and print; be the worker if told so."""
    parser = argparse.ArgumentParser(description="What suspended workflows cost their worker in memory.")
    parser.add_argument("--count", type=int, default=COUNT, help="suspended workflows")
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    parser.add_argument("--worker", metavar="URL", help="be the worker of this server")
    arguments = parser.parse_args()
    if arguments.worker:
        asyncio.run(be_worker(arguments.worker))
        return
    found = asyncio.run(measure(arguments.count))
    if arguments.json:
        print(json.dumps(found))
        return
    verdict = "" if found["added_mib"] <= ADDED_MIB_MAX else f"  MORE THAN {ADDED_MIB_MAX} MiB"
    print(
        f"{found['count']:,} suspended workflows: worker {found['idle_mib']:.1f} MiB idle, "
        f"{found['added_mib']:+.1f} MiB, {found['seconds']:.0f} s{verdict}"
    )


if __name__ == "__main__":
    main()
