"""Commands that, alone in their batch, are mostly one statement: a plain promise, a step of a held task.

What they add is made by the very functions that the general program uses; whatever could make the outcome
another one is a condition of the statement (see `Insert`), and where it does not apply the general program
decides. So a rule that comes to stand against such a command belongs into that condition, or keeps the
command from here. Whatever touches a task's state or an address is decided by the general program.
"""

from __future__ import annotations

from functools import partial

from orchestrator.domain import tags as tag
from orchestrator.domain.promise import PromiseRecord
from orchestrator.engine.handlers.promises import new_promise, new_step
from orchestrator.protocol import commands as c
from orchestrator.protocol.operations import Command
from orchestrator.store.port import Fence, Insert


def insert_of(command: Command[c.Answer], touch_ms: int) -> Insert | None:
    """Return the one statement that a command may come down to, or None; `touch_ms` as for `Fence`."""
    if isinstance(command, c.PromiseCreate):
        return _create(command, None)
    if isinstance(command, c.TaskFence):
        action, fence = command.action, Fence(task_id=command.id, version=command.version, touch_ms=touch_ms)
        if isinstance(action, c.PromiseRecordStep) and action.forgets:
            return None
        if isinstance(action, c.PromiseRecordStep):
            return Insert(
                made=partial(new_step, action),
                promise_id=action.id,
                timeout_at=action.timeout_at,
                born_ms=action.created_at,
                fence=fence,
            )
        if isinstance(action, c.PromiseCreate):
            return _create(action, fence)
    return None


def _create(command: c.PromiseCreate, fence: Fence | None) -> Insert | None:
    if tag.TARGET in command.tags:
        return None
    return Insert(
        made=partial(new_promise, command), promise_id=command.id, timeout_at=command.timeout_at, fence=fence
    )


def answer_of(command: Command[c.Answer], promise: PromiseRecord) -> c.Answer:
    """Return the answer to a command whose promise has been added."""
    if isinstance(command, c.TaskFence):
        return c.FenceAnswer(promise=promise, preload=[])
    return c.PromiseAnswer(promise=promise)
