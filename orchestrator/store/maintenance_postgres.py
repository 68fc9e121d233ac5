"""Upgrading, checking and vacuuming a PostgreSQL store, beside whoever uses it.

The connections are the store's own, freed of what protects the service from slow statements: a check reads
everything, and may take as long as it needs.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from orchestrator.store.errors import StoreError
from orchestrator.store.maintenance_checks import CHECKS, POSTGRES, Finding, count_of, examples_of
from orchestrator.store.migration import check_revision
from orchestrator.store.postgres_connections import Connection, Connections
from orchestrator.store.postgres_faults import FAULTS, running_error
from orchestrator.store.postgres_migration import bring_up_to_date, revision_of
from orchestrator.store.schema import HEAD, metadata

_SLOW_S = 24 * 3600.0
_UNBOUNDED = """
    SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; SET plan_cache_mode = auto;
    SET enable_seqscan = on; SET enable_hashjoin = on; SET enable_mergejoin = on
"""
_SIZE = "SELECT sum(pg_total_relation_size(c.oid))::bigint FROM pg_class c WHERE c.relname = ANY($1::text[])"


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[tuple[Connection, str]]:
    """Hold a connection without time limits; yields it with the name of its database."""
    connections = Connections(url, 1)
    connection = await connections.connect()
    try:
        await connection.execute(_UNBOUNDED)
        yield connection, connections.place
    except FAULTS as error:
        raise running_error(connections.place, error) from error
    finally:
        connection.terminate()


async def upgrade(url: str) -> str | None:
    """Bring the schema to HEAD; return the revision before. Raises StoreError."""
    async with _connected(url) as (connection, place):
        before = await revision_of(connection, place)
    await bring_up_to_date(Connections(url, 1))
    return before


async def check(url: str) -> list[Finding]:
    """Carry out every check on one snapshot. Raises StoreError."""
    async with _connected(url) as (connection, place):
        await _check_revision(connection, place)
        findings = []
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            for each in CHECKS:
                sql = each.sql(POSTGRES)
                faults = await connection.fetchval(count_of(sql), timeout=_SLOW_S)
                rows = await connection.fetch(examples_of(sql), timeout=_SLOW_S) if faults else []
                found = tuple(str(row[0]) for row in rows)
                findings.append(
                    Finding(check=each.name, invariant=each.invariant, faults=faults, examples=found)
                )
        return findings


async def compact(url: str) -> tuple[int, int]:
    """Vacuum and analyse the tables; return the size in bytes before and after. Raises StoreError."""
    async with _connected(url) as (connection, place):
        await _check_revision(connection, place)
        tables = list(metadata.tables)
        before = await connection.fetchval(_SIZE, tables)
        for table in tables:
            await connection.execute(f"VACUUM (ANALYZE) {table}", timeout=_SLOW_S)
        return before or 0, await connection.fetchval(_SIZE, tables) or 0


async def _check_revision(connection: Connection, place: str) -> None:
    if check_revision(await revision_of(connection, place), place):
        raise StoreError(f"store {place} is not of revision {HEAD}; run dao-scorer db upgrade first")
