"""How the PostgreSQL store writes: all that a program removes and puts in one statement, if need be in two.

Within a statement every part sees the state before it, so the parts of one must be independent of each
other: where a row is removed and put again, the removals go first. What is removed never depends on what is
put: whatever a program puts stays. Rows of the outbox are no part of a promise's lock, so they are touched in
one order by all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from orchestrator.store import postgres_parts as sql
from orchestrator.store.port import Changes
from orchestrator.store.postgres_connections import Connection
from orchestrator.store.rows import ending_row, promise_row, schedule_row, settled_row, task_row

Part = tuple[str, Sequence[Any]]
"""A statement's text with the values of its parameters."""
Rows = Sequence[Sequence[Any]]


async def write(connection: Connection, changes: Changes) -> None:
    """Write changes inside the connection's transaction."""
    for parts in statements_of(changes):
        text = sql.combined(tuple((text, len(values)) for text, values in parts))
        await connection.fetch(text, *(value for _, values in parts for value in values))


def statements_of(changes: Changes) -> list[list[Part]]:
    """Return the parts of each statement, in order; what is written of groups is not among them."""
    removals = [part for part in _removals(changes) if part[1]]
    puts = _parts_of([(text, rows) for text, rows in _puts(changes) if rows])
    together = [[*removals, *puts]] if _independent(changes) else [removals, puts]
    return [parts for parts in together if parts]


def _parts_of(puts: Sequence[tuple[sql.Put, Rows]]) -> list[Part]:
    """Return the parts that put rows: either form for all, as each mixture of both would be a text more."""
    if all(len(rows) == 1 for _, rows in puts):
        return [(text.one, rows[0]) for text, rows in puts]
    return [(text.many, columns_of(rows)) for text, rows in puts]


def _independent(changes: Changes) -> bool:
    """Tell whether no row is both removed and put, as far as that can be told from their keys."""
    return (
        {awaited for awaited, _ in changes.callbacks_added}.isdisjoint(changes.callbacks_of_awaited_removed)
        and {waits for _, waits in changes.callbacks_added}.isdisjoint(changes.callbacks_of_awaiter_removed)
        and {listened for listened, _ in changes.listeners_added}.isdisjoint(changes.listeners_removed)
        and {promise.id for promise in changes.promises_created}.isdisjoint(changes.promises_removed)
        and (changes.unblocks_before is None or not changes.unblocks_queued)
    )


def ids_of(changes: Changes) -> list[str]:
    """Return the promises that changes touch."""
    return [
        *(promise.id for promise in changes.promises_created),
        *(promise.id for promise in changes.promises_settled),
        *(task.id for task in changes.tasks),
        *changes.promises_removed,
        *(ending.id for ending in changes.endings),
        *changes.endings_removed,
    ]


def _removals(changes: Changes) -> Iterable[Part]:
    if changes.unblocks_before is not None:
        yield sql.REMOVE_UNBLOCKS_BEFORE, [changes.unblocks_before]
    # What has been sent and is queued anew is put in its place.
    queued = {each.task_id for each in changes.executes_queued}
    yield sql.REMOVE_EXECUTES_SENT, columns_of(sorted(e for e in changes.executes_sent if e[0] not in queued))
    told = {(each.promise_id, each.address) for each in changes.unblocks_queued}
    yield sql.REMOVE_UNBLOCKS, columns_of(sorted(set(changes.unblocks_sent) - told))
    yield sql.REMOVE_CALLBACKS_OF_AWAITED, _list(changes.callbacks_of_awaited_removed)
    yield sql.REMOVE_CALLBACKS_OF_AWAITER, _list(changes.callbacks_of_awaiter_removed)
    yield sql.REMOVE_LISTENERS, _list(changes.listeners_removed)
    yield sql.REMOVE_EXECUTES, _list(changes.executes_removed)
    yield sql.REMOVE_SCHEDULES, _list(changes.schedules_removed)
    yield sql.REMOVE_ENDINGS, _list(changes.endings_removed)
    for statement in (sql.REMOVE_NEWS, sql.REMOVE_TASKS, sql.REMOVE_PROMISES):
        yield statement, _list(changes.promises_removed)


def _puts(changes: Changes) -> Iterable[tuple[sql.Put, Rows]]:
    yield sql.INSERT_PROMISES, [promise_row(each) for each in changes.promises_created]
    yield sql.SETTLE_PROMISES, [settled_row(each) for each in changes.promises_settled]
    yield sql.PUT_TASKS, [task_row(each) for each in changes.tasks]
    yield sql.PUT_CALLBACKS, changes.callbacks_added
    yield sql.PUT_LISTENERS, changes.listeners_added
    executes = [(e.task_id, e.version, e.address, e.group, e.queued_at) for e in changes.executes_queued]
    yield sql.PUT_EXECUTES, sorted(executes)
    yield (
        sql.PUT_UNBLOCKS,
        sorted((u.promise_id, u.address, u.group, u.queued_at) for u in changes.unblocks_queued),
    )
    yield sql.PUT_ENDINGS, [ending_row(each) for each in changes.endings]
    yield sql.PUT_SCHEDULES, [schedule_row(each) for each in changes.schedules]


def _list(values: Sequence[str]) -> Sequence[Any]:
    return [values] if values else []


def columns_of(rows: Sequence[Sequence[Any]]) -> Sequence[Any]:
    """Return the columns of rows; empty where there is nothing but nulls, which `unnest` fills in.

    The driver takes its time over each value.
    """
    count = len(rows)
    return [() if column.count(None) == count else column for column in zip(*rows, strict=True)]
