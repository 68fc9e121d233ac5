"""The program that reads a page of the outbox for those who listen now."""

from __future__ import annotations

from dataclasses import dataclass, replace

from orchestrator.domain.task import TaskState
from orchestrator.domain.transitions import with_timer
from orchestrator.engine.settings import EngineSettings
from orchestrator.engine.workspace import Workspace
from orchestrator.store.port import LoadOutbox, LoadRows, Outbox, Program, Write, ask

CLAIMS_MS = 100
"""By less than this the claims of several engines may move a row of the outbox."""


def is_held(queued_at: int, now_ms: int) -> bool:
    """Tell whether an outbox row is held back. A claim moves its moment by a millisecond, never further."""
    return queued_at > now_ms + CLAIMS_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class FlushResult:
    """A page of what waits to be sent, and the earliest moment to which a timer was brought forward.

    The next page of announcements begins behind `after_task`.
    """

    page: Outbox
    after_task: str
    deadline: int | None


def flush_program(
    now_ms: int, settings: EngineSettings, query: LoadOutbox, *, held: bool
) -> Program[FlushResult]:
    """Read a page of the outbox for those who listen now; what is held back for somebody new, only if `held`.

    A task that was announced while nobody listened has a timer far ahead: it is brought forward, since the
    announcement that leaves now may be lost like any other (T5).
    """
    workspace = Workspace(now_ms, settings)
    page = yield from ask(query)
    following = page.executes[-1].task_id if page.executes else query.after_task
    if not held:
        page = replace(page, executes=[row for row in page.executes if not is_held(row.queued_at, now_ms)])
    soon = now_ms + settings.retry_timeout_ms
    ids = [row.task_id for row in page.executes if row.group is not None]
    if ids:
        workspace.add_rows(ids, (yield from ask(LoadRows(ids=ids))))
    for key in ids:
        task = workspace.task(key)
        if task is not None and task.state is TaskState.PENDING and (task.timer_at or 0) > soon:
            workspace.move(with_timer(task, soon))
    changes = workspace.changes()
    if not changes.empty():
        yield from ask(Write(changes=changes))
    return FlushResult(page=page, after_task=following, deadline=workspace.deadline())
