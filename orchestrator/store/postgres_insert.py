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
from itertools import chain
from operator import itemgetter

from orchestrator.domain.promise import PromiseRecord, PromiseState
from orchestrator.store import postgres_statements as sql
from orchestrator.store.port import BORN_NOW, Insert
from orchestrator.store.postgres_connections import Connection
from orchestrator.store.postgres_locks import key_of
from orchestrator.store.postgres_writes import columns_of
from orchestrator.store.rows import PROMISE_ALL_COLUMNS, PROMISE_COLUMNS, promise_row

_CREATED_AT = PROMISE_COLUMNS.index("created_at")
_WIDTH = len(PROMISE_ALL_COLUMNS) + 4
"""Values of a row: the promise's, with the moment of its birth, its lock, and the three of its fence."""
_PLAIN_AT = (*map(PROMISE_ALL_COLUMNS.index, sql.PLAIN_COLUMNS), len(PROMISE_ALL_COLUMNS))
_PLAIN_WIDTH = len(_PLAIN_AT)
_PLAIN_COUNTS = range(min(sql.INSERT_PLAIN), max(sql.INSERT_PLAIN) + 1)
_REST_AT = tuple(at for at in range(_WIDTH) if at not in _PLAIN_AT)
_plain_of, _rest_of = itemgetter(*_PLAIN_AT), itemgetter(*_REST_AT)
_PLAIN_VALUES = {PROMISE_ALL_COLUMNS.index("state"): PromiseState.PENDING.value, _CREATED_AT: BORN_NOW}
_PLAIN_REST = tuple(_PLAIN_VALUES.get(at) for at in _REST_AT)
"""What else stands in the row of a plain promise."""


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
    if len(rows) in _PLAIN_COUNTS and {*map(_rest_of, rows)} == {_PLAIN_REST}:
        places = 1 << (len(rows) - 1).bit_length()
        nothing = (None,) * _PLAIN_WIDTH * (places - len(rows))
        given = chain(chain.from_iterable(map(_plain_of, rows)), nothing)
        added = await connection.fetch(sql.INSERT_PLAIN[places], now_ms, *given)
    else:
        touch_ms = min((query.fence.touch_ms for query in queries if query.fence is not None), default=0)
        added = await connection.fetch(sql.INSERT_PROMISES_IF_ABSENT, *columns_of(rows), now_ms, touch_ms)
    told = {row[0]: row[1] for row in added}
    return [query.made(told[query.promise_id]) if query.promise_id in told else None for query in queries]


def _row(query: Insert, guess_ms: int) -> tuple[object, ...]:
    row, fence = promise_row(query.made(guess_ms)), query.fence
    held = (None, None, None) if fence is None else (key_of(fence.task_id), fence.task_id, fence.version)
    return (*row[:_CREATED_AT], query.born_ms, *row[_CREATED_AT + 1 :], key_of(query.promise_id), *held)
