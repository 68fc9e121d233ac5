"""One small function per operation: (workspace, command) -> answer, or Refused. Pure."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from orchestrator.engine.handlers import endings, promises, schedules, tasks
from orchestrator.engine.workspace import Workspace
from orchestrator.protocol import commands as c
from orchestrator.protocol import schedules as s

Handler = Callable[[Workspace, Any], c.Answer]

_HANDLERS: dict[type[c.Command[Any]], Handler] = {
    c.PromiseGet: promises.get,
    c.PromiseCreate: promises.create,
    c.PromiseSettle: promises.settle_promise,
    c.PromiseCancel: endings.cancel,
    c.PromiseTerminate: endings.terminate,
    c.PromiseRegisterCallback: promises.register_callback,
    c.PromiseRegisterListener: promises.register_listener,
    c.TaskGet: tasks.get,
    c.TaskCreate: partial(tasks.create, embedded=False),
    c.TaskAcquire: partial(tasks.acquire, embedded=False),
    c.TaskRelease: tasks.release,
    c.TaskFulfill: tasks.fulfill,
    c.TaskSuspend: tasks.suspend,
    c.TaskFence: tasks.fence,
    c.TaskHeartbeat: tasks.heartbeat,
    c.TaskHalt: tasks.halt,
    c.TaskContinue: tasks.resume,
    s.ScheduleGet: schedules.get,
    s.ScheduleCreate: schedules.create,
    s.ScheduleDelete: schedules.delete,
    s.SchedulePause: schedules.pause,
    s.ScheduleResume: schedules.resume,
}
_EMBEDDED: dict[type[c.Command[Any]], Handler] = {
    c.TaskCreate: partial(tasks.create, embedded=True),
    c.TaskAcquire: partial(tasks.acquire, embedded=True),
}


def decide(workspace: Workspace, command: c.Command[Any], *, embedded: bool = False) -> c.Answer:
    """Decide one command. `embedded` marks one that comes from inside the engine's own process.

    Raises Refused; then the workspace is unchanged but for deadlines that have passed.
    """
    handler = _EMBEDDED.get(type(command)) if embedded else None
    return (handler or _HANDLERS[type(command)])(workspace, command)
