"""How the PostgreSQL store answers each query of the port, inside a transaction that holds locks.

Invariant: no promise or task is read for a decision before its lock is held; a query that meets one without
raises LocksTooFew, and nothing that it has read is used.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from orchestrator.domain.ending import TreeEnding
from orchestrator.domain.promise import PromiseRecord
from orchestrator.domain.schedule import Schedule
from orchestrator.domain.task import Task, TaskState
from orchestrator.store import port, trees
from orchestrator.store import postgres_groups as groups
from orchestrator.store import postgres_statements as sql
from orchestrator.store.group_rows import places_of
from orchestrator.store.postgres_held import Held
from orchestrator.store.postgres_locks import LOCK_WHOLE, schedule_key_of
from orchestrator.store.postgres_writes import ids_of, write
from orchestrator.store.rows import (
    PROMISE_COLUMNS,
    ending_of,
    member_page_of,
    promise_of,
    schedule_of,
    task_of,
)
from orchestrator.store.search import INDEXED_TAGS, indexed_of, matches, page_of, page_of_schedules

_TASK_AT = len(PROMISE_COLUMNS)


async def answer(held: Held, query: port.Query[Any]) -> Any:
    """Answer one query. Raises LocksTooFew, and whatever the driver raises."""
    return await _QUERIES[type(query)](held, query)


def rows_of(records: Iterable[Sequence[Any]]) -> list[port.Row]:
    """Return the promises with their tasks; a row of nulls stands for none."""
    return [(promise_of(row), task_of(row[_TASK_AT:])) for row in records if row[0] is not None]


async def _insert(_: Held, __: port.Insert) -> None:
    return None  # it is tried before the transaction


async def _insert_all(_: Held, __: port.InsertAll) -> None:
    return None  # one statement each would be a round trip each: arrays of rows are written in fewer


async def _load_rows(held: Held, query: port.LoadRows) -> list[port.Row]:
    held.check(query.ids)
    return rows_of(await held.connection.fetch(sql.LOAD_ROWS, query.ids))


async def _load_chain(held: Held, query: port.LoadChain) -> port.Chain:
    held.check(query.ids)
    waiters = await held.connection.fetch(sql.LOAD_WAITERS, query.ids)
    callbacks = sorted((row[0], row[1]) for row in waiters if row[2])
    listeners = sorted((row[0], row[1]) for row in waiters if not row[2])
    awaiters = sorted({awaiter for _, awaiter in callbacks})
    rows = await _load_rows(held, port.LoadRows(ids=awaiters)) if awaiters else []
    return port.Chain(callbacks=callbacks, awaiters=rows, listeners=listeners)


async def _load_open_between(held: Held, query: trees.LoadOpenBetween) -> list[str]:
    rows = await held.connection.fetch(sql.LOAD_OPEN_BETWEEN, query.after, query.before, query.limit)
    return [row[0] for row in rows]


async def _load_endings(held: Held, query: trees.LoadEndings) -> list[TreeEnding]:
    held.check(query.ids)
    return [ending_of(row) for row in await held.connection.fetch(sql.LOAD_ENDINGS, query.ids)]


async def _load_due_endings(held: Held, query: trees.LoadDueEndings) -> list[str]:
    return [row[0] for row in await held.connection.fetch(sql.LOAD_DUE_ENDINGS, query.now_ms, query.limit)]


async def _load_preloads(held: Held, query: port.LoadPreloads) -> dict[str, list[PromiseRecord]]:
    ids, branches = [key for key, _ in query.keys], [branch for _, branch in query.keys]
    found: dict[str, list[PromiseRecord]] = {key: [] for key in ids}
    for row in await held.connection.fetch(sql.LOAD_PRELOADS, ids, branches, query.limit):
        found[row[0]].append(promise_of(row[1:]))
    return found


async def _load_held(held: Held, query: port.LoadHeld) -> list[port.Row]:
    held.check(row[0] for row in await held.connection.fetch(sql.LOAD_HELD_IDS, query.pids))
    rows = rows_of(await held.connection.fetch(sql.LOAD_HELD, query.pids))
    held.check(promise.id for promise, _ in rows)  # more may have been acquired between both
    return rows


async def _load_embedded(_: Held, __: port.LoadEmbedded) -> list[port.Row]:
    # The process that held them may live beside this one: nobody can tell, so their leases run out.
    return []


async def _load_timed(held: Held, query: port.LoadTimed) -> list[port.Timed]:
    rows = await held.connection.fetch(sql.LOAD_TIMED, *query.after, query.until_ms, query.limit)
    return [
        port.Timed(timer_at=moment, task_id=key, unannounced=unannounced, queued_at=queued_at)
        for moment, key, unannounced, queued_at in rows
    ]


async def _load_due(held: Held, query: port.LoadDue) -> list[str]:
    return [row[0] for row in await held.connection.fetch(sql.LOAD_DUE, query.now_ms, query.limit)]


async def _load_deadline(held: Held, _: port.LoadDeadline) -> int | None:
    deadline: int | None = await held.connection.fetchval(sql.LOAD_DEADLINE)
    return deadline


async def _search_promises(held: Held, query: port.SearchPromises) -> port.Page[PromiseRecord]:
    statement, values = sql.SEARCH_PROMISES, [query.cursor or "", query.scan_max]
    name = indexed_of(query.tags)
    if name is not None:
        statement, values = sql.SEARCH_PROMISES_BY[INDEXED_TAGS[name]], [*values, query.tags[name]]
    candidates = map(promise_of, await held.connection.fetch(statement, *values))
    return page_of(candidates, lambda promise: matches(promise, query), query.limit, query.scan_max)


async def _search_tasks(held: Held, query: port.SearchTasks) -> port.Page[Task]:
    statement, values = sql.SEARCH_TASKS, [query.cursor or "", query.scan_max]
    if query.state is not None and query.state is not TaskState.FULFILLED:
        statement, values = sql.SEARCH_OPEN_TASKS, [*values, query.state.value]
    rows = await held.connection.fetch(statement, *values)
    tasks = (task for task in map(task_of, rows) if task is not None)
    return page_of(tasks, lambda task: query.state in (None, task.state), query.limit, query.scan_max)


async def _load_schedules(held: Held, query: port.LoadSchedules) -> list[Schedule]:
    held.check_keys(map(schedule_key_of, query.ids))
    return [schedule_of(row) for row in await held.connection.fetch(sql.LOAD_SCHEDULES, query.ids)]


async def _load_due_schedules(held: Held, query: port.LoadDueSchedules) -> list[str]:
    return [row[0] for row in await held.connection.fetch(sql.LOAD_DUE_SCHEDULES, query.now_ms, query.limit)]


async def _search_schedules(held: Held, query: port.SearchSchedules) -> port.Page[Schedule]:
    rows = await held.connection.fetch(sql.SEARCH_SCHEDULES, query.cursor or "", query.scan_max)
    return page_of_schedules(map(schedule_of, rows), query)


async def _load_trees(held: Held, query: trees.LoadTrees) -> trees.MemberPage:
    values = (*query.after, query.limit)
    by_origin = await held.connection.fetch(sql.LOAD_TREES_BY["origin"], *values)
    by_branch = await held.connection.fetch(sql.LOAD_TREES_BY["branch"], *values)
    return member_page_of(by_origin, by_branch, limit=query.limit)


async def _load_groups(held: Held, _: port.LoadGroups) -> list[str | None]:
    return [row[0] for row in await held.connection.fetch(sql.LOAD_GROUPS)]


async def _clear(held: Held, _: port.Clear) -> None:
    await held.connection.execute(LOCK_WHOLE)
    await held.connection.execute(sql.CLEAR)
    held.changed = True


async def _load_outbox(held: Held, query: port.LoadOutbox) -> port.Outbox:
    executes, unblocks = sql.LOAD_GROUP_EXECUTES, sql.LOAD_GROUP_UNBLOCKS
    group: tuple[str, ...] = ()
    if query.group is None:
        executes, unblocks = sql.LOAD_PUSH_EXECUTES, sql.LOAD_PUSH_UNBLOCKS
    else:
        group = (query.group,)
    execute_rows = await held.connection.fetch(executes, query.after_task, query.limit, *group)
    unblock_rows = await held.connection.fetch(unblocks, *query.after_unblock, query.limit, *group)
    return port.Outbox(
        executes=[execute_of(row) for row in execute_rows],
        unblocks=[unblock_of(row) for row in unblock_rows],
        more=max(len(execute_rows), len(unblock_rows)) == query.limit,
    )


def execute_of(row: Sequence[Any]) -> port.QueuedExecute:
    """Return the announcement that stands in a row of the outbox."""
    return port.QueuedExecute(task_id=row[0], version=row[1], address=row[2], group=row[3], queued_at=row[4])


def unblock_of(row: Sequence[Any]) -> tuple[port.QueuedUnblock, PromiseRecord]:
    """Return the news that stand in a row of the outbox, with their promise."""
    queued = port.QueuedUnblock(promise_id=row[0], address=row[1], group=row[2], queued_at=row[3])
    return queued, promise_of(row[4:])


async def _load_gauges(held: Held, query: port.LoadGauges) -> port.Gauges:
    rows = await held.connection.fetch(sql.LOAD_GAUGES)
    counts = {(kind, target): count for kind, target, count in rows}
    waiting = await held.connection.fetch(sql.LOAD_WAITING, query.now_ms)
    dead = await held.connection.fetch(groups.COUNT_DEAD)
    places = await held.connection.fetch(groups.COUNT_ALL_PLACES)
    return port.Gauges(
        counted_at=query.now_ms,
        outbox_executes=counts.pop(("executes", "")),
        outbox_unblocks=counts.pop(("unblocks", "")),
        promises_pending=counts.pop(("promises", "")),
        tasks={(TaskState(state), target): count for (state, target), count in counts.items()},
        waiting_since={row[0]: row[1] for row in waiting},
        dead={row[0]: row[1] for row in dead},
        places=places_of(places),
    )


async def _write(held: Held, query: port.Write) -> None:
    changes = query.changes
    held.check(ids_of(changes))
    held.check_keys(
        map(schedule_key_of, [*(each.id for each in changes.schedules), *changes.schedules_removed])
    )
    if changes.grouping is not None:
        held.check_keys(groups.keys_of(changes.grouping))
        await groups.write_groups(held, changes.grouping)
    await write(held.connection, changes)


_QUERIES: dict[type[port.Query[Any]], Callable[[Held, Any], Awaitable[Any]]] = {
    port.Insert: _insert,
    port.InsertAll: _insert_all,
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
