"""Ending a whole call tree: asking its workflows to end, or settling all of it at once.

A tree is what descends from a promise by its ids and says so in its tags; a detached invocation, and what
descends from that, is left alone. What does not fit into one transaction is carried on by the ticker.
"""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.domain import tags as tag
from orchestrator.domain.ending import EndingKind, TreeEnding
from orchestrator.domain.errors import Refused
from orchestrator.domain.ids import between, extends, is_below_detached
from orchestrator.domain.promise import EMPTY, PromiseRecord, PromiseState
from orchestrator.domain.task import TaskState
from orchestrator.domain.transitions import TaskEvent, settle
from orchestrator.engine.handlers.promises import existing
from orchestrator.engine.settlement import apply, expire_named, settle_all
from orchestrator.engine.workspace import Workspace
from orchestrator.protocol import commands as c


def cancel(workspace: Workspace, command: c.PromiseCancel) -> c.PromiseAnswer:
    """promise.cancel (extension): ask a workflow, and all that it called so far, to end; once."""
    expire_named(workspace, [command.id])
    promise = existing(workspace, command.id)
    if not promise.pending:
        return c.PromiseAnswer(promise=promise)
    task = workspace.task(command.id)
    if task is None or promise.is_timer:
        raise Refused(422, f"Promise {command.id!r} has no task that could be told: settle or terminate it")
    if not task.cancelled:
        apply(workspace, task, TaskEvent.CANCEL)
        members, after = _first_page(workspace, promise)
        cancel_members(workspace, members)
        _go_on(workspace, promise, EndingKind.CANCEL, after)
    return c.PromiseAnswer(promise=promise)


def terminate(workspace: Workspace, command: c.PromiseTerminate) -> c.PromiseAnswer:
    """promise.terminate (extension): settle a promise and all that it called as canceled."""
    expire_named(workspace, [command.id])
    promise = existing(workspace, command.id)
    if promise.pending:
        members, after = _first_page(workspace, promise)
        terminate_members(workspace, [promise, *members])
        _go_on(workspace, promise, EndingKind.TERMINATE, after)
    return c.PromiseAnswer(promise=existing(workspace, command.id))


def _first_page(workspace: Workspace, root: PromiseRecord) -> tuple[list[PromiseRecord], str | None]:
    """Return the open descendants that were loaded, or created in this batch; and where the rest begins."""
    page = workspace.trees.get(root.id)
    ids = [*(page.ids if page else ()), *(promise.id for promise in workspace.changed())]
    return members_of(workspace, root.id, ids), page.after if page else None


def members_of(workspace: Workspace, root_id: str, ids: Iterable[str]) -> list[PromiseRecord]:
    """Return those of the promises that are open and of the tree, in order of id."""
    below = sorted(key for key in set(ids) if key != root_id and extends(key, root_id))
    found = [promise for key in below if (promise := workspace.promise(key)) is not None]
    members = [promise.id for promise in found if _belongs(workspace, root_id, promise)]
    expire_named(workspace, members)
    still = (workspace.promise(key) for key in members)
    return [promise for promise in still if promise is not None and promise.pending]


def _belongs(workspace: Workspace, root_id: str, promise: PromiseRecord) -> bool:
    if not promise.pending or is_below_detached(promise.id, root_id):
        return False
    # What names no origin, or itself, is a root of its own, whatever its id looks like.
    if promise.tags.get(tag.ORIGIN, promise.id) == promise.id:
        return False
    above = (workspace.known(key) for key in between(promise.id, root_id))
    return all(each.tags.get(tag.DETACHED) != tag.TRUE for each in (promise, *above) if each is not None)


def cancel_members(workspace: Workspace, members: Iterable[PromiseRecord]) -> None:
    """Ask these to end; those without a task belong to one that is asked, or to nobody."""
    for promise in members:
        task = workspace.task(promise.id)
        if task is not None and not promise.is_timer and not task.cancelled:
            apply(workspace, task, TaskEvent.CANCEL)


def terminate_members(workspace: Workspace, members: Iterable[PromiseRecord]) -> None:
    """Settle these as canceled, all at once."""
    now_ms, state = workspace.now_ms, PromiseState.REJECTED_CANCELED
    settle_all(workspace, [settle(promise, state, EMPTY, now_ms) for promise in members])


def _go_on(workspace: Workspace, root: PromiseRecord, kind: EndingKind, after: str | None) -> None:
    if after is not None:
        workspace.put_ending(TreeEnding(id=root.id, kind=kind, asked_at=workspace.now_ms, after=after))


def carry_on(workspace: Workspace, ending: TreeEnding, ids: Iterable[str], after: str | None) -> None:
    """Carry out one more page of a request; `after` is where the next one begins, None at the end."""
    members = members_of(workspace, ending.id, ids)
    if ending.kind is EndingKind.TERMINATE:
        terminate_members(workspace, members)
    else:
        cancel_members(workspace, (each for each in members if each.created_at < ending.asked_at))
    if after is None:
        workspace.remove_ending(ending.id)
    else:
        workspace.put_ending(
            TreeEnding(id=ending.id, kind=ending.kind, asked_at=ending.asked_at, after=after)
        )


def held_and_cancelled(workspace: Workspace) -> list[tuple[str, c.TaskReference]]:
    """Return the tasks that were asked to end while somebody in this process holds them, with their pids."""
    found = (workspace.task(key) for key in workspace.cancelled)
    return [
        (task.pid, c.TaskReference(id=task.id, version=task.version))
        for task in found
        if task is not None and task.state is TaskState.ACQUIRED and task.embedded and task.pid is not None
    ]
