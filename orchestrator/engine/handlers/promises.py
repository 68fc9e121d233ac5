"""The operations on promises, each decided over the workspace."""

from __future__ import annotations

import msgspec

from orchestrator.domain import tags as tag
from orchestrator.domain.errors import Refused
from orchestrator.domain.ids import same_origin
from orchestrator.domain.promise import EMPTY, PROGRESS_HEADER, PromiseRecord, PromiseState, Value
from orchestrator.domain.task import TaskState
from orchestrator.domain.transitions import TaskEvent, expire, fresh_task, settle, with_timer
from orchestrator.engine.settlement import apply, expire_named, first_dispatch, settle_all
from orchestrator.engine.workspace import Workspace
from orchestrator.protocol import commands as c
from orchestrator.protocol.envelope import PROMISE_NOT_FOUND

EVIDENCE = "commitment-"
"""How the headers begin that a proof is built from."""


def get(workspace: Workspace, command: c.PromiseGet) -> c.PromiseAnswer:
    """promise.get."""
    expire_named(workspace, [command.id])
    return c.PromiseAnswer(promise=existing(workspace, command.id))


def create(workspace: Workspace, command: c.PromiseCreate) -> c.PromiseAnswer:
    """promise.create."""
    expire_named(workspace, [command.id])
    return c.PromiseAnswer(promise=create_promise(workspace, command))


def settle_promise(workspace: Workspace, command: c.PromiseSettle) -> c.PromiseAnswer:
    """promise.settle."""
    expire_named(workspace, [command.id])
    return c.PromiseAnswer(promise=settle_existing(workspace, command))


def register_callback(workspace: Workspace, command: c.PromiseRegisterCallback) -> c.PromiseAnswer:
    """promise.register_callback."""
    expire_named(workspace, [command.awaited, command.awaiter])
    awaited, awaiter = workspace.promise(command.awaited), workspace.promise(command.awaiter)
    check_may_await(command, awaited, awaiter)
    if awaited is None:
        raise Refused(404, PROMISE_NOT_FOUND)
    if awaiter is None:
        raise Refused(422, f"Awaiter {command.awaiter!r} not found")
    task = workspace.task(command.awaiter)
    if task is None:
        raise Refused(422, f"Awaiter {command.awaiter!r} has no resonate:target")
    if awaited.pending:
        if awaiter.pending:
            workspace.add_callback(command.awaited, command.awaiter)
    elif task.state is TaskState.SUSPENDED:
        apply(workspace, task, TaskEvent.AWAITED_SETTLED)
    return c.PromiseAnswer(promise=awaited)


def register_listener(workspace: Workspace, command: c.PromiseRegisterListener) -> c.PromiseAnswer:
    """promise.register_listener."""
    expire_named(workspace, [command.awaited])
    awaited = existing(workspace, command.awaited)
    if awaited.pending:
        workspace.add_listener(command.awaited, command.address)
    return c.PromiseAnswer(promise=awaited)


def existing(workspace: Workspace, promise_id: str) -> PromiseRecord:
    """Return a promise that must exist. Raises Refused(404)."""
    promise = workspace.promise(promise_id)
    if promise is None:
        raise Refused(404, PROMISE_NOT_FOUND)
    return promise


def check_may_await(
    command: c.PromiseRegisterCallback, awaited: PromiseRecord | None, awaiter: PromiseRecord | None
) -> None:
    """Raise Refused(400) unless both share an origin, or the awaited one is external (extension)."""
    if same_origin(command.awaited, command.awaiter):
        return
    if awaited is not None:
        if awaited.tags.get(tag.EXTERNAL) == tag.TRUE:
            return
        origin = awaited.tags.get(tag.ORIGIN)
        if awaiter is not None and origin is not None and origin == awaiter.tags.get(tag.ORIGIN):
            return
    raise Refused(400, f"{command.awaiter!r} cannot await {command.awaited!r}: they share no origin")


def create_promise(workspace: Workspace, command: c.PromiseCreate) -> PromiseRecord:
    """Return the promise of this id, created now unless it exists (P2)."""
    found = workspace.promise(command.id)
    if found is not None:
        return found
    promise = new_promise(command, workspace.now_ms)
    add_promise(workspace, promise)
    return promise


def add_promise(workspace: Workspace, promise: PromiseRecord) -> None:
    """Store a promise that does not exist, and dispatch its task if it has one."""
    if promise.target is None:
        workspace.create(promise, None)
    elif not promise.pending:
        workspace.create(promise, fresh_task(promise))
    else:
        dispatch = first_dispatch(workspace, promise)
        task = with_timer(fresh_task(promise), dispatch.timer_at)
        workspace.create(promise, task)
        if dispatch.send:
            workspace.announce(task)


def new_promise(command: c.PromiseCreate, now_ms: int) -> PromiseRecord:
    """Return the record of a new promise; one that is born after its deadline is settled from the start."""
    late = now_ms >= command.timeout_at
    promise = PromiseRecord(
        id=command.id,
        state=PromiseState.PENDING,
        param=command.param,
        value=EMPTY,
        tags=command.tags,
        timeout_at=command.timeout_at,
        created_at=command.timeout_at if late else now_ms,
    )
    return expire(promise) if late else promise


def settle_existing(workspace: Workspace, command: c.PromiseSettle) -> PromiseRecord:
    """Return the promise, settled now unless it is already (P1). Raises Refused(404)."""
    promise = existing(workspace, command.id)
    settled = settle(promise, command.state, command.value, workspace.now_ms)
    if settled is not promise:
        settle_all(workspace, [settled])
    return settled


def note_progress(workspace: Workspace, command: c.PromiseProgress) -> PromiseRecord | None:
    """Return the promise with the value that says how far it has come; a settled one stays (P1)."""
    promise = workspace.promise(command.id)
    if promise is None or not promise.pending:
        return promise
    headers = {**(command.value.headers or {}), PROGRESS_HEADER: tag.TRUE}
    noted = msgspec.structs.replace(promise, value=Value(headers=headers, data=command.value.data))
    workspace.note(noted)
    return noted


def record_step(workspace: Workspace, command: c.PromiseRecordStep) -> PromiseRecord:
    """Return the promise of a step that is over: created and settled in one, or settled if it exists."""
    if workspace.promise(command.id) is None:
        settled = new_step(command, workspace.now_ms)
        workspace.create(settled, None)
        return settled
    return settle_existing(
        workspace, c.PromiseSettle(id=command.id, state=command.state, value=command.value)
    )


def forget(workspace: Workspace, promise_id: str) -> None:
    """Remove a settled promise that no replay and no proof needs; another is left as it is."""
    promise = workspace.promise(promise_id)
    if promise is None or promise.pending or promise.tags.get(tag.EXTERNAL) == tag.TRUE:
        return
    if not any(name.startswith(EVIDENCE) for name in promise.value.headers or ()):
        workspace.forget(promise_id)


def new_step(command: c.PromiseRecordStep, now_ms: int) -> PromiseRecord:
    """Return the record of a step that is over and was not written before.

    Equal to promise.create at `created_at` followed by promise.settle now: a step that ended after its
    deadline has timed out (P3), and a moment of creation that lies in the future is taken as now.
    """
    late = now_ms >= command.timeout_at
    promise = PromiseRecord(
        id=command.id,
        state=PromiseState.PENDING if late else command.state,
        param=command.param,
        value=EMPTY if late else command.value,
        tags=command.tags,
        timeout_at=command.timeout_at,
        created_at=min(command.created_at, now_ms, command.timeout_at),
        settled_at=None if late else now_ms,
    )
    return expire(promise) if late else promise
