"""The records that travel: promises and tasks as the protocol shows them."""

from __future__ import annotations

import msgspec

from orchestrator.domain.promise import PromiseRecord, PromiseState, Value
from orchestrator.domain.task import Task, TaskState

__all__ = ["PromiseRecord", "PromiseState", "TaskRecord", "TaskState", "Value", "task_record"]


class TaskRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A task as every reader sees it; `ttl` (milliseconds) and `pid` only while it is acquired.

    `cancelled` (extension) tells that its promise was asked to end; absent where it was not.
    """

    id: str
    state: TaskState
    version: int
    resumes: int
    ttl: int | None = None
    pid: str | None = None
    cancelled: bool = False


def task_record(task: Task) -> TaskRecord:
    """Return what the protocol shows of a task."""
    return TaskRecord(
        id=task.id,
        state=task.state,
        version=task.version,
        resumes=task.resumes,
        ttl=task.ttl_ms,
        pid=task.pid,
        cancelled=task.cancelled,
    )
