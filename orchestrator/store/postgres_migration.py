"""Brings a PostgreSQL database to the newest revision; servers that start together take turns.

The revisions are those of SQLite. SQLAlchemy and Alembic are needed only when there is something to do.
"""

from __future__ import annotations

import sqlalchemy as sa

from orchestrator.store.errors import StoreError, driver_error
from orchestrator.store.migration import check_revision, foreign_error, upgrade
from orchestrator.store.postgres_connections import Connection, Connections
from orchestrator.store.postgres_faults import FAULTS, opening_error
from orchestrator.store.postgres_locks import MIGRATION

_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
_UNPRIVILEGED = "42501"


async def bring_up_to_date(connections: Connections) -> None:
    """Upgrade the schema if it is due. Raises StoreError."""
    connection = await connections.connect()
    try:
        due = check_revision(await revision_of(connection, connections.place), connections.place)
    except FAULTS as error:
        raise opening_error(connections.place, error) from error
    finally:
        connection.terminate()
    if due:
        await _upgrade(connections)


async def revision_of(connection: Connection, place: str) -> str | None:
    """Return the revision of a database; None if it is new. Raises StoreError for a foreign one."""
    names = {row[0] for row in await connection.fetch(_TABLES)}
    if "alembic_version" in names:
        revision = await connection.fetchval("SELECT version_num FROM alembic_version")
        if revision is not None:
            return str(revision)
    if names - {"alembic_version"}:
        raise foreign_error(place)
    return None


async def _upgrade(connections: Connections) -> None:
    try:
        from sqlalchemy.ext.asyncio import create_async_engine  # noqa: PLC0415  # slow, and seldom needed

        engine = create_async_engine(
            "postgresql+asyncpg://", poolclass=sa.pool.NullPool, async_creator=connections.connect
        )
    except ImportError as error:
        raise driver_error() from error
    try:
        async with engine.begin() as connection:
            await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(MIGRATION)))
            await connection.run_sync(_upgrade_if_due, connections.place)
    except (sa.exc.DBAPIError, *FAULTS) as error:
        raise _error(connections.place, error) from error
    finally:
        await engine.dispose()


def _upgrade_if_due(connection: sa.Connection, place: str) -> None:
    # Another server may have done it while this one waited for its turn.
    names = set(sa.inspect(connection).get_table_names())
    revision = None
    if "alembic_version" in names:
        revision = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
    if check_revision(revision, place):
        upgrade(connection)


def _error(place: str, error: BaseException) -> StoreError:
    cause = error.__cause__.__cause__ if error.__cause__ is not None else None
    told = cause or error
    if getattr(told, "sqlstate", None) == _UNPRIVILEGED:
        return StoreError(
            f"store {place}: {told}; its schema must be upgraded: grant CREATE on the schema, or start once "
            "with a user who has it"
        )
    return opening_error(place, told)
