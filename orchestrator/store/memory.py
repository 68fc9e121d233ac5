"""The memory store: the same port over dictionaries, for tests and for work that need not last.

Programs run inline, one after another, so nothing interleaves; an undo log makes them atomic. Due work
lies in two heaps whose stale entries are dropped as they surface.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right, insort
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from orchestrator.domain import tags as tag
from orchestrator.domain.promise import PromiseRecord
from orchestrator.domain.schedule import Schedule
from orchestrator.domain.task import Task, TaskState
from orchestrator.store import memory_groups as groups
from orchestrator.store import port
from orchestrator.store.errors import StoreError
from orchestrator.store.memory_tables import Tables
from orchestrator.store.memory_trees import TREE_QUERIES
from orchestrator.store.search import INDEXED_TAGS, indexed_of, matches, page_of, page_of_schedules

T = TypeVar("T")


class MemoryStore:
    """A store that lives and dies with its process."""

    def __init__(self) -> None:
        self._tables = Tables()
        self._open = False

    async def open(self) -> None:
        """Make it usable; what it held before a close is still there."""
        self._open = True

    async def close(self) -> None:
        """Refuse further programs."""
        self._open = False

    async def run(self, make_program: Callable[[int], port.Program[T]], now_ms: int) -> T:
        """Drive one program; see the port."""
        return self.run_at_once(make_program, now_ms)

    def run_at_once(self, make_program: Callable[[int], port.Program[T]], now_ms: int) -> T:
        """Drive one program at once; see the port."""
        if not self._open:
            raise StoreError("the memory store is closed; open it first")
        tables, rows = self._tables, None
        tables.undo.clear()
        program = make_program(now_ms)
        try:
            while True:
                rows = _answer(tables, program.send(rows))
        except StopIteration as stop:
            result: T = stop.value
            return result
        except BaseException:
            tables.roll_back()
            raise


def _answer(tables: Tables, query: port.Query[Any]) -> Any:
    return _QUERIES[type(query)](tables, query)


def _insert(_: Tables, __: port.Insert) -> None:
    return None  # it has no statement to save


def _insert_all(_: Tables, __: port.InsertAll) -> None:
    return None


def _row(tables: Tables, key: str) -> port.Row:
    return tables.promises[key], tables.tasks.get(key)


def _load_rows(tables: Tables, query: port.LoadRows) -> list[port.Row]:
    return [_row(tables, key) for key in query.ids if key in tables.promises]


def _load_chain(tables: Tables, query: port.LoadChain) -> port.Chain:
    ids = sorted(set(query.ids))
    callbacks = [pair for key in ids for pair in sorted(tables.awaited.get(key, ()))]
    listeners = [pair for key in ids for pair in sorted(tables.listening.get(key, ()))]
    awaiters = sorted({awaiter for _, awaiter in callbacks})
    return port.Chain(
        callbacks=callbacks, awaiters=[_row(tables, key) for key in awaiters], listeners=listeners
    )


def _load_preloads(tables: Tables, query: port.LoadPreloads) -> dict[str, list[PromiseRecord]]:
    found = {}
    for key, branch in query.keys:
        ids = tables.related.get((tag.BRANCH, branch), set()) | tables.related.get((tag.PARENT, key), set())
        chosen = heapq.nsmallest(query.limit, ids - {key})
        found[key] = [tables.promises[child] for child in chosen]
    return found


def _load_held(tables: Tables, query: port.LoadHeld) -> list[port.Row]:
    pids = set(query.pids)
    return [_row(tables, task.id) for task in tables.tasks.values() if task.pid in pids]


def _load_embedded(tables: Tables, query: port.LoadEmbedded) -> list[port.Row]:
    held = [task.id for task in tables.tasks.values() if task.embedded]
    return [_row(tables, key) for key in held[: query.limit]]


def _deadline_of(tables: Tables, key: str) -> int | None:
    promise = tables.promises.get(key)
    return promise.timeout_at if promise is not None and promise.pending else None


def _timer_of(tables: Tables, key: str) -> int | None:
    task = tables.tasks.get(key)
    return task.timer_at if task is not None else None


def _next_run_of(tables: Tables, key: str) -> int | None:
    schedule = tables.schedules.get(key)
    return schedule.next_run_at if schedule is not None and not schedule.paused else None


def _due(
    tables: Tables,
    heap: list[tuple[int, str]],
    moment_of: Callable[[Tables, str], int | None],
    now_ms: int,
    limit: int,
) -> list[str]:
    due: dict[str, int] = {}
    while heap and len(due) < limit and heap[0][0] <= now_ms:
        moment, key = heapq.heappop(heap)
        if moment_of(tables, key) == moment:
            due[key] = moment
    for key, moment in due.items():  # they leave the heap only when they have changed
        heapq.heappush(heap, (moment, key))
    return list(due)


def _load_timed(tables: Tables, query: port.LoadTimed) -> list[port.Timed]:
    # All are sorted, once at a start: what lives in memory has seldom been there before.
    timed = sorted((t.timer_at, t.id) for t in tables.tasks.values() if t.timer_at is not None)
    page = [key for key in timed if key > query.after and key[0] <= query.until_ms][: query.limit]
    return [
        port.Timed(
            timer_at=moment,
            task_id=key,
            unannounced=tables.tasks[key].state is TaskState.PENDING and key not in tables.executes,
            queued_at=tables.executes[key].queued_at if key in tables.executes else None,
        )
        for moment, key in page
    ]


def _load_due(tables: Tables, query: port.LoadDue) -> list[str]:
    return [
        *_due(tables, tables.deadlines, _deadline_of, query.now_ms, query.limit),
        *_due(tables, tables.timers, _timer_of, query.now_ms, query.limit),
    ]


def _load_deadline(tables: Tables, _: port.LoadDeadline) -> int | None:
    moments = []
    timed = (
        (tables.deadlines, _deadline_of),
        (tables.timers, _timer_of),
        (tables.runs, _next_run_of),
    )
    for heap, moment_of in timed:
        while heap and moment_of(tables, heap[0][1]) != heap[0][0]:
            heapq.heappop(heap)
        moments += [heap[0][0]] if heap else []
    moments += [ending.asked_at for ending in tables.endings.values()]
    return min(moments, default=None)


def _search_promises(tables: Tables, query: port.SearchPromises) -> port.Page[PromiseRecord]:
    candidates: Iterable[PromiseRecord] = _behind(tables, query)
    return page_of(candidates, lambda promise: matches(promise, query), query.limit, query.scan_max)


def _behind(tables: Tables, query: port.SearchPromises) -> Iterator[PromiseRecord]:
    indexed = indexed_of(query.tags)
    ids = tables.ids if indexed is None else sorted(tables.related.get((indexed, query.tags[indexed]), ()))
    start = bisect_right(ids, query.cursor or "")
    return (tables.promises[key] for key in ids[start : start + query.scan_max])


def _search_tasks(tables: Tables, query: port.SearchTasks) -> port.Page[Task]:
    start = bisect_right(tables.ids, query.cursor or "")
    tasks = (tables.tasks[key] for key in tables.ids[start:] if key in tables.tasks)
    if query.state is not None and query.state is not TaskState.FULFILLED:
        tasks = (task for task in tasks if task.state is query.state)
    bounded = (task for task, _ in zip(tasks, range(query.scan_max), strict=False))
    return page_of(bounded, lambda task: query.state in (None, task.state), query.limit, query.scan_max)


def _load_schedules(tables: Tables, query: port.LoadSchedules) -> list[Schedule]:
    return [tables.schedules[key] for key in query.ids if key in tables.schedules]


def _load_due_schedules(tables: Tables, query: port.LoadDueSchedules) -> list[str]:
    return _due(tables, tables.runs, _next_run_of, query.now_ms, query.limit)


def _search_schedules(tables: Tables, query: port.SearchSchedules) -> port.Page[Schedule]:
    behind = sorted(key for key in tables.schedules if key > (query.cursor or ""))
    return page_of_schedules((tables.schedules[key] for key in behind[: query.scan_max]), query)


def _load_groups(tables: Tables, _: port.LoadGroups) -> list[str | None]:
    groups = {row.group for row in tables.executes.values()}
    return list(groups | {row.group for row in tables.unblocks.values()})


def _clear(tables: Tables, _: port.Clear) -> None:
    tables.clear()


def _load_outbox(tables: Tables, query: port.LoadOutbox) -> port.Outbox:
    executes = heapq.nsmallest(
        query.limit,
        (r for r in tables.executes.values() if r.group == query.group and r.task_id > query.after_task),
        key=lambda row: row.task_id,
    )
    keys = heapq.nsmallest(
        query.limit,
        (k for k, r in tables.unblocks.items() if r.group == query.group and k > query.after_unblock),
    )
    return port.Outbox(
        executes=executes,
        unblocks=[(tables.unblocks[key], tables.promises[key[0]]) for key in keys],
        more=max(len(executes), len(keys)) == query.limit,
    )


def _load_gauges(tables: Tables, query: port.LoadGauges) -> port.Gauges:
    unfinished = [task for task in tables.tasks.values() if task.state is not TaskState.FULFILLED]
    since: dict[str, int] = {}
    for task in unfinished:
        tags, created_at = tables.promises[task.id].tags, tables.promises[task.id].created_at
        due_at = int(tags.get(tag.DELAY, created_at))
        new = task.state is TaskState.PENDING and not task.version and tag.TIMER not in tags
        if new and due_at <= query.now_ms:
            since[task.target] = min(due_at, since.get(task.target, due_at))
    return port.Gauges(
        counted_at=query.now_ms,
        tasks=dict(Counter((task.state, task.target) for task in unfinished)),
        waiting_since=since,
        outbox_executes=len(tables.executes),
        outbox_unblocks=len(tables.unblocks),
        promises_pending=sum(promise.pending for promise in tables.promises.values()),
        **groups.group_gauges(tables),
    )


def _write(tables: Tables, query: port.Write) -> None:
    changes = query.changes
    _remove_sent(tables, changes)
    for promise in changes.promises_created:
        _create(tables, promise)
    for promise in changes.promises_settled:
        tables.put(tables.promises, promise.id, promise)
    for task in changes.tasks:
        tables.put(tables.tasks, task.id, task)
        if task.timer_at is not None:
            heapq.heappush(tables.timers, (task.timer_at, task.id))
    _write_waiters(tables, changes)
    groups.write_groups(tables, changes.grouping)
    for key in changes.executes_removed:
        tables.remove(tables.executes, key)
    for execute in changes.executes_queued:
        tables.put(tables.executes, execute.task_id, execute)
    for unblock in changes.unblocks_queued:
        tables.put(tables.unblocks, (unblock.promise_id, unblock.address), unblock)
    for schedule in changes.schedules:
        tables.put(tables.schedules, schedule.id, schedule)
        heapq.heappush(tables.runs, (schedule.next_run_at, schedule.id))
    for key in changes.schedules_removed:
        tables.remove(tables.schedules, key)
    for key in changes.promises_removed:
        _remove_promise(tables, key)
    for ending in changes.endings:
        tables.put(tables.endings, ending.id, ending)
    for key in changes.endings_removed:
        tables.remove(tables.endings, key)


def _remove_promise(tables: Tables, key: str) -> None:
    promise = tables.promises.get(key)
    if promise is None:
        return
    tables.remove(tables.promises, key)
    tables.remove(tables.tasks, key)
    del tables.ids[bisect_right(tables.ids, key) - 1]
    tables.undo.append(lambda: insort(tables.ids, key))
    for name in INDEXED_TAGS:
        if name in promise.tags:
            tables.unlink(tables.related, (name, promise.tags[name]), key)
    for news in [pair for pair in tables.unblocks if pair[0] == key]:
        tables.remove(tables.unblocks, news)


def _remove_sent(tables: Tables, changes: port.Changes) -> None:
    if changes.unblocks_before is not None:
        old = [key for key, row in tables.unblocks.items() if row.queued_at < changes.unblocks_before]
        for key in old:
            tables.remove(tables.unblocks, key)
    for task_id, sent_at in changes.executes_sent:
        row = tables.executes.get(task_id)
        if row is not None and row.queued_at <= sent_at:
            tables.remove(tables.executes, task_id)
    for key in changes.unblocks_sent:
        tables.remove(tables.unblocks, key)


def _create(tables: Tables, promise: PromiseRecord) -> None:
    if promise.id in tables.promises:
        raise StoreError(f"promise {promise.id} exists already")
    tables.put(tables.promises, promise.id, promise)
    insort(tables.ids, promise.id)
    tables.undo.append(lambda: tables.ids.remove(promise.id))
    for name in INDEXED_TAGS:
        if name in promise.tags:
            tables.link(tables.related, (name, promise.tags[name]), promise.id)
    if promise.pending:
        heapq.heappush(tables.deadlines, (promise.timeout_at, promise.id))


def _write_waiters(tables: Tables, changes: port.Changes) -> None:
    for key in changes.callbacks_of_awaited_removed:
        for pair in list(tables.awaited.get(key, ())):
            _remove_callback(tables, pair)
    for key in changes.callbacks_of_awaiter_removed:
        for pair in list(tables.awaiting.get(key, ())):
            _remove_callback(tables, pair)
    for pair in changes.callbacks_added:
        tables.put(tables.callbacks, pair, None)
        tables.link(tables.awaited, pair[0], pair)
        tables.link(tables.awaiting, pair[1], pair)
    for key in changes.listeners_removed:
        for pair in list(tables.listening.get(key, ())):
            tables.remove(tables.listeners, pair)
            tables.unlink(tables.listening, key, pair)
    for pair in changes.listeners_added:
        tables.put(tables.listeners, pair, None)
        tables.link(tables.listening, pair[0], pair)


def _remove_callback(tables: Tables, pair: tuple[str, str]) -> None:
    tables.remove(tables.callbacks, pair)
    tables.unlink(tables.awaited, pair[0], pair)
    tables.unlink(tables.awaiting, pair[1], pair)


_QUERIES: dict[type[port.Query[Any]], Callable[[Tables, Any], Any]] = {
    port.Insert: _insert,
    port.InsertAll: _insert_all,
    port.LoadRows: _load_rows,
    port.LoadChain: _load_chain,
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
    **groups.QUERIES,
    port.LoadGroups: _load_groups,
    port.Clear: _clear,
    port.Write: _write,
    **TREE_QUERIES,
}
