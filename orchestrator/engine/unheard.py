"""Tasks for which nobody listens: who may listen, and after how long such a task is looked at again.

An engine that has its store to itself knows who listens. Where several share one, nobody does; but what one
of them has taken leaves the outbox within moments, so a task whose announcement lies there for longer was
taken by none of them. That holds since whoever could not hear or see everything for a while looks through the
whole outbox of its groups (see `neighbours`), which also brings long timers forward.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any

import msgspec

from orchestrator.domain.promise import PromiseRecord
from orchestrator.domain.task import Task, TaskState
from orchestrator.engine.settings import EngineSettings
from orchestrator.engine.workspace import Workspace, group_of
from orchestrator.store.port import BEFORE_ALL, LoadTimed, Query, ask

LAIN_MS = 5_000
"""Longer than an announcement that somebody takes lies in the outbox: a look finds it, then it is removed."""


class Listening(msgspec.Struct, frozen=True, kw_only=True):
    """Who listens: `here` tells whether anybody of a poll group does at this engine.

    `elsewhere` says that others on the same store may have listeners, too.
    """

    here: Callable[[str], bool]
    elsewhere: bool

    def possible(self, group: str) -> bool:
        """Tell whether anybody of a group may listen anywhere."""
        return self.elsewhere or self.here(group)


def load_untaken(
    workspace: Workspace, ids: Sequence[str], listening: Listening
) -> Generator[Query[Any], Any, None]:
    """Note which of the due tasks others on the store have not taken, if nobody listens for them here."""
    if not listening.elsewhere:
        return
    unheard = [task.id for key in ids if (task := workspace.task(key)) and _unheard_here(task, listening)]
    if unheard:
        limit = workspace.settings.tick_page
        page = yield from ask(LoadTimed(after=BEFORE_ALL, until_ms=workspace.now_ms, limit=limit))
        lying = {each.task_id: each.queued_at for each in page if each.queued_at is not None}
        workspace.untaken.update({key: lying[key] for key in unheard if key in lying})


def _unheard_here(task: Task, listening: Listening) -> bool:
    group = group_of(task.target)
    return task.state is TaskState.PENDING and group is not None and not listening.here(group)


def known_at(workspace: Workspace, task: Task) -> int:
    """Return when it is known whether anybody has taken the announcement of a task; 0 if none lies about."""
    queued_at = workspace.untaken.get(task.id)
    return 0 if queued_at is None else queued_at + LAIN_MS


def is_heard(workspace: Workspace, task: Task) -> bool:
    """Tell whether anybody may listen for a task."""
    group = group_of(task.target)
    if group is None:
        return True
    untaken = task.id in workspace.untaken and known_at(workspace, task) <= workspace.now_ms
    return workspace.listened(group) and not untaken


def retry_ms(workspace: Workspace, task: Task, promise: PromiseRecord | None) -> int:
    """Return after how long a task is announced again: where nobody listens, as long again as it is old."""
    settings = workspace.settings
    if is_heard(workspace, task):
        return settings.retry_timeout_ms
    return pause_ms(settings, 0 if promise is None else workspace.now_ms - promise.created_at)


def pause_ms(settings: EngineSettings, age_ms: int) -> int:
    """Return after how long a task is looked at again that something else will move before."""
    pause_ms = max(settings.retry_unheard_ms, min(age_ms, settings.retry_unheard_ms_max))
    return max(settings.retry_timeout_ms, pause_ms)
