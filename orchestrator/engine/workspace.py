"""The workspace of a batch: what its commands touch, loaded before they are decided and overlaid by them.

Invariants: it does no I/O and reads no clock; `now_ms` is one for all its commands; a command that is
refused has changed nothing but what time itself has changed (P3); what is asked for without having been
loaded raises KeyError, which is a fault of `needs`, never of a caller.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import msgspec

from orchestrator.domain.address import PollAddress
from orchestrator.domain.ending import TreeEnding
from orchestrator.domain.promise import PromiseRecord
from orchestrator.domain.schedule import Schedule
from orchestrator.domain.task import Task, TaskState
from orchestrator.engine.outgoing import Outgoing, outgoing_execute, outgoing_unblock
from orchestrator.engine.queues import Queues
from orchestrator.engine.settings import EngineSettings
from orchestrator.engine.validation import address_of
from orchestrator.store.port import (
    Chain,
    Changes,
    QueuedExecute,
    QueuedUnblock,
    Row,
)

NEVER = math.inf


def group_of(address: str) -> str | None:
    """Return the poll group of an address, None for a push."""
    parsed = address_of(address)
    return parsed.group if isinstance(parsed, PollAddress) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class TreePage:
    """A page of the open descendants of a promise; `after` is where the next one begins, None at the end."""

    ids: list[str]
    after: str | None


def _always(group: str) -> bool:
    return True


class Workspace(msgspec.Struct):
    """An overlay over loaded rows. Handlers read and write through its methods.

    `listened` tells whether anybody of a poll group may listen; `untaken` are the due tasks that nobody seems
    to have taken, with the moments since when their announcements lie in the outbox. `added` are promises
    that a batch has added before all else, with the positions of their commands; `position` is that of the
    command which is being decided.
    """

    now_ms: int
    settings: EngineSettings
    listened: Callable[[str], bool] = _always
    untaken: dict[str, int] = {}
    preloads: dict[str, list[PromiseRecord]] = {}
    added: dict[str, int] = {}
    position: int = 0
    trees: dict[str, TreePage] = {}
    cancelled: list[str] = []
    _promises: dict[str, PromiseRecord | None] = {}
    _tasks: dict[str, Task | None] = {}
    _callbacks: dict[str, dict[str, None]] = {}
    _listeners: dict[str, dict[str, None]] = {}
    _chains: set[str] = set()
    _created: dict[str, None] = {}
    _settled: dict[str, None] = {}
    _moved: dict[str, None] = {}
    _callbacks_added: dict[tuple[str, str], None] = {}
    _listeners_added: dict[tuple[str, str], None] = {}
    _consumed: dict[str, None] = {}
    _listeners_consumed: dict[str, None] = {}
    _awaiters_done: dict[str, None] = {}
    _executes: dict[str, QueuedExecute | None] = {}
    _unblocks: dict[tuple[str, str], QueuedUnblock] = {}
    _schedules: dict[str, Schedule | None] = {}
    _schedules_changed: dict[str, None] = {}
    _endings: dict[str, TreeEnding | None] = {}
    queues: Queues = msgspec.field(default_factory=Queues)
    _forgotten: dict[str, None] = {}

    # -- loading

    def add_rows(self, ids: Iterable[str], rows: Iterable[Row]) -> None:
        """Take in what exists of `ids`; what has been taken in before stays as it is."""
        for promise, task in rows:
            if promise.id not in self._promises:
                self._promises[promise.id] = promise
                self._tasks[promise.id] = task
        for key in ids:
            if key not in self._promises:
                self._promises[key] = None
                self._tasks[key] = None

    def add_chain(self, ids: Iterable[str], chain: Chain) -> None:
        """Take in who waits for `ids`."""
        self._chains.update(ids)
        for awaited, awaiter in chain.callbacks:
            self._callbacks.setdefault(awaited, {})[awaiter] = None
        for promise_id, address in chain.listeners:
            self._listeners.setdefault(promise_id, {})[address] = None
        self.add_rows((), chain.awaiters)

    def add_schedules(self, ids: Iterable[str], schedules: Iterable[Schedule]) -> None:
        """Take in what exists of `ids`; what has been taken in before stays as it is."""
        found = {schedule.id: schedule for schedule in schedules}
        for key in ids:
            self._schedules.setdefault(key, found.get(key))

    # -- reading

    def promise(self, promise_id: str) -> PromiseRecord | None:
        """Return a promise as it stands now, or None if it does not exist."""
        return self._promises[promise_id]

    def known(self, promise_id: str) -> PromiseRecord | None:
        """Return a promise as it stands now, None also where it was not loaded."""
        return self._promises.get(promise_id)

    def task(self, task_id: str) -> Task | None:
        """Return a task as it stands now, or None if there is none."""
        return self._tasks[task_id]

    def knows(self, promise_id: str) -> bool:
        """Tell whether a promise and its task have been taken in."""
        return promise_id in self._promises

    def tasks(self) -> list[Task]:
        """Return all tasks that have been taken in, as they stand now."""
        return [task for task in self._tasks.values() if task is not None]

    def late(self, ids: Iterable[str]) -> list[PromiseRecord]:
        """Return those of the promises that are open although their deadline has passed, each once."""
        now_ms, late = self.now_ms, dict[str, PromiseRecord]()
        for key in ids:
            promise = self._promises[key]
            if promise is not None and now_ms >= promise.timeout_at and promise.pending:
                late[key] = promise
        return list(late.values())

    def schedule(self, schedule_id: str) -> Schedule | None:
        """Return a schedule as it stands now, or None if it does not exist."""
        return self._schedules[schedule_id]

    def changed(self) -> Iterable[PromiseRecord]:
        """Return the promises that this batch has created, settled or given another value."""
        return (self._present(key) for keys in (self._created, self._settled) for key in keys)

    def held_by(self, pid: str) -> list[Task]:
        """Return the acquired tasks of a pid; they have been taken in."""
        return [task for task in self.tasks() if task.state is TaskState.ACQUIRED and task.pid == pid]

    # -- writing

    def create(self, promise: PromiseRecord, task: Task | None) -> None:
        """Add a promise that did not exist, with its task if it has one."""
        self._promises[promise.id] = promise
        self._created[promise.id] = None
        self._chains.add(promise.id)
        if task is not None:
            self.move(task)

    def note(self, promise: PromiseRecord) -> None:
        """Replace a pending promise by itself with another value: nothing follows from that."""
        self._promises[promise.id] = promise
        if promise.id not in self._created:
            self._settled[promise.id] = None

    def settle(self, promise: PromiseRecord) -> None:
        """Replace a pending promise by its settled self. Its chain must have been taken in."""
        if promise.id not in self._chains:
            raise KeyError(f"the chain of {promise.id} was not loaded")
        self._promises[promise.id] = promise
        if promise.id not in self._created:
            self._settled[promise.id] = None

    def move(self, task: Task) -> None:
        """Replace a task by its next self. One that is not pending any more is not announced."""
        before = self._tasks.get(task.id)
        self._tasks[task.id] = task
        self._moved[task.id] = None
        if self.queues.groups:
            self.queues.moved(before, task, self._promises.get(task.id))
        if before is None:
            return
        if task.cancelled and not before.cancelled:
            self.cancelled.append(task.id)
        if before.state is task.state:
            return
        if before.state is TaskState.HALTED:
            self.queues.revive(task)
        elif before.state is TaskState.PENDING:
            self._executes[task.id] = None

    def add_callback(self, awaited: str, awaiter: str) -> None:
        """Let the task `awaiter` be woken when `awaited` settles."""
        self._callbacks.setdefault(awaited, {})[awaiter] = None
        self._callbacks_added[awaited, awaiter] = None

    def add_listener(self, promise_id: str, address: str) -> None:
        """Let `address` be told when the promise settles."""
        self._listeners.setdefault(promise_id, {})[address] = None
        self._listeners_added[promise_id, address] = None

    def consume_callbacks(self, awaited: str) -> list[str]:
        """Return, in order, and remove who waits for a promise."""
        found = self._callbacks.pop(awaited, None)
        if not found:
            return []
        self._consumed[awaited] = None
        awaiters = sorted(found)
        for awaiter in awaiters:
            self._callbacks_added.pop((awaited, awaiter), None)
        return awaiters

    def consume_listeners(self, promise_id: str) -> list[str]:
        """Return, in order, and remove who listens to a promise."""
        found = self._listeners.pop(promise_id, None)
        if not found:
            return []
        self._listeners_consumed[promise_id] = None
        addresses = sorted(found)
        for address in addresses:
            self._listeners_added.pop((promise_id, address), None)
        return addresses

    def drop_awaiter(self, awaiter: str) -> None:
        """Remove every callback by which a task waits."""
        self._awaiters_done[awaiter] = None
        for awaiters in self._callbacks.values():
            awaiters.pop(awaiter, None)
        if self._callbacks_added:
            for pair in [pair for pair in self._callbacks_added if pair[1] == awaiter]:
                del self._callbacks_added[pair]

    def announce(self, task: Task) -> None:
        """Queue the message that a task waits to be acquired; in a limited group once it is its turn."""
        if not self.queues.ready(task, self._promises.get(task.id)):
            self.tell(task)
        elif task.id not in self._created:
            # It may have been told before, and lose its turn now; if it does not, it is told again.
            self._executes[task.id] = None

    def tell(self, task: Task) -> None:
        """Queue the message that a pending task can be acquired."""
        self._executes[task.id] = QueuedExecute(
            task_id=task.id,
            version=task.version,
            address=task.target,
            group=group_of(task.target),
            queued_at=self.now_ms,
        )

    def unannounce(self, ids: Iterable[str]) -> None:
        """Remove the messages of tasks that must not be acquired now."""
        self._executes.update(dict.fromkeys(ids))

    def hold(self, task: Task) -> None:
        """Queue the message of a task that waits for its timer; whoever connects before is sent it.

        It is not sent now: those who listen now have just given the task back, or it is not its turn.
        """
        group, limited = group_of(task.target), self.queues.limited(task.target)
        if group is not None and not limited and task.timer_at is not None and not self._is_timer(task):
            self._executes[task.id] = QueuedExecute(
                task_id=task.id,
                version=task.version,
                address=task.target,
                group=group,
                queued_at=task.timer_at,
            )

    def _is_timer(self, task: Task) -> bool:
        promise = self._promises.get(task.id)
        return promise is not None and promise.is_timer

    def notify(self, promise_id: str, address: str) -> None:
        """Queue the message that a promise has settled."""
        self._unblocks[promise_id, address] = QueuedUnblock(
            promise_id=promise_id, address=address, group=group_of(address), queued_at=self.now_ms
        )

    def put_schedule(self, schedule: Schedule) -> None:
        """Add a schedule, or replace it by its next self."""
        self._schedules[schedule.id] = schedule
        self._schedules_changed[schedule.id] = None

    def remove_schedule(self, schedule_id: str) -> None:
        """Remove a schedule."""
        self._schedules[schedule_id] = None
        self._schedules_changed[schedule_id] = None

    def put_ending(self, ending: TreeEnding) -> None:
        """Leave the rest of a request to end a tree to the ticker."""
        self._endings[ending.id] = ending

    def remove_ending(self, promise_id: str) -> None:
        """Note that a request to end a tree is carried out."""
        self._endings[promise_id] = None

    def forget(self, promise_id: str) -> None:
        """Remove a promise with its task; one that this very batch has changed is left as it is."""
        if any(promise_id in changed for changed in (self._created, self._settled, self._moved)):
            return
        self._forgotten[promise_id] = None
        self._promises[promise_id] = self._tasks[promise_id] = None

    # -- results

    def changes(self) -> Changes:
        """Return what is to be written; what has not been touched is left as it comes."""
        changes = Changes(
            promises_created=[self._present(key) for key in self._created],
            promises_settled=[self._present(key) for key in self._settled],
            tasks=[task for key in self._moved if (task := self._tasks[key]) is not None],
        )
        if self._executes:
            changes.executes_removed = [key for key, row in self._executes.items() if row is None]
            changes.executes_queued = [row for row in self._executes.values() if row is not None]
        if self._callbacks_added:
            changes.callbacks_added = list(self._callbacks_added)
        if self._listeners_added:
            changes.listeners_added = list(self._listeners_added)
        if self._consumed or self._awaiters_done or self._listeners_consumed or self._unblocks:
            self._add_chain_changes(changes)
        if self._schedules_changed:
            changes.schedules = self._schedules_put()
            changes.schedules_removed = [key for key in self._schedules_changed if not self._schedules[key]]
        if self._endings:
            changes.endings = [ending for ending in self._endings.values() if ending is not None]
            changes.endings_removed = [key for key, ending in self._endings.items() if ending is None]
        changes.grouping = self.queues.changes()
        if self._forgotten:
            changes.promises_removed = list(self._forgotten)
        return changes

    def _add_chain_changes(self, changes: Changes) -> None:
        changes.callbacks_of_awaited_removed = list(self._consumed)
        changes.callbacks_of_awaiter_removed = list(self._awaiters_done)
        changes.listeners_removed = list(self._listeners_consumed)
        changes.unblocks_queued = list(self._unblocks.values())

    def _schedules_put(self) -> list[Schedule]:
        changed = (self._schedules[key] for key in self._schedules_changed)
        return [schedule for schedule in changed if schedule is not None]

    def _present(self, promise_id: str) -> PromiseRecord:
        promise = self._promises[promise_id]
        if promise is None:
            raise KeyError(promise_id)
        return promise

    def outgoing(self) -> list[Outgoing]:
        """Return the messages to send once the changes are committed."""
        if not self._executes and not self._unblocks:
            return []
        queued = (row for row in self._executes.values() if row is not None and row.queued_at <= self.now_ms)
        executes = [outgoing_execute(row) for row in queued]
        unblocks = [outgoing_unblock(row, self._present(row.promise_id)) for row in self._unblocks.values()]
        return [*executes, *unblocks]

    def deadline(self) -> int | None:
        """Return the earliest moment at which something changed here falls due, or None."""
        earliest = NEVER
        for key in self._moved:
            task = self._tasks[key]
            if task is not None and task.timer_at is not None and task.timer_at < earliest:
                earliest = task.timer_at
        for key in self._created:
            promise = self._present(key)
            if promise.timeout_at < earliest and promise.pending:
                earliest = promise.timeout_at
        for schedule in self._schedules_put() if self._schedules_changed else ():
            if not schedule.paused:
                earliest = min(earliest, schedule.next_run_at)
        for ending in self._endings.values():
            if ending is not None:
                earliest = min(earliest, ending.asked_at)
        return None if earliest == NEVER else int(earliest)
