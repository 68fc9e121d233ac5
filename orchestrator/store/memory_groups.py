"""How the memory store answers what concerns groups, their queues and dead letters."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from orchestrator.domain.group import DeadLetter, Group, Usage
from orchestrator.domain.queueing import Place, Queued
from orchestrator.store import grouping, port
from orchestrator.store.group_changes import GroupChanges
from orchestrator.store.memory_tables import Tables
from orchestrator.store.search import page_of

_NONE: Mapping[str, Group] = {}


def _load_limits(tables: Tables, _: grouping.LoadLimits) -> Mapping[str, Group]:
    if not tables.groups:
        return _NONE
    return {key: group for key, group in tables.groups.items() if not group.blank}


def _load_groups_to_set(tables: Tables, query: grouping.LoadGroupsToSet) -> dict[str, Group]:
    return {key: tables.groups[key] for key in query.ids if key in tables.groups}


def _queue(tables: Tables, group: str, *places: Place) -> list[Queued]:
    return [each for each in tables.queued.values() if each.group == group and each.place in places]


def _load_usages(tables: Tables, query: grouping.LoadUsages) -> dict[str, Usage]:
    usages = {}
    for name in query.groups:
        bucket = tables.usages.get(name, Usage())
        usages[name] = Usage(
            acquired=len(_queue(tables, name, Place.ACQUIRED)),
            level=bucket.level,
            leveled_at=bucket.leveled_at,
        )
    return usages


def _load_queue(tables: Tables, query: grouping.LoadQueue) -> list[Queued]:
    found = sorted(_queue(tables, query.group, Place.TOLD), key=lambda each: each.turn)
    for place in (Place.WAITING, Place.OVERLOOKED):
        members = _queue(tables, query.group, place)
        found += heapq.nsmallest(query.limit, members, key=lambda each: each.turn)
    return found


def _load_places(tables: Tables, query: grouping.LoadPlaces) -> list[Queued]:
    return [tables.queued[key] for key in query.ids if key in tables.queued]


def _count_places(tables: Tables, query: grouping.CountPlaces) -> dict[str, dict[Place, int]]:
    return {name: dict(Counter(each.place for each in _queue(tables, name, *Place))) for name in query.groups}


def _search_groups(tables: Tables, query: grouping.SearchGroups) -> port.Page[Group]:
    behind = sorted(key for key in tables.groups if key > (query.cursor or ""))[: query.scan_max]
    groups = (tables.groups[key] for key in behind)
    return page_of(groups, lambda group: not group.blank, query.limit, query.scan_max)


def _search_dead(tables: Tables, query: grouping.SearchDead) -> port.Page[DeadLetter]:
    behind = sorted(
        key
        for key, letter in tables.dead.items()
        if key > (query.cursor or "") and query.group in (None, letter.group)
    )
    letters = (tables.dead[key] for key in behind[: query.limit + 1])
    return page_of(letters, lambda _: True, query.limit, query.limit + 2)


def group_gauges(tables: Tables) -> dict[str, Any]:
    """Return what Gauges says of groups, by its names."""
    return {
        "dead": dict(Counter(letter.group for letter in tables.dead.values())),
        "places": dict(Counter((each.group, each.place) for each in tables.queued.values())),
    }


def write_groups(tables: Tables, changes: GroupChanges | None) -> None:
    """Write what a program has changed of them, if anything."""
    if changes is None:
        return
    for group in changes.groups:
        tables.put(tables.groups, group.id, group)
    for name, usage in changes.usages.items():
        tables.put(tables.usages, name, usage)
    for name in changes.queues_removed:
        for queued in _queue(tables, name, *Place):
            tables.remove(tables.queued, queued.task_id)
    for name in changes.queues_withdrawn:
        for queued in _queue(tables, name, Place.TOLD, Place.OVERLOOKED):
            tables.remove(tables.executes, queued.task_id)
            tables.put(tables.queued, queued.task_id, _placed(queued, Place.WAITING))
    for key in changes.queued_removed:
        tables.remove(tables.queued, key)
    for queued in changes.queued:
        tables.put(tables.queued, queued.task_id, queued)
    for key in changes.dead_removed:
        tables.remove(tables.dead, key)
    for letter in changes.dead:
        tables.put(tables.dead, letter.id, letter)


def _placed(queued: Queued, place: Place) -> Queued:
    return Queued(
        task_id=queued.task_id, group=queued.group, place=place, rank=queued.rank, since=queued.since
    )


QUERIES: dict[type[port.Query[Any]], Callable[[Tables, Any], Any]] = {
    grouping.LoadLimits: _load_limits,
    grouping.LoadGroupsToSet: _load_groups_to_set,
    grouping.LoadUsages: _load_usages,
    grouping.LoadQueue: _load_queue,
    grouping.LoadPlaces: _load_places,
    grouping.CountPlaces: _count_places,
    grouping.SearchGroups: _search_groups,
    grouping.SearchDead: _search_dead,
}
"""The queries of the port about groups, and who answers each."""
