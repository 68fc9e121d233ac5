"""How fast the engine commits, as a ratio to raw SQLite commits measured in the same run.

`python -m benchmarks.engine [--json]`: plain creates and four-step workflows, one client and 64 at once,
in process, on a SQLite file with WAL and synchronous=FULL.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import perf_counter

from orchestrator.domain import tags as tag
from orchestrator.domain.promise import PromiseState, Value
from orchestrator.engine import Engine
from orchestrator.protocol import commands as c
from orchestrator.store import SqliteStore

FAR = 2**50
STEPS = 4
OPERATIONS_OF_A_WORKFLOW = STEPS + 2


def raw_commits(folder: Path, count: int = 3_000) -> float:
    """Commit single rows with the driver alone; commits a second."""
    connection = sqlite3.connect(folder / "raw.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE IF NOT EXISTS rows (id TEXT PRIMARY KEY, data TEXT)")
    connection.execute("DELETE FROM rows")
    started = perf_counter()
    for number in range(count):
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO rows VALUES (?, ?)", (f"row-{number}", "x" * 100))
        connection.execute("COMMIT")
    seconds = perf_counter() - started
    connection.close()
    return count / seconds


async def create(engine: Engine, promise_id: str) -> None:
    """Create one promise."""
    await engine.handle(c.PromiseCreate(id=promise_id, timeout_at=FAR))


async def workflow(engine: Engine, root: str) -> None:
    """Claim a task, record its steps, fulfil it."""
    tags = {tag.TARGET: "poll://any@bench", tag.BRANCH: root}
    action = c.PromiseCreate(id=root, timeout_at=FAR, tags=tags)
    await engine.handle(c.TaskCreate(pid="bench", ttl=60_000, action=action))
    for number in range(STEPS):
        step = c.PromiseRecordStep(
            id=f"{root}:{number}",
            timeout_at=FAR,
            created_at=1,
            state=PromiseState.RESOLVED,
            value=Value(data="x" * 100),
            tags={tag.ORIGIN: root, tag.BRANCH: root, tag.PARENT: root, tag.SCOPE: tag.SCOPE_LOCAL},
        )
        await engine.handle(c.TaskFence(id=root, version=1, action=step))
    settle = c.PromiseSettle(id=root, state=PromiseState.RESOLVED)
    await engine.handle(c.TaskFulfill(id=root, version=1, action=settle))


Unit = Callable[[Engine, str], Awaitable[None]]


async def rate(engine: Engine, unit: Unit, name: str, clients: int, repeats: int) -> float:
    """Run `unit` so often on so many clients at once; units a second."""

    async def client(lane: int) -> None:
        for number in range(repeats):
            await unit(engine, f"{name}-{clients}-{lane}-{number}")

    started = perf_counter()
    await asyncio.gather(*(client(lane) for lane in range(clients)))
    return clients * repeats / (perf_counter() - started)


async def measure() -> dict[str, float]:
    """Return operations a second for each shape, beside raw commits a second before and after."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = {"raw commits, before": raw_commits(folder)}
        async with Engine(SqliteStore(folder / "engine.db")) as engine:
            for clients, repeats in ((1, 2_000), (64, 200)):
                found[f"creates, {clients} at once"] = await rate(engine, create, "c", clients, repeats)
                workflows = await rate(engine, workflow, "w", clients, repeats // 4)
                found[f"workflow operations, {clients} at once"] = workflows * OPERATIONS_OF_A_WORKFLOW
        found["raw commits, after"] = raw_commits(folder)
    return found


def main() -> None:
    """Measure and print."""
    found = asyncio.run(measure())
    if "--json" in sys.argv[1:]:
        print(json.dumps({shape: round(value) for shape, value in found.items()}))
        return
    raw = (found["raw commits, before"] + found["raw commits, after"]) / 2
    for shape, value in found.items():
        print(f"{shape:36} {value:>9,.0f}/s  {value / raw:5.2f} x raw")


if __name__ == "__main__":
    main()
