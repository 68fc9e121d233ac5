"""What each command touches, told before it is decided, so that a batch loads it with one query a table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from orchestrator.protocol import commands as c
from orchestrator.protocol import groups as g
from orchestrator.protocol import schedules as s


class Needs(msgspec.Struct, frozen=True):
    """`named`: promises and tasks to load. `settling`: those that the command may settle.

    `preload`: a task whose children the answer may carry. `held_by`: a pid whose tasks it touches.
    `schedule`: a schedule to load. `tree`: a promise whose open descendants it touches. `unbounded`: what it
    reaches cannot be told from what it names. `new`: what it names does not exist yet, most likely.
    """

    named: tuple[str, ...] = ()
    settling: tuple[str, ...] = ()
    preload: str | None = None
    held_by: str | None = None
    schedule: str | None = None
    tree: str | None = None
    unbounded: bool = False
    new: bool = False


def _named(command: Any) -> Needs:
    return Needs(named=(command.id,))


def _created(command: c.PromiseCreate) -> Needs:
    return Needs(named=(command.id,), new=True)


def _settled(command: c.PromiseSettle) -> Needs:
    return Needs(named=(command.id,), settling=(command.id,))


def _cancelled(command: c.PromiseCancel) -> Needs:
    return Needs(named=(command.id,), tree=command.id, unbounded=True)


def _terminated(command: c.PromiseTerminate) -> Needs:
    return Needs(named=(command.id,), settling=(command.id,), tree=command.id, unbounded=True)


def _callback(command: c.PromiseRegisterCallback) -> Needs:
    return Needs(named=(command.awaited, command.awaiter))


def _listener(command: c.PromiseRegisterListener) -> Needs:
    return Needs(named=(command.awaited,))


def _task_create(command: c.TaskCreate) -> Needs:
    return Needs(named=(command.action.id,), preload=command.action.id, new=True)


def _acquire(command: c.TaskAcquire) -> Needs:
    return Needs(named=(command.id,), preload=None if command.bare else command.id)


def _fulfill(command: c.TaskFulfill) -> Needs:
    return Needs(named=(command.id,), settling=(command.id,))


def _suspend(command: c.TaskSuspend) -> Needs:
    awaited = (action.awaited for action in command.actions)
    return Needs(named=(command.id, *awaited), preload=None if command.bare else command.id)


def _fence(command: c.TaskFence) -> Needs:
    settles = not isinstance(command.action, c.PromiseCreate)
    forgets = command.action.forgets if isinstance(command.action, c.PromiseRecordStep) else ()
    return Needs(
        named=(command.id, command.action.id, *forgets), settling=(command.action.id,) if settles else ()
    )


def _heartbeat(command: c.TaskHeartbeat) -> Needs:
    if not command.tasks:
        return Needs(held_by=command.pid, unbounded=True)
    return Needs(named=tuple(reference.id for reference in command.tasks))


def _schedule(command: Any) -> Needs:
    return Needs(schedule=command.id)


def _group(_: Any) -> Needs:
    return Needs(unbounded=True)


_NEEDS: dict[type[c.Command[Any]], Callable[[Any], Needs]] = {
    c.PromiseGet: _named,
    c.PromiseCreate: _created,
    c.PromiseSettle: _settled,
    c.PromiseCancel: _cancelled,
    c.PromiseTerminate: _terminated,
    c.PromiseRegisterCallback: _callback,
    c.PromiseRegisterListener: _listener,
    c.TaskGet: _named,
    c.TaskCreate: _task_create,
    c.TaskAcquire: _acquire,
    c.TaskRelease: _named,
    c.TaskFulfill: _fulfill,
    c.TaskSuspend: _suspend,
    c.TaskFence: _fence,
    c.TaskHeartbeat: _heartbeat,
    c.TaskHalt: _named,
    c.TaskContinue: _named,
    s.ScheduleGet: _schedule,
    s.ScheduleCreate: _schedule,
    s.ScheduleDelete: _schedule,
    s.SchedulePause: _schedule,
    s.ScheduleResume: _schedule,
    g.GroupSet: _group,
    g.GroupPause: _group,
    g.GroupResume: _group,
}
_NOTHING = Needs()


def needs_of(command: c.Command[Any]) -> Needs:
    """Return what a command touches; searches touch nothing that must be loaded before."""
    tell = _NEEDS.get(type(command))
    return tell(command) if tell is not None else _NOTHING
