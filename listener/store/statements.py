"""What is said to the database about cursors and open proposals, within a transaction of its caller."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from listener.settings import Source
from listener.store.port import Checkpoint, Cursor, Dispatched, Outcome
from listener.store.schema import checkpoints, cursors, dispatched, open_proposals

DUE_AT_ONCE = -1
CHECKPOINTS_KEPT = 512
DISPATCHED_KEPT = 10_000
# SQLite's integers have 64 bits; a deadline beyond them is never due by itself, and is read again when it is.
_DUE_AFTER_MAX = 2**63 - 1
_REASON_LENGTH_MAX = 500
_KEY_COLUMNS = ["chain_id", "dao", "name"]


def of(table: sa.Table, source: Source) -> sa.ColumnElement[bool]:
    """Return the condition that a row is the source's."""
    return sa.and_(
        table.c.chain_id == source.chain_id, table.c.dao == source.dao, table.c.name == source.name
    )


def key(source: Source) -> dict[str, Any]:
    """Return the columns that make a row the source's."""
    return {"chain_id": source.chain_id, "dao": source.dao, "name": source.name}


def read_cursor(connection: sa.Connection, source: Source) -> Cursor | None:
    """Return where a source stands."""
    columns = (cursors.c.block_number, cursors.c.block_hash, cursors.c.first_block)
    row = connection.execute(sa.select(*columns).where(of(cursors, source))).one_or_none()
    if row is None:
        return None
    return Cursor(block_number=row.block_number, block_hash=row.block_hash, first_block=row.first_block)


def read_cursors(connection: sa.Connection) -> list[tuple[Source, Cursor]]:
    """Return where all sources stand, by chain, contract and name."""
    rows = connection.execute(sa.select(cursors).order_by(cursors.c.chain_id, cursors.c.dao, cursors.c.name))
    return [
        (
            Source(chain_id=row.chain_id, dao=row.dao, name=row.name),
            Cursor(block_number=row.block_number, block_hash=row.block_hash, first_block=row.first_block),
        )
        for row in rows
    ]


def move(connection: sa.Connection, source: Source, cursor: Cursor, after: int | None) -> None:
    """Move a cursor on, if it is where the range began (`after`) or beyond, and not further already."""
    place = {"block_number": cursor.block_number, "block_hash": cursor.block_hash}
    statement = insert(cursors).values(**key(source), **place, first_block=cursor.first_block)
    further = cursors.c.block_number < statement.excluded.block_number
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=_KEY_COLUMNS,
            set_=place,
            where=further if after is None else sa.and_(further, cursors.c.block_number >= after),
        )
    )
    stands = read_cursor(connection, source)
    if stands is not None and stands.block_hash == cursor.block_hash:
        connection.execute(insert(checkpoints).values(**key(source), **place).on_conflict_do_nothing())
        _prune(connection, source, checkpoints, CHECKPOINTS_KEPT)


def note_dispatched(connection: sa.Connection, source: Source, made: Sequence[Dispatched]) -> None:
    """Remember what was invoked for which blocks, as far back as may be asked for."""
    rows = [
        {
            **key(source),
            "promise_id": each.promise_id,
            "block_number": each.block_number,
            "block_hash": each.block_hash,
            "proposal_id": each.proposal_id,
        }
        for each in made[-DISPATCHED_KEPT:]
    ]
    if not rows:
        return
    statement = insert(dispatched)
    place = {name: statement.excluded[name] for name in ("block_number", "block_hash")}
    connection.execute(
        statement.on_conflict_do_update(index_elements=[*_KEY_COLUMNS, "promise_id"], set_=place), rows
    )
    _prune(connection, source, dispatched, DISPATCHED_KEPT)


def _prune(connection: sa.Connection, source: Source, table: sa.Table, kept: int) -> None:
    """Forget all but the newest rows of a source."""
    number = table.c.block_number
    oldest = sa.select(number).where(of(table, source)).order_by(number.desc()).limit(1).offset(kept - 1)
    connection.execute(sa.delete(table).where(of(table, source), number < oldest.scalar_subquery()))


def read_checkpoints(connection: sa.Connection, source: Source) -> list[Checkpoint]:
    """Return where the cursor stood, the newest first."""
    columns = (checkpoints.c.block_number, checkpoints.c.block_hash)
    query = sa.select(*columns).where(of(checkpoints, source)).order_by(checkpoints.c.block_number.desc())
    return [
        Checkpoint(block_number=row.block_number, block_hash=row.block_hash)
        for row in connection.execute(query)
    ]


def read_dispatched(connection: sa.Connection, source: Source, block_number: int) -> list[Dispatched]:
    """Return what was invoked for blocks after this one."""
    table = dispatched
    query = (
        sa.select(table.c.promise_id, table.c.block_number, table.c.block_hash, table.c.proposal_id)
        .where(of(table, source), table.c.block_number > block_number)
        .order_by(table.c.block_number, table.c.promise_id)
    )
    return [Dispatched(**row._mapping) for row in connection.execute(query)]


def set_back(connection: sa.Connection, source: Source, cursor: Cursor | None) -> None:
    """Set a cursor back, and forget what came after it: all of it is read again."""
    last = -1 if cursor is None else cursor.block_number
    later = read_dispatched(connection, source, last)
    forget(connection, source, [each.proposal_id for each in later if each.proposal_id is not None])
    for table in (checkpoints, dispatched):
        connection.execute(sa.delete(table).where(of(table, source), table.c.block_number > last))
    if cursor is None:
        connection.execute(sa.delete(cursors).where(of(cursors, source)))
        return
    place = {"block_number": cursor.block_number, "block_hash": cursor.block_hash}
    connection.execute(sa.update(cursors).where(of(cursors, source)).values(**place))


def open_votes(connection: sa.Connection, source: Source, proposal_ids: Sequence[str]) -> None:
    """Note proposals whose vote is open; one that is noted already keeps what is known."""
    fresh = {"due_after": DUE_AT_ONCE, "failures": 0, "retry_at_ms": 0}
    rows = [{**key(source), **fresh, "proposal_id": each} for each in proposal_ids]
    if rows:
        connection.execute(insert(open_proposals).on_conflict_do_nothing(), rows)


def mark_due(connection: sa.Connection, source: Source, proposal_ids: Sequence[str]) -> None:
    """Have these open proposals looked at next."""
    statement = (
        sa.update(open_proposals)
        .where(of(open_proposals, source), open_proposals.c.proposal_id == sa.bindparam("wanted"))
        .values(due_after=DUE_AT_ONCE)
    )
    if proposal_ids:
        connection.execute(statement, [{"wanted": each} for each in proposal_ids])


def forget(connection: sa.Connection, source: Source, proposal_ids: Sequence[str]) -> None:
    """Forget open proposals."""
    statement = sa.delete(open_proposals).where(
        of(open_proposals, source), open_proposals.c.proposal_id == sa.bindparam("wanted")
    )
    if proposal_ids:
        connection.execute(statement, [{"wanted": each} for each in proposal_ids])


def set_deadlines(connection: sa.Connection, source: Source, outcome: Outcome) -> None:
    """Note until when votes are open, as it was read."""
    statement = (
        sa.update(open_proposals)
        .where(of(open_proposals, source), open_proposals.c.proposal_id == sa.bindparam("wanted"))
        .values(due_after=sa.bindparam("deadline"), failures=0, retry_at_ms=0, parked_reason=None)
    )
    rows = [{"wanted": each, "deadline": min(until, _DUE_AFTER_MAX)} for each, until in outcome.deadlines]
    if rows:
        connection.execute(statement, rows)


def park(connection: sa.Connection, source: Source, outcome: Outcome) -> None:
    """Note what could not be read."""
    statement = (
        sa.update(open_proposals)
        .where(of(open_proposals, source), open_proposals.c.proposal_id == sa.bindparam("wanted"))
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
