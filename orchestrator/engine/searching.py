"""The searches: each one query of the store, which a batch asks after it has written."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from orchestrator.engine.settings import EngineSettings
from orchestrator.protocol import commands as c
from orchestrator.protocol import schedules as s
from orchestrator.protocol.records import task_record
from orchestrator.store.port import Query, SearchPromises, SearchSchedules, SearchTasks, ask

Search = c.PromiseSearch | c.TaskSearch | s.ScheduleSearch


def search(command: Search, settings: EngineSettings) -> Generator[Query[Any], Any, c.Answer]:
    """Answer a search by a page in order of id, of at most `search_scan_max` candidates."""
    if isinstance(command, c.PromiseSearch):
        promises = yield from ask(
            SearchPromises(
                state=command.state,
                tags=command.tags,
                limit=command.limit,
                cursor=command.cursor,
                scan_max=settings.search_scan_max,
            )
        )
        return c.PromisePage(promises=promises.items, cursor=promises.cursor)
    if isinstance(command, s.ScheduleSearch):
        found = yield from ask(
            SearchSchedules(
                tags=command.tags,
                limit=command.limit,
                cursor=command.cursor,
                scan_max=settings.search_scan_max,
            )
        )
        return s.SchedulePage(schedules=found.items, cursor=found.cursor)
    tasks = yield from ask(
        SearchTasks(
            state=command.state,
            limit=command.limit,
            cursor=command.cursor,
            scan_max=settings.search_scan_max,
        )
    )
    return c.TaskPage(tasks=[task_record(task) for task in tasks.items], cursor=tasks.cursor)
