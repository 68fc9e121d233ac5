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

from collections.abc import Iterable, Sequence
from itertools import chain
from operator import attrgetter

from msgspec.structs import replace

from orchestrator.domain.promise import PromiseRecord
from orchestrator.store import postgres_statements as sql
from orchestrator.store.forms import PLAIN_NOW, Row
from orchestrator.store.port import Insert
from orchestrator.store.postgres_connections import Connection
from orchestrator.store.postgres_locks import key_of
from orchestrator.store.postgres_writes import columns_of
from orchestrator.store.rows import PROMISE_ALL_COLUMNS, PROMISE_COLUMNS, promise_row

_FENCE_OF = attrgetter("fence")
_CREATED_AT = PROMISE_COLUMNS.index("created_at")
_SETTLED_AT = PROMISE_COLUMNS.index("settled_at")
_OPEN_OF_NO_TREE = (None,) * (len(PROMISE_ALL_COLUMNS) - _SETTLED_AT)
_PLAIN_WIDTH = len(PLAIN_NOW.given) + 1
"""Values of a plain promise: what is given of it, and its lock."""
_PLAIN_COUNTS = range(min(sql.INSERT_PLAIN), max(sql.INSERT_PLAIN) + 1)


def any_fenced(queries: Iterable[Insert]) -> bool:
    """Tell whether any is to be added only while a task is held."""
    return any(map(_FENCE_OF, queries))


async def insert(
    connection: Connection, query: Insert, guess_ms: int, now_ms: int | None
) -> PromiseRecord | None:
    """Add a promise; None if it was not. Raises what the driver raises.

    `guess_ms` is about now (Unix milliseconds); `now_ms` replaces the database's time.
    """
    if guess_ms >= query.timeout_at:
        return None
    promise = query.made(guess_ms)
    row = promise_row(promise)
    fence, key = query.fence, key_of(query.promise_id)
    if fence is None and row[_SETTLED_AT:] == _OPEN_OF_NO_TREE:
        told = await connection.fetchval_often(sql.INSERT_PLAIN_ONE, now_ms, key, *PLAIN_NOW.given_of(row))
    else:
        given = (*row[:_CREATED_AT], query.born_ms, *row[_CREATED_AT + 1 :], now_ms, key)
        if fence is None:
            told = await connection.fetchval_often(sql.INSERT_PROMISE_IF_ABSENT, *given)
        else:
            held = (key_of(fence.task_id), fence.task_id, fence.version, fence.touch_ms)
            told = await connection.fetchval_often(sql.INSERT_PROMISE_FENCED, *given, *held)
    if told == guess_ms:
        return promise
    return None if told is None else query.made(told)


async def insert_all(
    connection: Connection, queries: Sequence[Insert], guess_ms: int, now_ms: int | None
) -> list[PromiseRecord | None]:
    """Add promises by one statement, as `insert` does each; none depends on another."""
    asked = [query for query in queries if guess_ms < query.timeout_at]
    if not asked:
        return [None] * len(queries)
    promises = [query.made(guess_ms) for query in asked]
    rows = list(map(promise_row, promises))
    columns = list(zip(*rows, strict=True))
    if len(rows) in _PLAIN_COUNTS and PLAIN_NOW.fits(columns) and not any_fenced(asked):
        added = await _insert_plain(connection, promises, columns, now_ms)
    else:
        touch_ms = min((query.fence.touch_ms for query in asked if query.fence is not None), default=0)
        values = columns_of(list(map(_with_lock, asked, rows)))
        told = dict(await connection.fetch(sql.INSERT_PROMISES_IF_ABSENT, *values, now_ms, touch_ms))
        moments = ((query, told.get(query.promise_id)) for query in asked)
        added = [None if moment is None else query.made(moment) for query, moment in moments]
    if len(asked) == len(queries):
        return added
    answers = iter(added)
    return [next(answers) if guess_ms < query.timeout_at else None for query in queries]


async def _insert_plain(
    connection: Connection,
    promises: list[PromiseRecord],
    columns: list[tuple[object, ...]],
    now_ms: int | None,
) -> list[PromiseRecord | None]:
    """Add promises whose rows fit PLAIN_NOW, given by column; return them as of the database's moment."""
    places = 1 << (len(promises) - 1).bit_length()
    keys = map(key_of, (promise.id for promise in promises))
    given = chain.from_iterable(zip(*PLAIN_NOW.given_of(columns), keys, strict=True))
    nothing = (None,) * _PLAIN_WIDTH * (places - len(promises))
    added = await connection.fetch(sql.INSERT_PLAIN[places], now_ms, *given, *nothing)
    if not added:
        return [None] * len(promises)
    moment = added[0][1]  # that of all
    made = [replace(promise, created_at=moment) for promise in promises]
    if len(added) == len(made):
        return [*made]
    there = {row[0] for row in added}
    return [promise if promise.id in there else None for promise in made]


def _with_lock(query: Insert, row: Row) -> Row:
    """Return a row with the moment of its birth, its lock and the three values of its fence."""
    fence = query.fence
    held = (None, None, None) if fence is None else (key_of(fence.task_id), fence.task_id, fence.version)
    return (*row[:_CREATED_AT], query.born_ms, *row[_CREATED_AT + 1 :], key_of(query.promise_id), *held)
