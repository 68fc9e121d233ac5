"""What a batch knows and changes of limited groups: their limits, their usage, the places of their tasks.

Invariants: of an unlimited group nothing is known or written. A claim is decided over a usage that was loaded
under the group's lock, counting what this batch has acquired and let go of before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from orchestrator.domain.errors import Refused
from orchestrator.domain.group import DeadLetter, DeathReason, Group, Usage, name_of, priority_of, room, taken
from orchestrator.domain.promise import PromiseRecord
from orchestrator.domain.queueing import PLACES, Place, PlaceEvent, Queued
from orchestrator.domain.task import Task, TaskState
from orchestrator.engine.validation import address_of
from orchestrator.store.group_changes import GroupChanges

UNBOUNDED = 2**31
"""The room of a group that nothing limits."""


def group_name(target: str) -> str:
    """Return the group of a task by its target."""
    return name_of(address_of(target))


class Queues(msgspec.Struct):
    """An overlay over the groups' rows; the workspace tells it of every task that moves."""

    now_ms: int = 0
    groups: Mapping[str, Group] = msgspec.field(default_factory=dict)
    usages: dict[str, Usage] = {}
    places: dict[str, Queued | None] = {}
    """The places that this batch has changed."""
    known: dict[str, Queued] = {}
    """The places that were loaded."""
    touched: dict[str, None] = {}
    """The groups of which somebody has come, gone or been told."""
    newly_ready: set[str] = set()
    """The tasks that have begun to wait in this batch."""
    turned_away: set[str] = set()
    """The tasks that this batch has refused for lack of room: they are told again."""
    withdrawn: dict[str, None] = {}
    groups_put: dict[str, Group] = {}
    queues_removed: dict[str, None] = {}
    _gone: dict[str, int] = {}
    """How many acquired tasks have been let go of, of groups whose usage is not loaded yet."""
    _dead: dict[str, DeadLetter | None] = {}
    _usages_changed: dict[str, None] = {}

    def limited(self, target: str) -> Group | None:
        """Return the group of a task if it is limited."""
        if not self.groups:
            return None
        group = self.groups.get(group_name(target))
        return group if group is not None and group.limited else None

    def of(self, target: str) -> Group | None:
        """Return the group of a task if anything about it is set."""
        return self.groups.get(group_name(target)) if self.groups else None

    # -- usage

    def add_usages(self, usages: Mapping[str, Usage]) -> None:
        """Take in what groups use; what has been taken in before stays as it is."""
        for name, usage in usages.items():
            if name not in self.usages:
                gone = self._gone.pop(name, 0)
                self.usages[name] = msgspec.structs.replace(usage, acquired=usage.acquired - gone)

    def room(self, group: Group) -> int:
        """Return how many more tasks of a group may be acquired now; its usage has been taken in."""
        return room(group, self.usages[group.id], self.now_ms, UNBOUNDED)

    def admit(self, task: Task) -> None:
        """Raise Refused(409) if the task's group has no room for it."""
        group = self.limited(task.target)
        if group is None or self.room(group) > 0:
            return
        self.turned_away.add(task.id)
        raise Refused(409, f"task {task.id!r} has to wait: {self._why(group)}")

    def _why(self, group: Group) -> str:
        if group.paused:
            return f"group {group.id!r} is paused"
        acquired = self.usages[group.id].acquired
        if group.concurrency is not None and acquired >= group.concurrency:
            return f"group {group.id!r} has {acquired} tasks acquired of at most {group.concurrency}"
        return f"group {group.id!r} has had its {group.rate} acquisitions in {group.period} ms"

    def set_usage(self, name: str, usage: Usage) -> None:
        """Replace what a group uses."""
        self.usages[name] = usage
        self._gone.pop(name, None)
        self._usages_changed[name] = None

    # -- places

    def moved(self, before: Task | None, task: Task, promise: PromiseRecord | None) -> None:
        """Follow a task from one state to the next."""
        group = self.limited(task.target)
        if group is None or promise is None:
            return
        was, now = before.state if before is not None else None, task.state
        if now is was:
            return
        if was is TaskState.ACQUIRED:
            self._let_go(group.id)
        if now is TaskState.ACQUIRED:
            self._change(group, task, promise, PlaceEvent.TAKE)
            self.set_usage(group.id, taken(group, self.usages[group.id], self.now_ms))
        elif was in (TaskState.PENDING, TaskState.ACQUIRED):
            self._change(group, task, promise, PlaceEvent.LEAVE)

    def _let_go(self, name: str) -> None:
        usage = self.usages.get(name)
        if usage is None:
            self._gone[name] = self._gone.get(name, 0) + 1
        else:
            self.usages[name] = msgspec.structs.replace(usage, acquired=usage.acquired - 1)

    def ready(self, task: Task, promise: PromiseRecord | None) -> bool:
        """Let a task that is to be announced wait for its turn; False for one of an unlimited group."""
        group = self.limited(task.target)
        if group is not None and promise is not None:
            self._change(group, task, promise, PlaceEvent.READY)
        return group is not None

    def change(self, task: Task, promise: PromiseRecord, event: PlaceEvent) -> None:
        """Move a task of a limited group by an event of the table."""
        group = self.limited(task.target)
        if group is not None:
            self._change(group, task, promise, event)

    def _change(self, group: Group, task: Task, promise: PromiseRecord, event: PlaceEvent) -> None:
        before = self.place(task.id)
        place = PLACES[None if before is None else before.place, event]
        if event is PlaceEvent.READY:
            self.newly_ready.add(task.id)
        self.places[task.id] = None
        if place is not None:
            self.places[task.id] = Queued(
                task_id=task.id,
                group=group.id,
                place=place,
                rank=-priority_of(promise),
                since=promise.created_at,
            )
        self.touched[group.id] = None

    def place(self, task_id: str) -> Queued | None:
        """Return where a task stands, as far as it has been loaded or changed."""
        return self.places[task_id] if task_id in self.places else self.known.get(task_id)

    def put(self, queued: Queued) -> None:
        """Replace a task's place."""
        self.places[queued.task_id] = queued

    def own(self, name: str) -> list[Queued]:
        """Return the tasks of a group whose places this batch has changed, and that have one."""
        return [each for each in self.places.values() if each is not None and each.group == name]

    def withdraw(self, name: str) -> list[str]:
        """Let nobody of a group be told any more, and return who of those that this batch has changed was."""
        self.withdrawn[name] = None
        told = [each for each in self.own(name) if each.place in (Place.TOLD, Place.OVERLOOKED)]
        for each in told:
            self.put(msgspec.structs.replace(each, place=Place.WAITING))
        return [each.task_id for each in told]

    # -- groups

    def put_group(self, group: Group) -> None:
        """Replace what is set about a group."""
        self.groups = {**self.groups, group.id: group}
        self.groups_put[group.id] = group

    def forget(self, name: str) -> Iterable[str]:
        """Remove the queue of a group that is not limited any more, and return who waited in it."""
        waited = [each.task_id for each in self.own(name) if each.place is Place.WAITING]
        for key in [key for key, each in self.places.items() if each is not None and each.group == name]:
            del self.places[key]
        self.queues_removed[name] = None
        self.touched.pop(name, None)
        self.withdrawn.pop(name, None)
        return waited

    # -- results

    def changes(self) -> GroupChanges | None:
        """Return what is to be written, None if that is nothing."""
        if not (self._dead or self.groups_put or self.touched or self.queues_removed):
            return None
        return GroupChanges(
            groups=list(self.groups_put.values()),
            usages={
                name: self.usages[name] for name in self._usages_changed if self.groups[name].rate is not None
            },
            queues_removed=list(self.queues_removed),
            queues_withdrawn=list(self.withdrawn),
            queued_removed=[key for key, queued in self.places.items() if queued is None],
            queued=[queued for queued in self.places.values() if queued is not None],
            dead_removed=[key for key, letter in self._dead.items() if letter is None],
            dead=self.dead(),
        )

    # -- dead letters

    def bury(self, task: Task, reason: DeathReason) -> None:
        """Note that a task was halted because its attempts are spent."""
        self._dead[task.id] = DeadLetter(
            id=task.id,
            group=group_name(task.target),
            version=task.version,
            attempts=task.attempts,
            reason=reason,
            died_at=self.now_ms,
        )

    def revive(self, task: Task) -> None:
        """Note that a task is not halted any more; whether it was dead is not known."""
        self._dead[task.id] = None

    def dead(self) -> list[DeadLetter]:
        """Return the tasks whose attempts were spent in this batch."""
        return [letter for letter in self._dead.values() if letter is not None]
