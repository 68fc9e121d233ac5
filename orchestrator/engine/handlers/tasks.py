"""The operations on tasks, each decided over the workspace.

Every write of a worker is fenced: `apply` refuses a version that is not the task's (T2).
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from orchestrator.domain import tags as tag
from orchestrator.domain.errors import Refused
from orchestrator.domain.ids import precedes
from orchestrator.domain.promise import PromiseRecord
from orchestrator.domain.task import Task, TaskState
from orchestrator.domain.transitions import TASK_TRANSITIONS, Lease, TaskEvent, advance, fresh_task
from orchestrator.engine.handlers import promises
from orchestrator.engine.settlement import apply, expire_named
from orchestrator.engine.workspace import Workspace
from orchestrator.protocol import commands as c
from orchestrator.protocol.records import task_record

TASK_NOT_FOUND = "Task not found"
_FIRST_CLAIM = TASK_TRANSITIONS[TaskState.PENDING, TaskEvent.CLAIM]


def get(workspace: Workspace, command: c.TaskGet) -> c.TaskAnswer:
    """task.get."""
    expire_named(workspace, [command.id])
    return c.TaskAnswer(task=task_record(_existing(workspace, command.id)))


def create(workspace: Workspace, command: c.TaskCreate, *, embedded: bool) -> c.TaskClaim:
    """task.create: a new promise whose task is acquired at once, or the claim of a pending one."""
    action = command.action
    expire_named(workspace, [action.id])
    lease = Lease(pid=command.pid, ttl_ms=command.ttl, embedded=embedded)
    promise = workspace.promise(action.id)
    if promise is None:
        return _create_claimed(workspace, action, lease)
    task = workspace.task(action.id)
    if task is None:
        raise Refused(422, f"Promise {action.id!r} exists and has no task")
    claimed = apply(workspace, task, TaskEvent.CLAIM, lease=lease)
    acquired = claimed.state is TaskState.ACQUIRED
    preload = _preload(workspace, promise) if acquired else []
    return c.TaskClaim(task=task_record(claimed), promise=promise, preload=preload)


def _create_claimed(workspace: Workspace, action: c.PromiseCreate, lease: Lease) -> c.TaskClaim:
    """Create and acquire at once; without room in its group the task waits, as if somebody else had it."""
    promise = promises.new_promise(action, workspace.now_ms)
    task = fresh_task(promise)
    if promise.pending:
        try:
            workspace.queues.admit(task)
        except Refused:
            promises.add_promise(workspace, promise)
            raise
        task = advance(task, _FIRST_CLAIM, workspace.now_ms, lease=lease)
    workspace.create(promise, task)
    return c.TaskClaim(task=task_record(task), promise=promise, preload=[])


def acquire(workspace: Workspace, command: c.TaskAcquire, *, embedded: bool) -> c.TaskClaim:
    """task.acquire."""
    expire_named(workspace, [command.id])
    task = _existing(workspace, command.id)
    lease = Lease(pid=command.pid, ttl_ms=command.ttl, embedded=embedded)
    acquired = apply(workspace, task, TaskEvent.ACQUIRE, version=command.version, lease=lease)
    promise = promises.existing(workspace, command.id)
    preload = [] if command.bare else _preload(workspace, promise)
    return c.TaskClaim(task=task_record(acquired), promise=promise, preload=preload)


def release(workspace: Workspace, command: c.TaskRelease) -> c.Empty:
    """task.release."""
    expire_named(workspace, [command.id])
    task = _existing(workspace, command.id)
    apply(workspace, task, TaskEvent.RELEASE, version=command.version)
    return c.Empty()


def fulfill(workspace: Workspace, command: c.TaskFulfill) -> c.PromiseAnswer:
    """task.fulfill."""
    expire_named(workspace, [command.id])
    task = _existing(workspace, command.id)
    apply(workspace, task, TaskEvent.FULFILL, version=command.version)
    promise = promises.settle_existing(workspace, command.action)
    workspace.drop_awaiter(command.id)
    return c.PromiseAnswer(promise=promise)


def suspend(workspace: Workspace, command: c.TaskSuspend) -> c.SuspendAnswer:
    """task.suspend: rest until something awaited settles; stay awake if something has."""
    awaited_ids = list(dict.fromkeys(action.awaited for action in command.actions))
    expire_named(workspace, [command.id, *awaited_ids])
    own = workspace.promise(command.id)
    for action in command.actions:
        promises.check_may_await(action, workspace.promise(action.awaited), own)
    task = _existing(workspace, command.id)
    awaited = [promise for key in awaited_ids if (promise := workspace.promise(key)) is not None]
    ready = [promise for promise in awaited if not promise.pending]
    cancelled = command.heeds and task.cancelled
    event = TaskEvent.STAY_AWAKE if ready or cancelled else TaskEvent.SUSPEND
    _check_fence(task, event, command.version)
    if len(awaited) < len(awaited_ids):
        missing = next(key for key in awaited_ids if workspace.promise(key) is None)
        raise Refused(422, f"Awaited promise {missing!r} not found")
    apply(workspace, task, event, version=command.version)
    if ready or cancelled:
        preload = ready
        if ready and not command.bare:
            preload = _preload(workspace, promises.existing(workspace, command.id), ready)
        return c.SuspendAnswer(suspended=False, preload=preload, cancelled=cancelled)
    for key in awaited_ids:
        workspace.add_callback(key, command.id)
    return c.SuspendAnswer(suspended=True, preload=[])


def _check_fence(task: Task, event: TaskEvent, version: int) -> None:
    if TASK_TRANSITIONS[task.state, event].state is None or task.version != version:
        held = f"task {task.id!r} is {task.state} at version {task.version}"
        raise Refused(409, f"{held}: {event} refused at version {version}")


def fence(workspace: Workspace, command: c.TaskFence) -> c.FenceAnswer:
    """task.fence: create, settle or record another promise, if the task is still held.

    The preload is left empty, as the protocol allows: a workflow of a thousand steps would otherwise be
    sent a million records.
    """
    action = command.action
    expire_named(workspace, [command.id, action.id])
    task = _existing(workspace, command.id)
    apply(workspace, task, TaskEvent.FENCE, version=command.version)
    before = workspace.promise(action.id)
    if isinstance(action, c.PromiseCreate | c.PromiseRecordStep):
        _check_not_forgotten(workspace, task, action.id)
    match action:
        case c.PromiseCreate():
            promise: PromiseRecord | None = promises.create_promise(workspace, action)
        case c.PromiseRecordStep():
            promise = promises.record_step(workspace, action)
            if action.forgets:
                _forget(workspace, task.id, action)
        case c.PromiseSettle():
            known = workspace.promise(action.id) is not None
            promise = promises.settle_existing(workspace, action) if known else None
        case c.PromiseProgress():
            promise = promises.note_progress(workspace, action)
    if workspace.promise(action.id) is not before:
        apply(workspace, _existing(workspace, command.id), TaskEvent.PROGRESS, version=command.version)
    return c.FenceAnswer(promise=promise, preload=[], cancelled=task.cancelled)


def _check_not_forgotten(workspace: Workspace, task: Task, promise_id: str) -> None:
    """Refuse a request that was sent before its workflow started over, and arrives behind that."""
    gone = any(precedes(promise_id, start) for start in task.left_behind)
    if gone and workspace.promise(promise_id) is None:
        raise Refused(409, f"promise {promise_id!r} was forgotten: its workflow has started over since")


def _forget(workspace: Workspace, task_id: str, step: c.PromiseRecordStep) -> None:
    for forgotten in step.forgets:
        promises.forget(workspace, forgotten)
    task = _existing(workspace, task_id)
    later = [start for start in task.left_behind if not precedes(start, step.id)]
    if not any(start == step.id or precedes(step.id, start) for start in later):
        workspace.move(msgspec.structs.replace(task, left_behind=(*later, step.id)))


def heartbeat(workspace: Workspace, command: c.TaskHeartbeat) -> c.HeartbeatAnswer:
    """task.heartbeat: renew what is still held; name what is not (extension)."""
    if not command.tasks:
        for task in workspace.held_by(command.pid):
            # A process that has forgotten a task would renew it for ever.
            if workspace.now_ms - (task.touched_at or 0) < workspace.settings.unnamed_renewal_ms:
                apply(workspace, task, TaskEvent.RENEW_UNNAMED, version=task.version)
        return c.HeartbeatAnswer()
    lost = [ref.id for ref in command.tasks if not _renew(workspace, command.pid, ref)]
    held = (workspace.task(ref.id) for ref in command.tasks if ref.id not in lost)
    return c.HeartbeatAnswer(
        lost=lost, cancelled=[task.id for task in held if task is not None and task.cancelled]
    )


def _renew(workspace: Workspace, pid: str, reference: c.TaskReference) -> bool:
    task = workspace.task(reference.id)
    if task is None or task.state is not TaskState.ACQUIRED:
        return False
    if task.pid != pid or task.version != reference.version:
        return False
    apply(workspace, task, TaskEvent.RENEW, version=reference.version)
    return True


def halt(workspace: Workspace, command: c.TaskHalt) -> c.Empty:
    """task.halt."""
    expire_named(workspace, [command.id])
    apply(workspace, _existing(workspace, command.id), TaskEvent.HALT)
    return c.Empty()


def resume(workspace: Workspace, command: c.TaskContinue) -> c.Empty:
    """task.continue."""
    expire_named(workspace, [command.id])
    apply(workspace, _existing(workspace, command.id), TaskEvent.CONTINUE)
    return c.Empty()


def _existing(workspace: Workspace, task_id: str) -> Task:
    task = workspace.task(task_id)
    if task is None:
        raise Refused(404, TASK_NOT_FOUND)
    return task


def _preload(
    workspace: Workspace, promise: PromiseRecord, also: Iterable[PromiseRecord] = ()
) -> list[PromiseRecord]:
    branch = branch_of(promise)
    before = workspace.position
    loaded = workspace.preloads.get(promise.id, ())
    found = {child.id: child for child in loaded if workspace.added.get(child.id, before) <= before}
    for child in workspace.changed():
        if (
            child.id in found
            or child.tags.get(tag.BRANCH) == branch
            or child.tags.get(tag.PARENT) == promise.id
        ):
            found[child.id] = child
    found.pop(promise.id, None)
    chosen = sorted(found)[: workspace.settings.preload_max]
    extra = {child.id: child for child in also if child.id not in chosen}
    return [found.get(key) or extra[key] for key in sorted({*chosen, *extra})]


def branch_of(promise: PromiseRecord) -> str:
    """Return the branch under which a task's children are found."""
    return promise.tags.get(tag.BRANCH, promise.id)
