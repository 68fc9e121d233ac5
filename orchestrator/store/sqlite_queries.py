"""How the SQLite store answers each query of the port.

Runs in the store's thread, inside its transaction, and nowhere else.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby, islice
from operator import itemgetter
from sqlite3 import Connection
from typing import Any

from orchestrator.domain import tags as tag
from orchestrator.domain.ending import TreeEnding
from orchestrator.domain.promise import PromiseRecord
from orchestrator.domain.schedule import Schedule
from orchestrator.domain.task import Task, TaskState
from orchestrator.store import group_statements as group_sql
from orchestrator.store import lineage_statements as lineage
from orchestrator.store import port, schema, sqlite_gauges, trees
from orchestrator.store import sqlite_groups as groups
from orchestrator.store import statements as sql
from orchestrator.store.group_rows import places_of
from orchestrator.store.rows import (
    PROMISE_COLUMNS,
    ending_of,
    ending_row,
    ids_text,
    member_page_of,
    promise_of,
    schedule_of,
    schedule_row,
    settled_row,
    task_of,
    task_row,
)
from orchestrator.store.search import (
    IMPLIED_COLUMNS,
    INDEXED_TAGS,
    LINEAGE_TAGS,
    indexed_of,
    matches,
    page_of,
    page_of_schedules,
)
from orchestrator.store.sqlite_steps import Row, created_row, numbered

_TASK_AT = len(PROMISE_COLUMNS)


def _rows(cursor: Iterable[Sequence[Any]]) -> list[port.Row]:
    return [(promise_of(row), task_of(row[_TASK_AT:])) for row in cursor]


def _load_rows(connection: Connection, query: port.LoadRows) -> list[port.Row]:
    ids = query.ids
    if len(ids) == 1:
        return _rows(connection.execute(sql.LOAD_ROW, ids))
    if len(ids) == 2:  # a fence, the most frequent command of a workflow
        return _rows(connection.execute(sql.LOAD_TWO_ROWS, ids))
    return _rows(connection.execute(sql.LOAD_ROWS, (ids_text(ids),))) if ids else []


def _load_chain(connection: Connection, query: port.LoadChain) -> port.Chain:
    if len(query.ids) == 1:
        callbacks = connection.execute(sql.LOAD_CALLBACKS_OF_ONE, query.ids).fetchall()
        listeners = connection.execute(sql.LOAD_LISTENERS_OF_ONE, query.ids).fetchall()
    else:
        ids = (ids_text(query.ids),)
        callbacks = connection.execute(sql.LOAD_CALLBACKS, ids).fetchall()
        listeners = connection.execute(sql.LOAD_LISTENERS, ids).fetchall()
    awaiters = sorted({awaiter for _, awaiter in callbacks})
    rows = _load_rows(connection, port.LoadRows(ids=awaiters))
    return port.Chain(callbacks=callbacks, awaiters=rows, listeners=listeners)


def _load_open_between(connection: Connection, query: trees.LoadOpenBetween) -> list[str]:
    values = (query.after, query.before, query.limit)
    return [row[0] for row in connection.execute(sql.LOAD_OPEN_BETWEEN, values)]


def _load_endings(connection: Connection, query: trees.LoadEndings) -> list[TreeEnding]:
    return [ending_of(row) for row in connection.execute(sql.LOAD_ENDINGS, (ids_text(query.ids),))]


def _load_due_endings(connection: Connection, query: trees.LoadDueEndings) -> list[str]:
    return [row[0] for row in connection.execute(sql.LOAD_DUE_ENDINGS, (query.now_ms, query.limit))]


def _load_preloads(connection: Connection, query: port.LoadPreloads) -> dict[str, list[PromiseRecord]]:
    return {key: list(_preloaded(connection, key, branch, query.limit)) for key, branch in query.keys}


def _preloaded(connection: Connection, key: str, branch: str, limit: int) -> Iterator[PromiseRecord]:
    side = limit + 2  # the task itself may be among them, and the task whose branch it is
    values = (branch, side, key, side, key, key, branch, key, side, key, 3 * side)
    found = connection.execute(lineage.LOAD_PRELOAD, values)
    rows = _in_order(found, *(numbered(connection, root) for root in {branch, key}))
    related = (
        promise
        for promise in map(promise_of, rows)
        if promise.tags.get(tag.BRANCH) == branch or promise.tags.get(tag.PARENT) == key
    )
    return islice((promise for promise in related if promise.id != key), limit)


def _in_order(*sources: Iterable[Row]) -> Iterator[Row]:
    """Merge promises in order of id, each of them once; no more is read than what is taken."""
    by_id = itemgetter(0)
    return (next(same) for _, same in groupby(heapq.merge(*sources, key=by_id), key=by_id))


def _load_held(connection: Connection, query: port.LoadHeld) -> list[port.Row]:
    return _rows(connection.execute(sql.LOAD_HELD, (ids_text(query.pids),)))


def _load_embedded(connection: Connection, query: port.LoadEmbedded) -> list[port.Row]:
    return _rows(connection.execute(sql.LOAD_EMBEDDED, (query.limit,)))


def _load_timed(connection: Connection, query: port.LoadTimed) -> list[port.Timed]:
    rows = connection.execute(sql.LOAD_TIMED, (*query.after, query.until_ms, query.limit))
    return [
        port.Timed(timer_at=row[0], task_id=row[1], unannounced=bool(row[2]), queued_at=row[3])
        for row in rows
    ]


def _load_due(connection: Connection, query: port.LoadDue) -> list[str]:
    moment = (query.now_ms, query.limit)
    promises = connection.execute(sql.LOAD_DUE_PROMISES, moment).fetchall()
    tasks = connection.execute(sql.LOAD_DUE_TASKS, moment).fetchall()
    return [row[0] for row in promises] + [row[0] for row in tasks]


def _load_deadline(connection: Connection, _: port.LoadDeadline) -> int | None:
    moments = [
        connection.execute(statement).fetchone()[0]
        for statement in (
            sql.LOAD_PROMISE_DEADLINE,
            sql.LOAD_TASK_DEADLINE,
            sql.LOAD_SCHEDULE_DEADLINE,
            sql.LOAD_ENDING_DEADLINE,
        )
    ]
    return min((moment for moment in moments if moment is not None), default=None)


def _search_promises(connection: Connection, query: port.SearchPromises) -> port.Page[PromiseRecord]:
    statement, values = lineage.SEARCH_PROMISES, [query.cursor or "", query.scan_max]
    name = indexed_of(query.tags)
    if name is not None:
        column, values = INDEXED_TAGS[name], [query.tags[name], *values]
        if column in IMPLIED_COLUMNS:
            statement, values = lineage.SEARCH_PROMISES_BY_IMPLIED[column], [*values, *values, query.scan_max]
        else:
            statement = lineage.SEARCH_PROMISES_BY[column]
    rows: Iterator[Row] = connection.execute(statement, values)
    if name in LINEAGE_TAGS:
        steps = numbered(connection, query.tags[name], query.cursor or "")
        rows = islice(_in_order(rows, steps), query.scan_max)
    candidates = map(promise_of, rows)
    return page_of(candidates, lambda promise: matches(promise, query), query.limit, query.scan_max)


def _search_tasks(connection: Connection, query: port.SearchTasks) -> port.Page[Task]:
    after = query.cursor or ""
    if query.state is not None and query.state is not TaskState.FULFILLED:
        rows = connection.execute(sql.SEARCH_OPEN_TASKS, (query.state.value, after, query.scan_max))
    else:
        rows = connection.execute(sql.SEARCH_TASKS, (after, query.scan_max))
    tasks = (task for task in map(task_of, rows) if task is not None)
    return page_of(tasks, lambda task: query.state in (None, task.state), query.limit, query.scan_max)


def _load_schedules(connection: Connection, query: port.LoadSchedules) -> list[Schedule]:
    return [schedule_of(row) for row in connection.execute(sql.LOAD_SCHEDULES, (ids_text(query.ids),))]


def _load_due_schedules(connection: Connection, query: port.LoadDueSchedules) -> list[str]:
    return [row[0] for row in connection.execute(sql.LOAD_DUE_SCHEDULES, (query.now_ms, query.limit))]


def _search_schedules(connection: Connection, query: port.SearchSchedules) -> port.Page[Schedule]:
    rows = connection.execute(sql.SEARCH_SCHEDULES, (query.cursor or "", query.scan_max))
    return page_of_schedules(map(schedule_of, rows), query)


def _load_trees(connection: Connection, query: trees.LoadTrees) -> trees.MemberPage:
    values = (*query.after, query.limit)
    by_origin = connection.execute(lineage.LOAD_TREES_BY_ORIGIN, values).fetchall()
    by_branch = connection.execute(lineage.LOAD_TREES_BY_BRANCH, values).fetchall()
    roots = dict.fromkeys([query.after[0], *(row[0] for row in by_branch if row[0] == row[1])])
    steps = list(islice(_steps_of_trees(connection, roots, query.after[1]), query.limit))
    return member_page_of(by_origin, by_branch, steps, limit=query.limit)


def _steps_of_trees(connection: Connection, roots: Iterable[str], after: str) -> Iterator[Row]:
    """Yield what `member_page_of` reads of the steps of roots in order; those of the first behind `after`."""
    for root in roots:
        for row in numbered(connection, root, after):
            step = dict(zip(PROMISE_COLUMNS, row, strict=True))
            yield root, step["id"], step["settled_at"], step["value_headers"], step["tags"]
        after = ""


def _load_groups(connection: Connection, _: port.LoadGroups) -> list[str | None]:
    tables = (schema.outbox_executes.name, schema.outbox_unblocks.name)
    texts = (f"SELECT poll_group FROM {name}" for name in tables)  # noqa: S608  # our own names
    return [row[0] for row in connection.execute(" UNION ".join(texts))]


def _clear(connection: Connection, _: port.Clear) -> None:
    groups.forget_limits(connection)
    for table in schema.metadata.tables:
        connection.execute(f"DELETE FROM {table}")  # noqa: S608  # our own names


def _load_outbox(connection: Connection, query: port.LoadOutbox) -> port.Outbox:
    executes, unblocks = sql.LOAD_GROUP_EXECUTES, sql.LOAD_GROUP_UNBLOCKS
    group: tuple[str, ...] = ()
    if query.group is None:
        executes, unblocks = sql.LOAD_PUSH_EXECUTES, sql.LOAD_PUSH_UNBLOCKS
    else:
        group = (query.group,)
    execute_rows = connection.execute(executes, (*group, query.after_task, query.limit)).fetchall()
    unblock_rows = connection.execute(unblocks, (*group, *query.after_unblock, query.limit)).fetchall()
    return port.Outbox(
        executes=[_execute(row) for row in execute_rows],
        unblocks=[(_unblock(row), promise_of(row[4:])) for row in unblock_rows],
        more=max(len(execute_rows), len(unblock_rows)) == query.limit,
    )


def _execute(row: Sequence[Any]) -> port.QueuedExecute:
    return port.QueuedExecute(task_id=row[0], version=row[1], address=row[2], group=row[3], queued_at=row[4])


def _unblock(row: Sequence[Any]) -> port.QueuedUnblock:
    return port.QueuedUnblock(promise_id=row[0], address=row[1], group=row[2], queued_at=row[3])


def _load_gauges(connection: Connection, query: port.LoadGauges) -> port.Gauges:
    counts = connection.execute(sqlite_gauges.COUNT_TASKS)
    return port.Gauges(
        counted_at=query.now_ms,
        tasks={(TaskState(state), target): count for state, target, count in counts},
        waiting_since=dict(connection.execute(sqlite_gauges.LOAD_WAITING, (query.now_ms,)).fetchall()),
        outbox_executes=connection.execute(sqlite_gauges.COUNT_EXECUTES).fetchone()[0],
        outbox_unblocks=connection.execute(sqlite_gauges.COUNT_UNBLOCKS).fetchone()[0],
        promises_pending=connection.execute(sqlite_gauges.COUNT_PENDING).fetchone()[0],
        dead=dict(connection.execute(group_sql.COUNT_DEAD).fetchall()),
        places=places_of(connection.execute(group_sql.COUNT_ALL_PLACES)),
    )


def _write(connection: Connection, query: port.Write) -> None:
    changes = query.changes
    if changes.grouping is not None:
        groups.write_groups(connection, changes.grouping)
    if changes.unblocks_before is not None:
        connection.execute(sql.REMOVE_UNBLOCKS_BEFORE, (changes.unblocks_before,))
    for name, statement, row_of in _WRITTEN:
        values = getattr(changes, name)
        if not values:
            continue
        if len(values) == 1:
            connection.execute(statement, row_of(values[0]))
        else:
            connection.executemany(statement, map(row_of, values))


def _itself(row: Sequence[Any]) -> Sequence[Any]:
    return row


def _key(key: str) -> Sequence[Any]:
    return (key,)


def _execute_row(row: port.QueuedExecute) -> Sequence[Any]:
    return (row.task_id, row.version, row.address, row.group, row.queued_at)


def _unblock_row(row: port.QueuedUnblock) -> Sequence[Any]:
    return (row.promise_id, row.address, row.group, row.queued_at)


_WRITTEN: tuple[tuple[str, str, Callable[[Any], Sequence[Any]]], ...] = (
    ("executes_sent", sql.REMOVE_EXECUTE_SENT, _itself),
    ("unblocks_sent", sql.REMOVE_UNBLOCK, _itself),
    ("promises_created", sql.INSERT_PROMISE, created_row),
    ("promises_settled", sql.SETTLE_PROMISE, settled_row),
    ("tasks", sql.PUT_TASK, task_row),
    ("callbacks_of_awaited_removed", sql.REMOVE_CALLBACKS_OF_AWAITED, _key),
    ("callbacks_of_awaiter_removed", sql.REMOVE_CALLBACKS_OF_AWAITER, _key),
    ("callbacks_added", sql.PUT_CALLBACK, _itself),
    ("listeners_removed", sql.REMOVE_LISTENERS, _key),
    ("listeners_added", sql.PUT_LISTENER, _itself),
    ("executes_removed", sql.REMOVE_EXECUTE, _key),
    ("executes_queued", sql.PUT_EXECUTE, _execute_row),
    ("unblocks_queued", sql.PUT_UNBLOCK, _unblock_row),
    ("schedules", sql.PUT_SCHEDULE, schedule_row),
    ("schedules_removed", sql.REMOVE_SCHEDULE, _key),
    ("endings", sql.PUT_ENDING, ending_row),
    ("endings_removed", sql.REMOVE_ENDING, _key),
    ("promises_removed", sql.REMOVE_NEWS, _key),
    ("promises_removed", sql.REMOVE_TASK, _key),
    ("promises_removed", sql.REMOVE_PROMISE, _key),
)
"""What Changes holds, in the order in which it is written, by which statement, and a row of it."""


QUERIES: dict[type[port.Query[Any]], Callable[[Connection, Any], Any]] = {
    port.LoadRows: _load_rows,
    port.LoadChain: _load_chain,
    trees.LoadOpenBetween: _load_open_between,
    trees.LoadEndings: _load_endings,
    trees.LoadDueEndings: _load_due_endings,
    port.LoadPreloads: _load_preloads,
    port.LoadHeld: _load_held,
    port.LoadEmbedded: _load_embedded,
    port.LoadTimed: _load_timed,
    port.LoadDue: _load_due,
    port.LoadDeadline: _load_deadline,
    port.SearchPromises: _search_promises,
    port.SearchTasks: _search_tasks,
    port.LoadOutbox: _load_outbox,
    port.LoadGauges: _load_gauges,
    port.LoadSchedules: _load_schedules,
    port.LoadDueSchedules: _load_due_schedules,
    port.SearchSchedules: _search_schedules,
    trees.LoadTrees: _load_trees,
    **groups.QUERIES,
    port.LoadGroups: _load_groups,
    port.Clear: _clear,
    port.Write: _write,
}
"""Every query of the port, and who answers it."""
