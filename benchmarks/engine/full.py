"""A store that holds a million settled promises against an empty one, in turns."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from benchmarks.engine.machine import Machine
from benchmarks.engine.report import Line, Size, against
from benchmarks.engine.shapes import FAR, LANES, SHAPES, STEPS, random_id, rate
from orchestrator.domain import tags as tag
from orchestrator.domain.promise import EMPTY, PromiseRecord, PromiseState, Value
from orchestrator.domain.task import Task, TaskState
from orchestrator.engine import Engine
from orchestrator.store import SqliteStore
from orchestrator.store import statements as sql
from orchestrator.store.rows import promise_row, task_row

MILLION, QUICK = 1_000_000, 100_000
TARGETS = {1: 0.8, LANES: 0.5}
CHUNK = 10_000


def _workflow(root: str) -> Iterator[PromiseRecord]:
    tags = {tag.TARGET: "poll://any@bench", tag.BRANCH: root}
    yield _settled(root, tags)
    for number in range(STEPS):
        tags = {tag.ORIGIN: root, tag.BRANCH: root, tag.PARENT: root, tag.SCOPE: tag.SCOPE_LOCAL}
        yield _settled(f"{root}:{number}", tags)


def _settled(promise_id: str, tags: dict[str, str]) -> PromiseRecord:
    return PromiseRecord(
        id=promise_id,
        state=PromiseState.RESOLVED,
        param=EMPTY,
        value=Value(data="x" * 100),
        tags=tags,
        timeout_at=FAR,
        created_at=1,
        settled_at=2,
    )


async def fill(path: Path, promises: int) -> None:
    """Fill a new file with so many promises of workflows that are over."""
    store = SqliteStore(path)
    await store.open()
    await store.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -262144")
        connection.execute("BEGIN")
        for _ in range(promises // (STEPS + 1) // CHUNK + 1):
            roots = sorted(random_id() for _ in range(CHUNK))
            connection.executemany(
                sql.INSERT_PROMISE,
                # Steps stand in no index, as the engine would have added them.
                (promise_row(each, by_id=each.id != root) for root in roots for each in _workflow(root)),
            )
            connection.executemany(sql.PUT_TASK, (_task_row(root) for root in roots))
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    # It has been there for long: what the disk has yet to take of it is not the measured one's.
    with path.open("rb") as file:
        os.fsync(file)


def _task_row(root: str) -> tuple[object, ...]:
    return task_row(Task(id=root, state=TaskState.FULFILLED, version=1, target="poll://any@bench"))


async def measure(size: Size) -> list[Line]:
    """Measure each shape on both, in turns."""
    held = QUICK if size.quick else MILLION
    slices = [(shape, clients) for clients in TARGETS for shape in SHAPES]
    pairs: dict[tuple[str, int], list[tuple[float, float]]] = {each: [] for each in slices}
    machine = Machine()
    with tempfile.TemporaryDirectory() as name:
        await fill(Path(name) / "full.db", held)
        full, empty = (
            Engine(SqliteStore(Path(name) / "full.db")),
            Engine(SqliteStore(Path(name) / "empty.db")),
        )
        async with full, empty:
            for engine in (full, empty):
                for shape, clients in slices:
                    await rate(engine, shape, clients, 1_000)
            for _ in range(size.pick_rounds()):
                for shape, clients in slices:
                    found, beside = await machine.undisturbed(_slice, full, empty, shape, clients)
                    pairs[shape, clients].append((found, beside))
    lines = [
        against(
            "full", f"{shape}, {clients} at once, {held:,} held", "empty", found, at_least=TARGETS[clients]
        )
        for (shape, clients), found in pairs.items()
    ]
    return [*lines, machine.line("full")]


async def _slice(full: Engine, empty: Engine, shape: str, clients: int) -> tuple[float, float]:
    operations = 600 if clients == 1 else 3_840
    beside = await rate(empty, shape, clients, operations)
    return await rate(full, shape, clients, operations), beside
