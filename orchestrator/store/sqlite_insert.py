"""Promises added to SQLite: one by one statement alone as a transaction of its own, many by one as well.

Nobody else writes to the file: what a statement sees stays so until it has written. The driver lets other
threads run during each statement, and has to wait for its turn after it, for up to five milliseconds while
the loop is busy: so a batch should be few statements.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import chain
from sqlite3 import Connection

from orchestrator.domain.promise import PromiseRecord
from orchestrator.store.port import Insert, InsertAll
from orchestrator.store.rows import PROMISE_ALL_COLUMNS, promise_row
from orchestrator.store.statements import INSERT_PROMISE

_ROWS_MAX = 128
"""Rows of one statement; with their 19 values each they stay far below what SQLite takes (32,766)."""
_COLUMNS = ", ".join(PROMISE_ALL_COLUMNS)
_HELD = """
    EXISTS (
        SELECT 1 FROM tasks t JOIN promises p ON p.id = t.id
        WHERE t.id = {} AND t.version = {} AND t.state = 'acquired' AND t.releases = 0 AND t.attempts = 0
        AND t.left_behind IS NULL AND NOT t.cancelled AND t.touched_at > {}
        AND p.state = 'pending' AND p.timeout_at > {}
    )
"""
_HELD_VALUES = 4
INSERT_IF_ABSENT = f"{INSERT_PROMISE} ON CONFLICT (id) DO NOTHING"
INSERT_FENCED = f"""
    INSERT INTO promises ({_COLUMNS}) SELECT {", ".join("?" * len(PROMISE_ALL_COLUMNS))}
    WHERE {_HELD.format(*"????")} ON CONFLICT (id) DO NOTHING
"""  # our own names
INSERTED_LAST = "SELECT id FROM promises WHERE rowid > ?"
"""What one statement has added: such rows are numbered on from the greatest number."""


def insert(connection: Connection, query: Insert, now_ms: int) -> PromiseRecord | None:
    """Add a promise; None if it was not; see the port."""
    promise = query.made(now_ms)
    values = _values(promise, query, now_ms)
    done = connection.execute(INSERT_IF_ABSENT if query.fence is None else INSERT_FENCED, values)
    return promise if done.rowcount == 1 else None


def insert_all(connection: Connection, query: InsertAll, now_ms: int) -> list[PromiseRecord | None]:
    """Add promises within a transaction; None for each that was not. None depends on another."""
    if len(query.inserts) == 1:
        return [insert(connection, query.inserts[0], now_ms)]
    promises = [each.made(now_ms) for each in query.inserts]
    rows: tuple[list[tuple[object, ...]], ...] = [], []
    for promise, each in zip(promises, query.inserts, strict=True):
        rows[each.fence is not None].append(_values(promise, each, now_ms))
    added = {key for fenced, some in enumerate(rows) for key in _add(connection, some, bool(fenced))}
    return [promise if promise.id in added else None for promise in promises]


def _values(promise: PromiseRecord, query: Insert, now_ms: int) -> tuple[object, ...]:
    fence = query.fence
    if fence is None:
        return promise_row(promise)
    return (*promise_row(promise), fence.task_id, fence.version, now_ms - fence.touch_ms, now_ms)


def _add(connection: Connection, rows: Sequence[tuple[object, ...]], fenced: bool) -> Iterator[str]:
    """Add rows and yield the ids of those that were added."""
    for start in range(0, len(rows), _ROWS_MAX):
        some = rows[start : start + _ROWS_MAX]
        places = 1 << (len(some) - 1).bit_length()
        nothing = (None,) * len(some[0]) * (places - len(some))
        done = connection.execute(_statement(places, fenced), (*chain.from_iterable(some), *nothing))
        if done.rowcount == len(some):
            yield from (str(row[0]) for row in some)
        elif done.rowcount:
            last = connection.execute("SELECT last_insert_rowid()").fetchone()[0]
            yield from (row[0] for row in connection.execute(INSERTED_LAST, (last - done.rowcount,)))


@cache
def _statement(places: int, fenced: bool) -> str:
    """Return the statement that adds up to `places` rows; where there are fewer, the others hold nulls."""
    width = len(PROMISE_ALL_COLUMNS)
    names = [f"column{number}" for number in range(1, width + _HELD_VALUES * fenced + 1)]
    row = f"({', '.join('?' * len(names))})"
    condition = _HELD.format(*names[width:]) if fenced else "column1 IS NOT NULL"
    return f"""
        INSERT INTO promises ({_COLUMNS}) SELECT {", ".join(names[:width])}
        FROM (VALUES {", ".join([row] * places)}) WHERE {condition} ON CONFLICT (id) DO NOTHING
    """  # noqa: S608
