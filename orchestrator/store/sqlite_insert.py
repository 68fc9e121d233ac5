"""Promises added to SQLite by one statement each, alone as transactions of their own.

Nobody else writes to the file: what the statement sees stays so until it has written.
"""

from __future__ import annotations

from sqlite3 import Connection

from orchestrator.domain.promise import PromiseRecord
from orchestrator.store.port import Insert, InsertAll
from orchestrator.store.rows import PROMISE_ALL_COLUMNS, promise_row
from orchestrator.store.statements import INSERT_PROMISE

INSERT_IF_ABSENT = f"{INSERT_PROMISE} ON CONFLICT (id) DO NOTHING"
INSERT_FENCED = f"""
    INSERT INTO promises ({", ".join(PROMISE_ALL_COLUMNS)}) SELECT {", ".join("?" * len(PROMISE_ALL_COLUMNS))}
    WHERE EXISTS (
        SELECT 1 FROM tasks t JOIN promises p ON p.id = t.id
        WHERE t.id = ? AND t.version = ? AND t.state = 'acquired' AND t.releases = 0 AND t.attempts = 0
        AND t.left_behind IS NULL AND NOT t.cancelled AND t.touched_at > ?
        AND p.state = 'pending' AND p.timeout_at > ?
    ) ON CONFLICT (id) DO NOTHING
"""  # noqa: S608  # our own names


def insert(connection: Connection, query: Insert, now_ms: int) -> PromiseRecord | None:
    """Add a promise; None if it was not; see the port."""
    promise, fence = query.made(now_ms), query.fence
    if fence is None:
        done = connection.execute(INSERT_IF_ABSENT, promise_row(promise))
    else:
        held = (fence.task_id, fence.version, now_ms - fence.touch_ms, now_ms)
        done = connection.execute(INSERT_FENCED, (*promise_row(promise), *held))
    return promise if done.rowcount == 1 else None


def insert_all(connection: Connection, query: InsertAll, now_ms: int) -> list[PromiseRecord | None]:
    """Add promises within a transaction; None for each that was not."""
    return [insert(connection, each, now_ms) for each in query.inserts]
