"""The listener's store in an SQLite file of its own.

Written in threads, so that the event loop never waits for a disk. WAL with synchronous=NORMAL: after a power
cut the last moves of the cursor may be lost, which costs a re-scan and nothing else.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from listener.errors import CursorStoreError
from listener.incidents import Decision, Incident, Report
from listener.settings import Source
from listener.store import incident_rows, statements
from listener.store.port import (
    Checkpoint,
    Cursor,
    Dispatched,
    Implementation,
    OpenCounts,
    OpenProposal,
    Outcome,
)
from listener.store.schema import (
    APPLICATION_ID,
    SCHEMA_VERSION,
    metadata,
    open_proposals,
    upgrade_from_2,
)

BUSY_TIMEOUT_S = 10.0
_T = TypeVar("_T")


class SqliteCursorStore:
    """A `CursorStore` in one file, which several listeners may share. Make it with `open`."""

    def __init__(self, path: Path, engine: sa.Engine) -> None:
        self._path = path
        self._engine = engine

    @classmethod
    async def open(cls, path: str | Path, *, busy_timeout_s: float = BUSY_TIMEOUT_S) -> Self:
        """Open or create the file; `path` may be an `sqlite:///FILE` URL. Raises CursorStoreError."""
        file = Path(str(path).removeprefix("sqlite:///"))
        if not file.parent.is_dir():
            raise CursorStoreError(str(file), f"the folder {file.parent} does not exist: create it")
        engine = sa.create_engine(
            sa.URL.create("sqlite", database=str(file)), connect_args={"timeout": busy_timeout_s}
        )
        sa.event.listen(engine, "connect", _configure)
        sa.event.listen(engine, "begin", _begin_immediate)
        store = cls(file, engine)
        try:
            await asyncio.to_thread(store._prepare)
        except BaseException:
            engine.dispose()
            raise
        return store

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the file."""
        await asyncio.to_thread(self._engine.dispose)

    async def cursor(self, source: Source) -> Cursor | None:
        """Return a source's cursor, None before its first range."""
        return await self._run(lambda connection: statements.read_cursor(connection, source))

    async def cursors(self) -> list[tuple[Source, Cursor]]:
        """Return all sources that have a cursor, with it."""
        return await self._run(statements.read_cursors)

    async def advance(
        self,
        source: Source,
        cursor: Cursor,
        created: Sequence[str],
        canceled: Sequence[str],
        *,
        after: int | None = None,
        dispatched: Sequence[Dispatched] = (),
    ) -> None:
        """Move the cursor, open the created proposals and mark the canceled ones due, all or nothing."""

        def write(connection: sa.Connection) -> None:
            statements.move(connection, source, cursor, after)
            statements.note_dispatched(connection, source, dispatched)
            statements.open_votes(connection, source, created)
            statements.mark_due(connection, source, canceled)

        await self._run(write)

    async def due(self, source: Source, clock: int, now_ms: int, limit: int) -> list[OpenProposal]:
        """Return open proposals to look at: never read, or past their deadline, or parked until now."""
        table = open_proposals
        query = (
            sa.select(table.c.proposal_id, table.c.failures)
            .where(statements.of(table, source), table.c.due_after < clock, table.c.retry_at_ms <= now_ms)
            .order_by(table.c.due_after, table.c.proposal_id)
            .limit(limit)
        )
        rows = await self._run(lambda connection: connection.execute(query).all())
        return [OpenProposal(proposal_id=row.proposal_id, failures=row.failures) for row in rows]

    async def record(self, source: Source, outcome: Outcome) -> None:
        """Note what a look at open proposals brought, all or nothing."""

        def write(connection: sa.Connection) -> None:
            statements.forget(connection, source, outcome.ended)
            statements.set_deadlines(connection, source, outcome)
            statements.park(connection, source, outcome)

        await self._run(write)

    async def counts(self, source: Source) -> OpenCounts:
        """Count the open proposals."""
        table = open_proposals
        parked = sa.func.count(sa.case((table.c.failures > 0, 1)))
        query = sa.select(sa.func.count(), parked).select_from(table).where(statements.of(table, source))
        row = await self._run(lambda connection: connection.execute(query).one())
        return OpenCounts(open=row[0], parked=row[1])

    async def checkpoints(self, source: Source) -> list[Checkpoint]:
        """Return where the cursor stood lately, the newest first."""
        return await self._run(lambda connection: statements.read_checkpoints(connection, source))

    async def dispatched_after(self, source: Source, block_number: int) -> list[Dispatched]:
        """Return what was dispatched lately for blocks after this one."""
        return await self._run(
            lambda connection: statements.read_dispatched(connection, source, block_number)
        )

    async def rewind(self, source: Source, cursor: Cursor | None) -> None:
        """Set the cursor back, or forget it."""
        await self._run(lambda connection: statements.set_back(connection, source, cursor))

    async def open_incident(self, source: Source, report: Report, now_ms: int) -> Incident:
        """Record what stops a source, once."""
        return await self._run(lambda connection: incident_rows.record(connection, source, report, now_ms))

    async def incidents(self, source: Source | None = None, *, open_only: bool = True) -> list[Incident]:
        """Return the incidents of a source, or of all, the oldest first."""
        return await self._run(lambda connection: incident_rows.read(connection, source, open_only=open_only))

    async def decide(self, incident_id: int, decision: Decision, now_ms: int) -> Incident:
        """Carry out an operator's decision and close the incident. Raises IncidentError."""
        return await self._run(
            lambda connection: incident_rows.decide(connection, incident_id, decision, now_ms)
        )

    async def skipped(self, source: Source) -> frozenset[tuple[bytes, int]]:
        """Return the logs to pass over."""
        return await self._run(lambda connection: incident_rows.read_skipped(connection, source))

    async def implementation(self, source: Source) -> Implementation | None:
        """Return what stood at the source's address at the last look."""
        return await self._run(lambda connection: incident_rows.read_implementation(connection, source))

    async def note_implementation(self, source: Source, seen: Implementation) -> None:
        """Note what stands at the source's address now."""
        await self._run(lambda connection: incident_rows.note_implementation(connection, source, seen))

    async def _run(self, work: Callable[[sa.Connection], _T]) -> _T:
        return await asyncio.to_thread(self._transact, work)

    def _transact(self, work: Callable[[sa.Connection], _T]) -> _T:
        with self._explained(), self._engine.begin() as connection:
            return work(connection)

    def _prepare(self) -> None:
        with self._explained(), self._engine.begin() as connection:
            application_id = connection.exec_driver_sql("PRAGMA application_id").scalar_one()
            version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
            if (application_id, version) == (APPLICATION_ID, SCHEMA_VERSION):
                return
            if (application_id, version) == (APPLICATION_ID, SCHEMA_VERSION - 1):
                upgrade_from_2(connection)
                connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")
                return
            if application_id == APPLICATION_ID or sa.inspect(connection).get_table_names():
                raise CursorStoreError(
                    str(self._path), "this is no cursor file of this version: name another file, or remove it"
                )
            metadata.create_all(connection)
            connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise CursorStoreError(str(self._path), _advice(str(error.orig))) from error


def _configure(connection: sqlite3.Connection, _: object) -> None:
    # SQLAlchemy opens the transactions itself (see _begin_immediate): sqlite3's own would upgrade a read
    # to a write in mid-transaction, where SQLite answers "locked" without waiting.
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")


def _begin_immediate(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _advice(reason: str) -> str:
    if "locked" in reason:
        return "another process has locked it for too long: end that process, or give this one its own file"
    if "readonly" in reason or "unable to open" in reason:
        return f"{reason}: check that it is a file which this user may read and write, in a writable folder"
    if "not a database" in reason or "malformed" in reason:
        return (
            f"{reason}: name another file, or remove it: the listener then scans again from the start block"
        )
    return reason
