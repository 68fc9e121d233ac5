"""One promise added by one statement: the way around a transaction of four round trips.

Why that is right beside transactions that lock, read, decide and write (`postgres_locks`): the statement
takes the same locks, of the promise and of the task that fences it, and where it cannot have them at once
nothing happens. It sees the database as it was before it had them. What another transaction may have
committed in between is seen all the same: a promise of that id by the unique index, and the rows of the task
and of its promise because they are locked as well, which reads their newest version and asks the conditions
of it again. Nothing else decides. Rows that somebody else is writing are skipped rather than waited for: no
lock is ever waited for here, so nobody can wait for one another. The time is the database's, read by the
statement; a deadline that has passed by then is left to the transaction.
"""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.domain.promise import PromiseRecord
from orchestrator.store import postgres_statements as sql
from orchestrator.store.port import Insert
from orchestrator.store.postgres_connections import Connection
from orchestrator.store.postgres_locks import key_of
from orchestrator.store.postgres_writes import columns_of
from orchestrator.store.rows import PROMISE_COLUMNS, promise_row

_CREATED_AT = PROMISE_COLUMNS.index("created_at")


async def insert(
    connection: Connection, query: Insert, guess_ms: int, now_ms: int | None
) -> PromiseRecord | None:
    """Add a promise; None if it was not. Raises what the driver raises.

    `guess_ms` is about now (Unix milliseconds); `now_ms` replaces the database's time.
    """
    if guess_ms >= query.timeout_at:
        return None
    row = promise_row(query.made(guess_ms))
    given = (*row[:_CREATED_AT], query.born_ms, *row[_CREATED_AT + 1 :], now_ms, key_of(query.promise_id))
    if query.fence is None:
        told = await connection.fetchval(sql.INSERT_PROMISE_IF_ABSENT, *given)
    else:
        fence = query.fence
        held = (key_of(fence.task_id), fence.task_id, fence.version, fence.touch_ms)
        told = await connection.fetchval(sql.INSERT_PROMISE_FENCED, *given, *held)
    return None if told is None else query.made(told)


async def insert_all(
    connection: Connection, queries: Sequence[Insert], guess_ms: int, now_ms: int | None
) -> list[PromiseRecord | None]:
    """Add promises by one statement, as `insert` does each; none depends on another."""
    rows = [_row(query, guess_ms) for query in queries if guess_ms < query.timeout_at]
    if not rows:
        return [None] * len(queries)
    touch_ms = min((query.fence.touch_ms for query in queries if query.fence is not None), default=0)
    added = await connection.fetch(sql.INSERT_PROMISES_IF_ABSENT, *columns_of(rows), now_ms, touch_ms)
    told = {row[0]: row[1] for row in added}
    return [query.made(told[query.promise_id]) if query.promise_id in told else None for query in queries]


def _row(query: Insert, guess_ms: int) -> tuple[object, ...]:
    row, fence = promise_row(query.made(guess_ms)), query.fence
    held = (None, None, None) if fence is None else (key_of(fence.task_id), fence.task_id, fence.version)
    return (*row[:_CREATED_AT], query.born_ms, *row[_CREATED_AT + 1 :], key_of(query.promise_id), *held)
