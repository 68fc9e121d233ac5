"""What follows when promises settle, and how tasks are moved: the rules that several operations share.

The order is the protocol's: first every promise, then the task of each, then their awaiters and listeners,
so that two that settle together do not wake one another. Pure over the workspace.
"""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.domain import tags as tag
from orchestrator.domain.errors import Refused
from orchestrator.domain.group import DeathReason, attempts_allowed
from orchestrator.domain.promise import PromiseRecord
from orchestrator.domain.task import Task, TaskState
from orchestrator.domain.transitions import (
    FENCED,
    TASK_TRANSITIONS,
    Count,
    Dispatch,
    Lease,
    TaskEvent,
    Timer,
    advance,
    expire,
)
from orchestrator.engine import unheard
from orchestrator.engine.workspace import Workspace

# A member of an enum takes ten times as long to find.
_ADD, _DISPATCH, _FULFILLED = Count.ADD, Timer.DISPATCH, TaskState.FULFILLED


def expire_named(workspace: Workspace, ids: Iterable[str]) -> None:
    """Settle those of the promises whose deadline has passed, with all that follows (P3)."""
    late = workspace.late(ids)
    if late:
        settle_all(workspace, [expire(promise) for promise in late])


def settle_all(workspace: Workspace, settled: list[PromiseRecord]) -> None:
    """Store promises that have just been settled, and carry out their settlement chain (T3, T4)."""
    for promise in settled:
        workspace.settle(promise)
    for promise in settled:
        _finish_task(workspace, promise)
    for promise in settled:
        _wake_awaiters(workspace, promise)
        for address in workspace.consume_listeners(promise.id):
            workspace.notify(promise.id, address)


def _finish_task(workspace: Workspace, promise: PromiseRecord) -> None:
    task = workspace.task(promise.id)
    if task is not None and task.state is not _FULFILLED:
        apply(workspace, task, TaskEvent.PROMISE_SETTLED)
        workspace.drop_awaiter(promise.id)


def _wake_awaiters(workspace: Workspace, promise: PromiseRecord) -> None:
    for awaiter_id in workspace.consume_callbacks(promise.id):
        awaiter, task = workspace.promise(awaiter_id), workspace.task(awaiter_id)
        if awaiter is None or task is None or not awaiter.pending or awaiter.expired(workspace.now_ms):
            continue
        apply(workspace, task, TaskEvent.AWAITED_SETTLED)


def apply(
    workspace: Workspace,
    task: Task,
    event: TaskEvent,
    *,
    version: int | None = None,
    lease: Lease | None = None,
) -> Task:
    """Move a task by an event of the table, store it and announce it where the table says so.

    An attempt that was the last one ends in a dead letter. Raises Refused(409) where the table refuses, where
    a fenced event carries another version (T2), and where a limited group has no room.
    """
    outcome = TASK_TRANSITIONS[task.state, event]
    if outcome.state is None or (event in FENCED and version != task.version):
        raise Refused(409, _refusal(task, event, version))
    if outcome.claims:
        workspace.queues.admit(task)
    elif outcome.attempts is _ADD and _last_attempt(workspace, task):
        return _give_up(workspace, task, event)
    dispatch = None
    if outcome.timer is _DISPATCH:
        dispatch = _dispatch(workspace, task, event)
    touch_ms = workspace.settings.touch_ms
    moved = advance(task, outcome, workspace.now_ms, dispatch=dispatch, lease=lease, touch_ms=touch_ms)
    if moved != task:
        workspace.move(moved)
    if dispatch is None:
        return moved
    if dispatch.send:
        workspace.announce(moved)
    elif event is TaskEvent.RELEASE:
        workspace.hold(moved)
    return moved


def _last_attempt(workspace: Workspace, task: Task) -> bool:
    group = workspace.queues.of(task.target)
    allowed = attempts_allowed(workspace.promise(task.id), group)
    return allowed is not None and task.attempts + 1 >= allowed


def _give_up(workspace: Workspace, task: Task, event: TaskEvent) -> Task:
    outcome = TASK_TRANSITIONS[task.state, TaskEvent.ATTEMPTS_SPENT]
    moved = advance(task, outcome, workspace.now_ms)
    workspace.move(moved)
    released = event is TaskEvent.RELEASE
    workspace.queues.bury(moved, DeathReason.RELEASED if released else DeathReason.LEASE_ENDED)
    return moved


def _refusal(task: Task, event: TaskEvent, version: int | None) -> str:
    if event is TaskEvent.CLAIM:
        return "Already exists"
    held = f"task {task.id!r} is {task.state} at version {task.version}"
    return f"{held}: {event} refused" + ("" if version is None else f" at version {version}")


def _dispatch(workspace: Workspace, task: Task, event: TaskEvent) -> Dispatch:
    promise = workspace.promise(task.id)
    if promise is not None and promise.is_timer:
        # Its deadline is all that it waits for: a worker could only acquire and drop it.
        return Dispatch(timer_at=promise.timeout_at, send=False)
    if event is TaskEvent.RELEASE and task.releases:
        settings = workspace.settings
        wait_ms = min(
            settings.release_backoff_ms << min(task.releases - 1, 32), settings.release_backoff_ms_max
        )
        if wait_ms > 0:
            return Dispatch(timer_at=workspace.now_ms + wait_ms, send=False)
    pause_ms = workspace.settings.retry_timeout_ms
    if event is TaskEvent.DISPATCH_DUE:
        # Unheard it waits in the outbox for whoever connects: writing it down ever again would help nobody.
        pause_ms = unheard.retry_ms(workspace, task, promise)
    return Dispatch(timer_at=workspace.now_ms + pause_ms, send=True)


def first_dispatch(workspace: Workspace, promise: PromiseRecord) -> Dispatch:
    """Return when the task of a new promise is announced: at once, after its delay, or never (a timer)."""
    if promise.is_timer:
        return Dispatch(timer_at=promise.timeout_at, send=False)
    delay = promise.tags.get(tag.DELAY)
    if delay is not None and int(delay) > workspace.now_ms:
        return Dispatch(timer_at=int(delay), send=False)
    return Dispatch(timer_at=workspace.now_ms + workspace.settings.retry_timeout_ms, send=True)
