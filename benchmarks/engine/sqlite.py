"""The engine embedded on SQLite (WAL, synchronous=FULL) against single-row commits of the driver alone."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

from benchmarks.engine.machine import Machine
from benchmarks.engine.report import Line, Size, against
from benchmarks.engine.shapes import LANES, SHAPES, WARM_UP, random_id, rate
from orchestrator.engine import Engine
from orchestrator.store import SqliteStore

PEER = "raw commits"
TOGETHER = f"raw rows, {LANES} a commit"
TARGETS = {1: 0.5, LANES: 4.0}


class RawCommits:
    """Commits single rows with the driver alone, under random ids as the engine's are here."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def rate(self, commits: int) -> float:
        """Commit so many rows; commits a second, once warmed up."""
        connection = self._connection
        for some in (WARM_UP, commits):
            started = perf_counter()
            for _ in range(some):
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("INSERT INTO rows VALUES (?, ?)", (random_id(), "x" * 100))
                connection.execute("COMMIT")
        return commits / (perf_counter() - started)

    def rate_together(self, commits: int) -> float:
        """Commit so many times LANES rows; rows a second. No batch of as many clients can be faster."""
        connection, started = self._connection, perf_counter()
        for _ in range(commits):
            connection.execute("BEGIN IMMEDIATE")
            rows = [(random_id(), "x" * 100) for _ in range(LANES)]
            connection.executemany("INSERT INTO rows VALUES (?, ?)", rows)
            connection.execute("COMMIT")
        return commits * LANES / (perf_counter() - started)


@contextmanager
def raw_commits(folder: Path) -> Iterator[RawCommits]:
    """Open a file of the driver's own in a folder."""
    connection = sqlite3.connect(folder / "raw.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE rows (id TEXT PRIMARY KEY, data TEXT)")
    try:
        yield RawCommits(connection)
    finally:
        connection.close()


async def measure(size: Size) -> list[Line]:
    """Measure each shape by one client and by many, raw commits before and after each slice."""
    slices = [(shape, clients) for clients in TARGETS for shape in SHAPES]
    pairs: dict[tuple[str, int], list[tuple[float, float]]] = {each: [] for each in slices}
    raw_rates, together = [], []
    machine = Machine()
    with tempfile.TemporaryDirectory() as name, raw_commits(Path(name)) as raw:
        async with Engine(SqliteStore(Path(name) / "engine.db")) as engine:
            for _ in range(size.pick_rounds()):
                rows = raw.rate_together(60)
                before = raw.rate(300)
                together.append((rows, before))
                for shape, clients in slices:
                    found, after = await machine.undisturbed(_slice, engine, raw, shape, clients)
                    pairs[shape, clients].append((found, (before + after) / 2))
                    raw_rates.append((after, after))
                    before = after
    lines = [
        against("sqlite", PEER, "itself", raw_rates),
        against("sqlite", TOGETHER, PEER, together),
    ]
    lines += [
        against("sqlite", f"{shape}, {clients} at once", PEER, found, at_least=TARGETS[clients])
        for (shape, clients), found in pairs.items()
    ]
    return [*lines, machine.line("sqlite")]


async def _slice(engine: Engine, raw: RawCommits, shape: str, clients: int) -> tuple[float, float]:
    return await rate(engine, shape, clients, 600 if clients == 1 else 3_840), raw.rate(300)
