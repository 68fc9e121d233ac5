"""Let promises sleep: `python -m benchmarks.engine_sleepers FILE COUNT SECONDS` prints queries, bytes added.

A process of its own, so that its memory tells of nothing else. Queries are counted once all tasks have been
announced in vain for the first time, which is hurried. Half of the sleepers are timers of suspended
workflows, half are tasks of a group for which nobody listens.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from pathlib import Path

from orchestrator.domain import tags as tag
from orchestrator.engine import Engine, EngineSettings
from orchestrator.protocol import commands as c
from orchestrator.store import SqliteStore

CHUNK = 200
TICK_PAGE = 500
FAR = 2**50


def resident() -> int:
    """Return the bytes of this process that are in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE")


def sleeper(number: int) -> c.PromiseCreate:
    """Return a promise that sleeps."""
    tags = {tag.TIMER: tag.TRUE} if number % 2 else {tag.TARGET: "poll://any@nobody"}
    return c.PromiseCreate(id=f"sleeper-{number}", timeout_at=FAR + number, tags=tags)


async def sleep(path: Path, count: int, seconds: float) -> None:
    """Create them, look at the memory, then at the queries of some idle seconds."""
    store = SqliteStore(path)
    settings = EngineSettings(retry_timeout_ms=1_000, tick_page=TICK_PAGE)
    async with Engine(store, settings=settings) as engine:
        for number in range(1_000):
            await engine.handle(c.PromiseCreate(id=f"warm-{number}", timeout_at=FAR))
        gc.collect()
        before = resident()
        for start in range(0, count, CHUNK):
            numbers = range(start, min(start + CHUNK, count))
            await asyncio.gather(*(engine.handle(sleeper(number)) for number in numbers))
        gc.collect()
        added = resident() - before
        queries = 0

        def traced(_: str) -> None:
            nonlocal queries
            queries += 1

        assert store._connection is not None
        store._connection.set_trace_callback(traced)
        while seconds:  # until all have been announced in vain
            await asyncio.sleep(1)
            queries, last = 0, queries
            if not last and engine.statistics.ticks > count // 2 // TICK_PAGE:
                break
        queries = 0
        await asyncio.sleep(seconds)
        store._connection.set_trace_callback(None)
    print(queries, added)


if __name__ == "__main__":
    asyncio.run(sleep(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
