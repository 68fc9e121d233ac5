"""Which ids each operation touches, those inside of it too.

Rules for editing the table: an operation that names no id of a promise or task of its own, or reaches
more than it names, stays out of it, and a token with a prefix may not use it. An operation that says
nothing about anybody's promises returns no ids. A search reaches one call graph, if it names that by a tag of
lineage, since nobody puts a promise into a graph that is not theirs; else it reaches everything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from orchestrator.domain import tags as tag
from orchestrator.domain.schedule import promise_id_of
from orchestrator.protocol import commands as c
from orchestrator.protocol import schedules as s
from orchestrator.server.auth_identity import Identity

_LINEAGE = (tag.ORIGIN, tag.BRANCH, tag.PARENT, tag.PREFIX)


def authorize(identity: Identity, command: c.Command[Any]) -> None:
    """Raise Refused(403) unless the identity may touch all that the command does."""
    if not identity.prefix:
        return
    touched = TOUCHED.get(type(command))
    if touched is None or (isinstance(command, c.PromiseSearch) and not _lineage(command.tags)):
        identity.require_everything(command.KIND)
    else:
        identity.require_all(touched(command))


def _named(command: Any) -> Iterable[str]:
    return (command.id,)


def _created(command: c.PromiseCreate | c.PromiseRecordStep) -> Iterator[str]:
    yield command.id
    # What a promise descends from decides into whose preload it goes, and which ids its worker creates.
    yield from _lineage(command.tags)


def _lineage(tags: Mapping[str, str]) -> list[str]:
    return [tags[name] for name in _LINEAGE if name in tags]


def _callback(command: c.PromiseRegisterCallback) -> Iterable[str]:
    return command.awaited, command.awaiter


def _suspended(command: c.TaskSuspend) -> Iterator[str]:
    yield command.id
    for action in command.actions:
        yield from _callback(action)


def _fenced(command: c.TaskFence) -> Iterator[str]:
    yield command.id
    if isinstance(command.action, (c.PromiseSettle, c.PromiseProgress)):
        yield command.action.id
    else:
        yield from _created(command.action)
    if isinstance(command.action, c.PromiseRecordStep):
        yield from command.action.forgets


def _scheduled(command: s.ScheduleCreate) -> Iterator[str]:
    yield command.id
    # Its runs descend from nobody but themselves. Two times that share no digit, since a prefix that reaches
    # into the time of a run would fit some runs and not others.
    yield promise_id_of(command.promise_id, command.id, 0)
    yield promise_id_of(command.promise_id, command.id, 9)


TOUCHED: dict[type[c.Command[Any]], Callable[[Any], Iterable[str]]] = {
    c.PromiseGet: _named,
    c.PromiseSearch: lambda command: _lineage(command.tags),
    c.PromiseCreate: _created,
    c.PromiseSettle: _named,
    # Descendants begin with the id of their ancestor, and so with what it begins with.
    c.PromiseCancel: _named,
    c.PromiseTerminate: _named,
    c.PromiseRegisterCallback: _callback,
    c.PromiseRegisterListener: lambda command: (command.awaited,),
    c.TaskGet: _named,
    c.TaskCreate: lambda command: _created(command.action),
    c.TaskAcquire: _named,
    c.TaskRelease: _named,
    c.TaskFulfill: lambda command: (command.id, command.action.id),
    c.TaskSuspend: _suspended,
    c.TaskFence: _fenced,
    c.TaskHeartbeat: lambda command: (reference.id for reference in command.tasks),
    c.TaskHalt: _named,
    c.TaskContinue: _named,
    s.ScheduleGet: _named,
    s.ScheduleCreate: _scheduled,
    s.ScheduleDelete: _named,
    s.SchedulePause: _named,
    s.ScheduleResume: _named,
    c.Describe: lambda command: (),
}
"""The ids of operations that a token with a prefix may use."""
