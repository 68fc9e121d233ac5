"""What a starting engine does about announcements that may have died with the engine before it.

An announcement leaves the outbox once it has been handed to a worker. If both died before the worker acted
on it, nobody knows of the task until its retry timer. So an engine that starts announces again what waits
without an announcement in the outbox, page by page, looking at `announce_again_max` timers at most: whatever
lies behind has its retry timer (T5). No index but that of the timers is needed, since what was announced to
somebody falls due within the retry timer, while what waits for a delay or for a listener mostly does not.

It is a help, not a need: where the store is too busy for it (another server stands still within a transaction
and holds locks), the engine starts without.

Engines that share a store do the same: whether a neighbour has sent an announcement to somebody who lives
cannot be told, a second one is harmless, and both numbers bound what it costs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import structlog

from orchestrator.domain import tags as tag
from orchestrator.domain.promise import PromiseRecord
from orchestrator.domain.task import Task, TaskState
from orchestrator.domain.transitions import TaskEvent
from orchestrator.engine import turns
from orchestrator.engine.outgoing import Outgoing
from orchestrator.engine.parts import Parts
from orchestrator.engine.settings import EngineSettings
from orchestrator.engine.settlement import apply
from orchestrator.engine.workspace import Workspace
from orchestrator.store.errors import StoreError
from orchestrator.store.port import BEFORE_ALL, LoadRows, LoadTimed, Program, Write, ask

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Announced:
    """What to send, how many timers were looked at, and behind which (moment, task) to go on, if at all."""

    outgoing: list[Outgoing]
    looked_at: int
    after: tuple[int, str] | None


async def announce_again(parts: Parts, deliver: Callable[[list[Outgoing]], None]) -> None:
    """Announce what waits without an announcement, as far as the store can now; see this module.

    Raises StoreError where waiting does not help.
    """
    try:
        await _announce_pages(parts, deliver)
    except StoreError as error:
        if not error.transient:
            raise
        _log.warning("announcements are left to their retry timers", error=str(error))


async def _announce_pages(parts: Parts, deliver: Callable[[list[Outgoing]], None]) -> None:
    after: tuple[int, str] | None = BEFORE_ALL
    left = parts.settings.announce_again_max
    while after is not None and left > 0:
        behind = after
        result = await parts.store.run(
            lambda now, behind=behind: announce_program(now, parts.settings, behind),  # type: ignore[misc]
            parts.clock.now_ms(),
        )
        deliver(result.outgoing)
        after, left = result.after, left - result.looked_at


def announce_program(now_ms: int, settings: EngineSettings, after: tuple[int, str]) -> Program[Announced]:
    """Announce a page of the tasks that wait without an announcement, those that are due first."""
    workspace, limit = Workspace(now_ms, settings), settings.tick_page
    page = yield from ask(LoadTimed(after=after, until_ms=now_ms + settings.retry_timeout_ms, limit=limit))
    ids = [each.task_id for each in page if each.unannounced]
    if ids:
        workspace.add_rows(ids, (yield from ask(LoadRows(ids=ids))))
    yield from turns.load_limits(workspace)
    yield from turns.load_places(workspace, ids)
    for key in ids:
        promise, task = workspace.promise(key), workspace.task(key)
        if promise is not None and task is not None and _waits(promise, task, now_ms):
            apply(workspace, task, TaskEvent.DISPATCH_DUE)
    yield from turns.take_turns(workspace)
    changes = workspace.changes()
    if not changes.empty():
        yield from ask(Write(changes=changes))
    last = (page[-1].timer_at, page[-1].task_id) if len(page) == limit else None
    return Announced(outgoing=workspace.outgoing(), looked_at=len(page), after=last)


def _waits(promise: PromiseRecord, task: Task, now_ms: int) -> bool:
    """Tell whether a task waits to be acquired: not for its deadline, nor for the end of its delay."""
    if task.state is not TaskState.PENDING or not promise.pending or promise.expired(now_ms):
        return False
    delayed = promise.tags.get(tag.DELAY)
    held_back = delayed is not None and int(delayed) > now_ms and task.timer_at == int(delayed)
    return not (promise.is_timer or held_back)
