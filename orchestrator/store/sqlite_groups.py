"""How the SQLite store answers what concerns groups, their queues and dead letters.

What is set about groups is remembered with the connection, which is the file's only one: a program of a store
without limits asks nothing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from orchestrator.domain.group import DeadLetter, Group, Usage
from orchestrator.domain.queueing import Place, Queued
from orchestrator.store import group_rows as rows
from orchestrator.store import group_statements as sql
from orchestrator.store import grouping, port
from orchestrator.store.group_changes import GroupChanges
from orchestrator.store.rows import ids_text
from orchestrator.store.search import page_of


class Connection(sqlite3.Connection):
    """A connection that remembers what is set about groups, None while it does not know."""

    limits: Mapping[str, Group] | None = None


def _load_limits(connection: sqlite3.Connection, _: grouping.LoadLimits) -> Mapping[str, Group]:
    known = connection.limits if isinstance(connection, Connection) else None
    if known is None:
        known = rows.limits_of(connection.execute(sql.LOAD_LIMITS))
        if isinstance(connection, Connection):
            connection.limits = known
    return known


def _load_groups_to_set(connection: sqlite3.Connection, query: grouping.LoadGroupsToSet) -> dict[str, Group]:
    found = connection.execute(sql.LOAD_GROUPS_BY_ID, (ids_text(query.ids),))
    return {group.id: group for group in map(rows.group_of, found)}


def _load_usages(connection: sqlite3.Connection, query: grouping.LoadUsages) -> dict[str, Usage]:
    return rows.usages_of(connection.execute(sql.LOAD_USAGES, (ids_text(query.groups),)))


def _load_queue(connection: sqlite3.Connection, query: grouping.LoadQueue) -> list[Queued]:
    told = connection.execute(sql.LOAD_TOLD, (query.group,)).fetchall()
    for place in (Place.WAITING, Place.OVERLOOKED):
        told += connection.execute(sql.LOAD_NEXT, (query.group, int(place), query.limit)).fetchall()
    return [rows.queued_of(row) for row in told]


def _load_places(connection: sqlite3.Connection, query: grouping.LoadPlaces) -> list[Queued]:
    return [rows.queued_of(row) for row in connection.execute(sql.LOAD_PLACES, (ids_text(query.ids),))]


def _count_places(connection: sqlite3.Connection, query: grouping.CountPlaces) -> dict[str, dict[Place, int]]:
    return rows.counts_of(connection.execute(sql.COUNT_PLACES, (ids_text(query.groups),)))


def _search_groups(connection: sqlite3.Connection, query: grouping.SearchGroups) -> port.Page[Group]:
    found = connection.execute(sql.SEARCH_GROUPS, (query.cursor or "", query.scan_max))
    return page_of(map(rows.group_of, found), lambda group: not group.blank, query.limit, query.scan_max)


def _search_dead(connection: sqlite3.Connection, query: grouping.SearchDead) -> port.Page[DeadLetter]:
    behind = (query.cursor or "", query.limit + 1)
    if query.group is None:
        found = connection.execute(sql.SEARCH_DEAD, behind)
    else:
        found = connection.execute(sql.SEARCH_GROUP_DEAD, (query.group, *behind))
    return page_of(map(rows.dead_of, found), lambda _: True, query.limit, query.limit + 2)


def forget_limits(connection: sqlite3.Connection) -> None:
    """Read again, when next asked, what is set about groups."""
    if isinstance(connection, Connection):
        connection.limits = None


def write_groups(connection: sqlite3.Connection, changes: GroupChanges) -> None:
    """Write what a program has changed of groups, their queues and dead letters."""
    if changes.groups:
        forget_limits(connection)
    for statement, values in _written(changes):
        if values:
            connection.executemany(statement, values)


def _written(changes: GroupChanges) -> Iterable[tuple[str, Sequence[Sequence[Any]]]]:
    withdrawn = [(name,) for name in changes.queues_withdrawn]
    yield sql.PUT_GROUP, [rows.group_row(group) for group in changes.groups]
    yield sql.PUT_USAGE, [(usage.level, usage.leveled_at, name) for name, usage in changes.usages.items()]
    yield sql.REMOVE_QUEUE, [(name,) for name in changes.queues_removed]
    yield sql.REMOVE_ANNOUNCEMENTS, withdrawn
    yield sql.WITHDRAW_QUEUE, withdrawn
    yield sql.REMOVE_QUEUED, [(key,) for key in changes.queued_removed]
    yield sql.PUT_QUEUED, [rows.queued_row(queued) for queued in changes.queued]
    yield sql.REMOVE_DEAD, [(key,) for key in changes.dead_removed]
    yield sql.PUT_DEAD, [rows.dead_row(letter) for letter in changes.dead]


QUERIES: dict[type[port.Query[Any]], Callable[[sqlite3.Connection, Any], Any]] = {
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
