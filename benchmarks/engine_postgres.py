"""How fast the engine commits to PostgreSQL, as a ratio to raw commits of the driver in the same run.

`python -m benchmarks.engine_postgres [URL] [--json]`: the shapes of `benchmarks.engine`, in process, on the
database of that URL (its tables are left there), else on a server of its own that waits for the disk.
"""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import nullcontext
from time import perf_counter
from uuid import uuid4

import asyncpg

from benchmarks.engine import OPERATIONS_OF_A_WORKFLOW, create, rate, workflow
from orchestrator.engine import Engine
from orchestrator.store import open_store
from tests.postgres_server import WHY_ABSENT, binaries, server


async def raw_commits(url: str, count: int = 2_000) -> float:
    """Commit single rows with the driver alone; commits a second."""
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE SCHEMA IF NOT EXISTS bench")
    await connection.execute("CREATE TABLE IF NOT EXISTS bench.rows (id TEXT PRIMARY KEY, data TEXT)")
    insert = await connection.prepare("INSERT INTO bench.rows VALUES ($1, $2)")
    run = uuid4().hex
    started = perf_counter()
    for number in range(count):
        await insert.fetch(f"{run}-{number}", "x" * 100)
    seconds = perf_counter() - started
    await connection.execute("DROP SCHEMA bench CASCADE")
    await connection.close()
    return count / seconds


async def measure(url: str) -> dict[str, float]:
    """Return operations a second for each shape, beside raw commits a second before and after."""
    found = {"raw commits, before": await raw_commits(url)}
    run = uuid4().hex[:8]
    async with Engine(open_store(url)) as engine:
        for clients, repeats in ((1, 1_000), (64, 200)):
            creates = await rate(engine, create, f"c{run}", clients, repeats)
            found[f"creates, {clients} at once"] = creates
            workflows = await rate(engine, workflow, f"w{run}", clients, repeats // 4)
            found[f"workflow operations, {clients} at once"] = workflows * OPERATIONS_OF_A_WORKFLOW
    found["raw commits, after"] = await raw_commits(url)
    return found


def main() -> None:
    """Measure and print."""
    urls = [argument for argument in sys.argv[1:] if argument.startswith("postgres")]
    if not urls and binaries() is None:
        print(WHY_ABSENT)
        return
    with nullcontext() if urls else server(durable=True) as own:
        found = asyncio.run(measure(urls[0] if own is None else own.url()))
    if "--json" in sys.argv[1:]:
        print(json.dumps({shape: round(value) for shape, value in found.items()}))
        return
    raw = (found["raw commits, before"] + found["raw commits, after"]) / 2
    for shape, value in found.items():
        print(f"{shape:36} {value:>9,.0f}/s  {value / raw:5.2f} x raw")


if __name__ == "__main__":
    main()
