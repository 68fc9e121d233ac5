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
from typing import Any, Self, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import DBAPIError

from listener.errors import CursorStoreError
from listener.settings import Source
from listener.store.port import Cursor, OpenCounts, OpenProposal, Outcome
from listener.store.schema import APPLICATION_ID, SCHEMA_VERSION, cursors, metadata, open_proposals

BUSY_TIMEOUT_S = 10.0
DUE_AT_ONCE = -1
# SQLite's integers have 64 bits; a deadline beyond them is never due by itself, and is read again when it is.
_DUE_AFTER_MAX = 2**63 - 1
_REASON_LENGTH_MAX = 500
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
        return await self._run(lambda connection: _read_cursor(connection, source))

    async def advance(
        self, source: Source, cursor: Cursor, created: Sequence[str], canceled: Sequence[str]
    ) -> None:
        """Move the cursor, open the created proposals and mark the canceled ones due, all or nothing."""

        def write(connection: sa.Connection) -> None:
            _move(connection, source, cursor)
            _open(connection, source, created)
            _mark_due(connection, source, canceled)

        await self._run(write)

    async def due(self, source: Source, clock: int, now_ms: int, limit: int) -> list[OpenProposal]:
        """Return open proposals to look at: never read, or past their deadline, or parked until now."""
        table = open_proposals
        query = (
            sa.select(table.c.proposal_id, table.c.failures)
            .where(_of(table, source), table.c.due_after < clock, table.c.retry_at_ms <= now_ms)
            .order_by(table.c.due_after, table.c.proposal_id)
            .limit(limit)
        )
        rows = await self._run(lambda connection: connection.execute(query).all())
        return [OpenProposal(proposal_id=row.proposal_id, failures=row.failures) for row in rows]

    async def record(self, source: Source, outcome: Outcome) -> None:
        """Note what a look at open proposals brought, all or nothing."""

        def write(connection: sa.Connection) -> None:
            _forget(connection, source, outcome.ended)
            _set_deadlines(connection, source, outcome)
            _park(connection, source, outcome)

        await self._run(write)

    async def counts(self, source: Source) -> OpenCounts:
        """Count the open proposals."""
        table = open_proposals
        parked = sa.func.count(sa.case((table.c.failures > 0, 1)))
        query = sa.select(sa.func.count(), parked).select_from(table).where(_of(table, source))
        row = await self._run(lambda connection: connection.execute(query).one())
        return OpenCounts(open=row[0], parked=row[1])

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


def _of(table: sa.Table, source: Source) -> sa.ColumnElement[bool]:
    return sa.and_(table.c.chain_id == source.chain_id, table.c.dao == source.dao)


def _key(source: Source) -> dict[str, Any]:
    return {"chain_id": source.chain_id, "dao": source.dao}


def _read_cursor(connection: sa.Connection, source: Source) -> Cursor | None:
    columns = (cursors.c.block_number, cursors.c.block_hash, cursors.c.first_block)
    row = connection.execute(sa.select(*columns).where(_of(cursors, source))).one_or_none()
    if row is None:
        return None
    return Cursor(block_number=row.block_number, block_hash=row.block_hash, first_block=row.first_block)


def _move(connection: sa.Connection, source: Source, cursor: Cursor) -> None:
    place = {"block_number": cursor.block_number, "block_hash": cursor.block_hash}
    statement = insert(cursors).values(**_key(source), **place, first_block=cursor.first_block)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["chain_id", "dao"],
            set_=place,
            where=cursors.c.block_number < statement.excluded.block_number,
        )
    )


def _open(connection: sa.Connection, source: Source, proposal_ids: Sequence[str]) -> None:
    fresh = {"due_after": DUE_AT_ONCE, "failures": 0, "retry_at_ms": 0}
    rows = [{**_key(source), **fresh, "proposal_id": each} for each in proposal_ids]
    if rows:
        connection.execute(insert(open_proposals).on_conflict_do_nothing(), rows)


def _mark_due(connection: sa.Connection, source: Source, proposal_ids: Sequence[str]) -> None:
    statement = (
        sa.update(open_proposals)
        .where(_of(open_proposals, source), open_proposals.c.proposal_id == sa.bindparam("wanted"))
        .values(due_after=DUE_AT_ONCE)
    )
    if proposal_ids:
        connection.execute(statement, [{"wanted": each} for each in proposal_ids])


def _forget(connection: sa.Connection, source: Source, proposal_ids: Sequence[str]) -> None:
    statement = sa.delete(open_proposals).where(
        _of(open_proposals, source), open_proposals.c.proposal_id == sa.bindparam("wanted")
    )
    if proposal_ids:
        connection.execute(statement, [{"wanted": each} for each in proposal_ids])


def _set_deadlines(connection: sa.Connection, source: Source, outcome: Outcome) -> None:
    statement = (
        sa.update(open_proposals)
        .where(_of(open_proposals, source), open_proposals.c.proposal_id == sa.bindparam("wanted"))
        .values(due_after=sa.bindparam("deadline"), failures=0, retry_at_ms=0, parked_reason=None)
    )
    rows = [{"wanted": each, "deadline": min(until, _DUE_AFTER_MAX)} for each, until in outcome.deadlines]
    if rows:
        connection.execute(statement, rows)


def _park(connection: sa.Connection, source: Source, outcome: Outcome) -> None:
    statement = (
        sa.update(open_proposals)
        .where(_of(open_proposals, source), open_proposals.c.proposal_id == sa.bindparam("wanted"))
        .values(
            failures=open_proposals.c.failures + 1,
            retry_at_ms=sa.bindparam("until"),
            parked_reason=sa.bindparam("why"),
        )
    )
    rows = [
        {"wanted": each.proposal_id, "until": each.retry_at_ms, "why": each.reason[:_REASON_LENGTH_MAX]}
        for each in outcome.parked
    ]
    if rows:
        connection.execute(statement, rows)
