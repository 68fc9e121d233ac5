"""The engine on PostgreSQL against single-row commits by its driver alone."""

from __future__ import annotations

import sys
from time import perf_counter

import asyncpg

from benchmarks.engine.machine import Machine
from benchmarks.engine.report import Line, Size, against
from benchmarks.engine.shapes import LANES, SHAPES, WARM_UP, random_id, rate
from orchestrator.engine import Engine
from orchestrator.store import open_store
from tests.postgres_server import WHY_ABSENT, binaries, server

PEER = "raw commits"
TOGETHER = f"raw rows, {LANES} a commit"
TARGETS = {1: 0.5, LANES: 4.0}


class RawCommits:
    """Commits single rows with the driver alone, over the same socket as the engine."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def rate(self, commits: int) -> float:
        """Commit so many rows; commits a second, once warmed up."""
        insert = await self._connection.prepare("INSERT INTO bench.rows VALUES ($1, $2)")
        for some in (WARM_UP, commits):
            started = perf_counter()
            for _ in range(some):
                await insert.fetch(random_id(), "x" * 100)
        return commits / (perf_counter() - started)

    async def rate_together(self, commits: int) -> float:
        """Commit so many times LANES rows, as one array a column; rows a second."""
        insert = await self._connection.prepare(
            "INSERT INTO bench.rows SELECT * FROM unnest($1::text[], $2::text[])"
        )
        started = perf_counter()
        for _ in range(commits):
            await insert.fetch([random_id() for _ in range(LANES)], ["x" * 100] * LANES)
        return commits * LANES / (perf_counter() - started)


async def measure(size: Size) -> list[Line]:
    """Measure each shape by one client and by many, on the given database or a server that waits for disk."""
    if size.postgres is None and binaries() is None:
        print(WHY_ABSENT, file=sys.stderr)
        return []
    if size.postgres is not None:
        return await _measure(size, size.postgres)
    with server(durable=True) as own:
        return await _measure(size, own.url())


async def _measure(size: Size, url: str) -> list[Line]:
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE SCHEMA IF NOT EXISTS bench")
    await connection.execute("CREATE TABLE IF NOT EXISTS bench.rows (id TEXT PRIMARY KEY, data TEXT)")
    raw = RawCommits(connection)
    slices = [(shape, clients) for clients in TARGETS for shape in SHAPES]
    pairs: dict[tuple[str, int], list[tuple[float, float]]] = {each: [] for each in slices}
    raw_rates, together = [], []
    machine = Machine()
    async with Engine(open_store(url)) as engine:
        for _ in range(size.pick_rounds()):
            rows = await raw.rate_together(60)
            before = await raw.rate(300)
            together.append((rows, before))
            for shape, clients in slices:
                found, after = await machine.undisturbed(_slice, engine, raw, shape, clients)
                pairs[shape, clients].append((found, (before + after) / 2))
                raw_rates.append((after, after))
                before = after
    await connection.execute("DROP SCHEMA bench CASCADE")
    await connection.close()
    lines = [
        against("postgres", PEER, "itself", raw_rates),
        against("postgres", TOGETHER, PEER, together),
    ]
    lines += [
        against("postgres", f"{shape}, {clients} at once", PEER, found, at_least=TARGETS[clients])
        for (shape, clients), found in pairs.items()
    ]
    return [*lines, machine.line("postgres")]


async def _slice(engine: Engine, raw: RawCommits, shape: str, clients: int) -> tuple[float, float]:
    return await rate(engine, shape, clients, 300 if clients == 1 else 3_840), await raw.rate(300)
