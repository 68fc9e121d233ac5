"""How an engine answers what is read after a batch is written: searches, and what is set about groups."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import msgspec

from orchestrator.domain.group import Group
from orchestrator.domain.queueing import Place
from orchestrator.engine.settings import EngineSettings
from orchestrator.protocol import commands as c
from orchestrator.protocol import groups as g
from orchestrator.protocol import schedules as s
from orchestrator.protocol.records import task_record
from orchestrator.store.grouping import (
    CountPlaces,
    LoadLimits,
    SearchDead,
    SearchGroups,
)
from orchestrator.store.port import (
    Query,
    SearchPromises,
    SearchSchedules,
    SearchTasks,
    ask,
)

Search = (
    c.PromiseSearch
    | c.TaskSearch
    | s.ScheduleSearch
    | g.GroupGet
    | g.GroupSet
    | g.GroupPause
    | g.GroupResume
    | g.GroupSearch
    | g.TaskDead
)
"""What is answered from the store once the batch is written; a change of a group is shown as it is then."""
Answering = Generator[Query[Any], Any, c.Answer]


def search(command: Search, settings: EngineSettings) -> Answering:
    """Answer one command; at most `search_scan_max` candidates are read."""
    scan_max = settings.search_scan_max
    match command:
        case c.PromiseSearch():
            return (yield from _promises(command, scan_max))
        case s.ScheduleSearch():
            return (yield from _schedules(command, scan_max))
        case c.TaskSearch():
            return (yield from _tasks(command, scan_max))
        case g.GroupSearch():
            return (yield from _groups(command, scan_max))
        case g.TaskDead():
            dead = yield from ask(SearchDead(group=command.group, limit=command.limit, cursor=command.cursor))
            return g.DeadPage(tasks=dead.items, cursor=dead.cursor)
        case _:
            limits = yield from ask(LoadLimits())
            group = limits.get(command.id) or Group(id=command.id)
            return g.GroupAnswer(group=(yield from _records([group]))[0])


def _promises(command: c.PromiseSearch, scan_max: int) -> Answering:
    found = yield from ask(
        SearchPromises(
            state=command.state,
            tags=command.tags,
            limit=command.limit,
            cursor=command.cursor,
            scan_max=scan_max,
        )
    )
    return c.PromisePage(promises=found.items, cursor=found.cursor)


def _schedules(command: s.ScheduleSearch, scan_max: int) -> Answering:
    found = yield from ask(
        SearchSchedules(tags=command.tags, limit=command.limit, cursor=command.cursor, scan_max=scan_max)
    )
    return s.SchedulePage(schedules=found.items, cursor=found.cursor)


def _tasks(command: c.TaskSearch, scan_max: int) -> Answering:
    found = yield from ask(
        SearchTasks(state=command.state, limit=command.limit, cursor=command.cursor, scan_max=scan_max)
    )
    return c.TaskPage(tasks=[task_record(task) for task in found.items], cursor=found.cursor)


def _groups(command: g.GroupSearch, scan_max: int) -> Answering:
    found = yield from ask(SearchGroups(limit=command.limit, cursor=command.cursor, scan_max=scan_max))
    return g.GroupPage(groups=(yield from _records(found.items)), cursor=found.cursor)


def _records(groups: Sequence[Group]) -> Generator[Query[Any], Any, list[g.GroupRecord]]:
    limited = [group.id for group in groups if group.limited]
    counts = (yield from ask(CountPlaces(groups=limited))) if limited else {}
    return [_record(group, counts.get(group.id, {})) for group in groups]


def _record(group: Group, counts: dict[Place, int]) -> g.GroupRecord:
    fields = msgspec.structs.asdict(group)
    if not group.limited:
        return g.GroupRecord(**fields)
    waiting = sum(count for place, count in counts.items() if place is not Place.ACQUIRED)
    return g.GroupRecord(**fields, acquired=counts.get(Place.ACQUIRED, 0), waiting=waiting)
