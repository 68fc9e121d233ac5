"""Whose turn it is in limited groups: programs that run within a batch or a tick, before it is written.

Invariants: after each, the tasks that are told are the first of those who wait, as many as may be acquired;
where no more may be acquired nobody is told. A task that waits has a timer (T5): far ahead, since whatever
makes room looks here at once; only the first of those who wait for a rate is looked at when time brings room.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Any

import msgspec
from msgspec import UNSET

from orchestrator.domain import tags as tag
from orchestrator.domain.group import Group, full, next_token_at
from orchestrator.domain.queueing import Place, PlaceEvent, Queued
from orchestrator.domain.task import Task, TaskState
from orchestrator.domain.transitions import with_timer
from orchestrator.engine import unheard
from orchestrator.engine.queues import UNBOUNDED, group_name
from orchestrator.engine.workspace import Workspace
from orchestrator.protocol import commands as c
from orchestrator.protocol.groups import GroupChange, GroupPause, GroupSet
from orchestrator.store.grouping import (
    LoadGroupsToSet,
    LoadLimits,
    LoadPlaces,
    LoadQueue,
    LoadUsages,
)
from orchestrator.store.port import (
    LoadRows,
    Query,
    SearchTasks,
    ask,
)

Steps = Generator[Query[Any], Any, None]
TOLD_MAX = 256
"""How many tasks of a group are told at once, however much room there is."""
PAGE = 1_000


def load_limits(workspace: Workspace) -> Steps:
    """Take in what is set about groups."""
    workspace.queues.groups = yield from ask(LoadLimits())
    workspace.queues.now_ms = workspace.now_ms


def load_usages(workspace: Workspace, targets: Iterable[str]) -> Steps:
    """Take in what the groups use of which tasks with these targets may be acquired."""
    if workspace.queues.groups:
        groups = (workspace.queues.limited(target) for target in targets)
        yield from _load_usages(workspace, (group.id for group in groups if group is not None))


def _load_usages(workspace: Workspace, names: Iterable[str]) -> Steps:
    missing = sorted({name for name in names if name not in workspace.queues.usages})
    if missing:
        workspace.queues.add_usages((yield from ask(LoadUsages(groups=missing))))


def load_claimed(workspace: Workspace, commands: Sequence[c.Command[Any]]) -> Steps:
    """Take in what the groups use of which these commands may acquire tasks."""
    yield from load_usages(workspace, _claimed(workspace, commands))


def _claimed(workspace: Workspace, commands: Sequence[c.Command[Any]]) -> Iterator[str]:
    """Yield the targets of the tasks that a batch may acquire."""
    for command in commands:
        if isinstance(command, c.TaskCreate | c.TaskAcquire):
            task = workspace.task(command.id if isinstance(command, c.TaskAcquire) else command.action.id)
            if task is not None:
                yield task.target
        # What is acquired after it was created in the same batch has a target of its own.
        action = command.action if isinstance(command, c.TaskFence | c.TaskCreate) else command
        if isinstance(action, c.PromiseCreate) and tag.TARGET in action.tags:
            yield action.tags[tag.TARGET]


def load_places(workspace: Workspace, ids: Iterable[str]) -> Steps:
    """Take in the places of tasks that may be looked at again."""
    queues = workspace.queues
    if not queues.groups:
        return
    tasks = [task for key in ids if (task := workspace.task(key)) is not None]
    limited = [task.id for task in tasks if queues.limited(task.target) is not None]
    if limited:
        yield from load_usages(workspace, [task.target for task in tasks])
        found = yield from ask(LoadPlaces(groups=sorted(queues.usages), ids=limited))
        queues.known.update({queued.task_id: queued for queued in found})


def take_turns(workspace: Workspace) -> Steps:
    """Let those be told whose turn has come in the groups that this batch has touched."""
    queues = workspace.queues
    if not queues.touched:
        return
    yield from _load_usages(workspace, queues.touched)
    for name in sorted(queues.touched):
        yield from _take_turns(workspace, queues.groups[name])


def _take_turns(workspace: Workspace, group: Group) -> Steps:
    queues = workspace.queues
    free = min(queues.room(group), TOLD_MAX)
    if free == 0:
        workspace.unannounce(queues.withdraw(group.id))
    token_at = next_token_at(group, queues.usages[group.id], workspace.now_ms)
    line: list[Queued] = []
    if free or token_at is not None:
        line = yield from _line(workspace, group, free)
    chosen, others = line[:free], line[free:]
    fresh = [each for each in chosen if _to_be_told(workspace, each)]
    following = others[:1] if token_at is not None else []
    yield from _load(workspace, [each.task_id for each in (*fresh, *following)])
    for each in fresh:
        _tell(workspace, each)
    for each in others:
        _let_wait(workspace, each)
    for each in queues.own(group.id):
        if each.place is Place.WAITING and each.task_id in queues.newly_ready:
            pause_ms = unheard.pause_ms(workspace.settings, workspace.now_ms - each.since)
            _set_timer(workspace, each, workspace.now_ms + pause_ms)
    for each in following:
        _set_timer(workspace, each, token_at or 0)


def _line(workspace: Workspace, group: Group, free: int) -> Generator[Query[Any], Any, list[Queued]]:
    """Return who is told or waits, in order of turn: all that are told, and somebody beyond the room."""
    queues = workspace.queues
    own = queues.own(group.id)
    withdrawn = group.id in queues.withdrawn
    changed = sum(each is None or each.group == group.id for each in queues.places.values())
    loaded = yield from ask(LoadQueue(group=group.id, limit=free + changed + 1))
    if group.id in queues.queues_removed:
        loaded = []
    others = [
        msgspec.structs.replace(each, place=Place.WAITING) if withdrawn else each
        for each in loaded
        if each.task_id not in queues.places
    ]
    line = [each for each in (*own, *others) if each.place in (Place.WAITING, Place.TOLD)]
    return sorted(line, key=lambda each: each.turn)


def _to_be_told(workspace: Workspace, queued: Queued) -> bool:
    return queued.place is Place.WAITING or queued.task_id in workspace.queues.turned_away


def _load(workspace: Workspace, ids: Iterable[str]) -> Steps:
    missing = [key for key in ids if not workspace.knows(key)]
    if missing:
        workspace.add_rows(missing, (yield from ask(LoadRows(ids=missing))))


def _tell(workspace: Workspace, queued: Queued) -> None:
    task = workspace.task(queued.task_id)
    if task is not None and task.state is TaskState.PENDING:
        workspace.queues.put(msgspec.structs.replace(queued, place=Place.TOLD))
        told = with_timer(task, workspace.now_ms + workspace.settings.reserve_ms)
        workspace.move(told)
        workspace.tell(told)


def _let_wait(workspace: Workspace, queued: Queued) -> None:
    if queued.place is Place.TOLD:
        workspace.queues.put(msgspec.structs.replace(queued, place=Place.WAITING))
        workspace.unannounce([queued.task_id])


def _set_timer(workspace: Workspace, queued: Queued, moment: int) -> None:
    task = workspace.task(queued.task_id)
    if task is not None and task.state is TaskState.PENDING and task.timer_at != moment:
        workspace.move(with_timer(task, moment))


def look_again(workspace: Workspace, task: Task) -> bool:
    """Carry out what is due for a task that was told; return False for any other.

    While nobody of the group listens, or it is not known yet, its place is kept: nobody else could be told
    instead.
    """
    queued, promise = workspace.queues.place(task.id), workspace.promise(task.id)
    if queued is None or promise is None or queued.place not in (Place.TOLD, Place.OVERLOOKED):
        return False
    known_at = unheard.known_at(workspace, task)
    if queued.place is Place.TOLD and known_at > workspace.now_ms:
        workspace.move(with_timer(task, known_at))
        return True
    later = with_timer(task, workspace.now_ms + unheard.retry_ms(workspace, task, promise))
    workspace.move(later)
    if queued.place is Place.OVERLOOKED:
        workspace.tell(later)
    elif unheard.is_heard(workspace, task):
        workspace.queues.change(task, promise, PlaceEvent.OVERLOOK)
    return True


# -- limits that come and go


def change_group(workspace: Workspace, command: GroupChange) -> Steps:
    """Carry out one change of what is set about a group, with all that follows for its tasks."""
    queues, name = workspace.queues, command.id
    before = queues.groups_put.get(name)
    if before is None:
        before = (yield from ask(LoadGroupsToSet(ids=[name]))).get(name, Group(id=name))
    group = changed(before, command)
    if group == before:
        return
    queues.put_group(group)
    if before.limited and not group.limited:
        yield from disband(workspace, name)
    elif group.limited and not before.limited:
        yield from enrol(workspace, group)
    elif group.limited:
        yield from _load_usages(workspace, [name])
        if (group.rate, group.period) != (before.rate, before.period):
            acquired = queues.usages[name].acquired
            bucket = full(group, workspace.now_ms)
            queues.set_usage(name, msgspec.structs.replace(bucket, acquired=acquired))
        queues.touched[name] = None


def changed(group: Group, command: GroupChange) -> Group:
    """Return a group after a change."""
    if not isinstance(command, GroupSet):
        return msgspec.structs.replace(group, paused=isinstance(command, GroupPause))
    given = {name: getattr(command, name) for name in ("concurrency", "rate", "period", "attempts")}
    return msgspec.structs.replace(
        group, **{name: value for name, value in given.items() if value is not UNSET}
    )


def enrol(workspace: Workspace, group: Group) -> Steps:
    """Give the tasks of a group that was unlimited their places."""
    queues = workspace.queues
    queues.set_usage(group.id, full(group, workspace.now_ms))
    queues.touched[group.id] = None
    acquired = 0
    for state in (TaskState.ACQUIRED, TaskState.PENDING):
        after: str | None = ""
        while after is not None:
            page = yield from ask(SearchTasks(state=state, limit=PAGE, cursor=after, scan_max=PAGE))
            ids = [task.id for task in page.items if group_name(task.target) == group.id]
            yield from _load(workspace, ids)
            after = page.cursor
    for task in workspace.tasks():
        if group_name(task.target) == group.id:
            acquired += task.state is TaskState.ACQUIRED
            _enrol(workspace, task)
    usage = msgspec.structs.replace(queues.usages[group.id], acquired=acquired)
    queues.set_usage(group.id, usage)


def _enrol(workspace: Workspace, task: Task) -> None:
    promise = workspace.promise(task.id)
    if promise is None:
        return
    queues = workspace.queues
    queues.places.pop(task.id, None)
    if task.state is TaskState.ACQUIRED:
        queues.change(task, promise, PlaceEvent.TAKE)
    elif task.state is TaskState.PENDING and not promise.is_timer and not _later(workspace, task):
        queues.ready(task, promise)
        workspace.unannounce([task.id])


def _later(workspace: Workspace, task: Task) -> bool:
    """Tell whether a pending task waits for its moment, which brings it into the queue."""
    promise = workspace.promise(task.id)
    held_back = task.releases > 1 and workspace.settings.release_backoff_ms > 0
    if held_back and (task.timer_at or 0) > workspace.now_ms:
        return True
    delay = promise.tags.get(tag.DELAY) if promise is not None else None
    return delay is not None and not task.version and int(delay) > workspace.now_ms


def disband(workspace: Workspace, name: str) -> Steps:
    """Announce everybody who waits for a group that is not limited any more."""
    queues = workspace.queues
    loaded = yield from ask(LoadQueue(group=name, limit=UNBOUNDED))
    waited = [each.task_id for each in loaded if each.place is Place.WAITING]
    waited = [key for key in waited if key not in queues.places and name not in queues.queues_removed]
    waited += queues.forget(name)
    yield from _load(workspace, waited)
    for key in waited:
        task = workspace.task(key)
        if task is not None and task.state is TaskState.PENDING:
            announced = with_timer(task, workspace.now_ms + workspace.settings.retry_timeout_ms)
            workspace.move(announced)
            workspace.tell(announced)
