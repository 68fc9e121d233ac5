"""How the PostgreSQL store answers and writes what concerns groups, their queues and dead letters.

Invariants: what is set about groups changes only while nobody else's program runs, since whoever changes it
locks the whole store, which every transaction shares; so a transaction that has looked at the greatest
revision may rely on what it remembers of that revision. Places and usage change only under their group's
lock. A limited group costs its users one lock; an unlimited one nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from orchestrator.domain.group import DeadLetter, Group, Usage
from orchestrator.domain.queueing import Place, Queued
from orchestrator.store import group_rows as rows
from orchestrator.store import grouping, port
from orchestrator.store.group_changes import GroupChanges
from orchestrator.store.postgres_connections import Connection
from orchestrator.store.postgres_held import Held
from orchestrator.store.postgres_locks import WHOLE_STORE, group_key_of
from orchestrator.store.search import page_of

_GROUP = ", ".join(rows.GROUP_COLUMNS)
_QUEUED = ", ".join(rows.QUEUED_COLUMNS)
_DEAD = ", ".join(rows.DEAD_COLUMNS)
_TURN = "ORDER BY rank, since, task_id"

# ruff: noqa: S608  # our own names
LOAD_REVISION = "SELECT coalesce((SELECT revision FROM groups ORDER BY revision DESC LIMIT 1), 0)"
LOAD_LIMITS = f"SELECT {_GROUP} FROM groups WHERE id > '' ORDER BY id"
LOAD_GROUPS_BY_ID = f"SELECT {_GROUP} FROM groups WHERE id = ANY($1::text[])"
LOAD_USAGES = """
    SELECT g.id, g.level, g.leveled_at,
    (SELECT count(*) FROM queued q WHERE q.group_id = g.id AND q.place = 3)
    FROM groups g WHERE g.id = ANY($1::text[])
"""
LOAD_QUEUE = f"""
    (SELECT {_QUEUED} FROM queued WHERE group_id = $1 AND place = 1 {_TURN})
    UNION ALL (SELECT {_QUEUED} FROM queued WHERE group_id = $1 AND place = 0 {_TURN} LIMIT $2::bigint)
    UNION ALL (SELECT {_QUEUED} FROM queued WHERE group_id = $1 AND place = 2 {_TURN} LIMIT $2::bigint)
"""
LOAD_PLACES = f"SELECT {_QUEUED} FROM queued WHERE task_id = ANY($1::text[])"
COUNT_PLACES = """
    SELECT group_id, place, count(*) FROM queued WHERE group_id = ANY($1::text[]) GROUP BY group_id, place
"""
SEARCH_GROUPS = f"SELECT {_GROUP} FROM groups WHERE id > $1 ORDER BY id LIMIT $2"
SEARCH_DEAD = f"SELECT {_DEAD} FROM dead_letters WHERE id > $1 ORDER BY id LIMIT $2"
SEARCH_GROUP_DEAD = f"""
    SELECT {_DEAD} FROM dead_letters WHERE group_id = $3 AND id > $1 ORDER BY group_id, id LIMIT $2
"""
COUNT_ALL_PLACES = "SELECT group_id, place, count(*) FROM queued GROUP BY group_id, place"
COUNT_DEAD = "SELECT group_id, count(*) FROM dead_letters GROUP BY group_id"

PUT_GROUP = f"""
    INSERT INTO groups ({_GROUP}, revision) VALUES ($1, $2, $3, $4, $5, $6,
    greatest(({LOAD_REVISION}) + 1, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint))
    ON CONFLICT (id) DO UPDATE SET concurrency = excluded.concurrency, rate = excluded.rate,
    period = excluded.period, attempts = excluded.attempts, paused = excluded.paused,
    revision = excluded.revision
"""
"""The revision is no smaller than the time, so that one of a store that was emptied is not met again."""
PUT_USAGES = """
    UPDATE groups g SET level = k.level, leveled_at = k.leveled_at
    FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS k (id, level, leveled_at) WHERE g.id = k.id
"""
REMOVE_QUEUES = "DELETE FROM queued WHERE group_id = ANY($1::text[])"
REMOVE_ANNOUNCEMENTS = """
    DELETE FROM outbox_executes WHERE task_id IN
    (SELECT task_id FROM queued WHERE group_id = ANY($1::text[]) AND place IN (1, 2))
"""
WITHDRAW_QUEUES = "UPDATE queued SET place = 0 WHERE group_id = ANY($1::text[]) AND place IN (1, 2)"
REMOVE_QUEUED = "DELETE FROM queued WHERE task_id = ANY($1::text[])"
PUT_QUEUED = f"""
    INSERT INTO queued ({_QUEUED})
    SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[])
    ON CONFLICT (task_id) DO UPDATE SET group_id = excluded.group_id, place = excluded.place,
    rank = excluded.rank, since = excluded.since
"""
REMOVE_DEAD = "DELETE FROM dead_letters WHERE id = ANY($1::text[])"
PUT_DEAD = f"""
    INSERT INTO dead_letters ({_DEAD})
    SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::bigint[])
    ON CONFLICT (id) DO UPDATE SET group_id = excluded.group_id, version = excluded.version,
    attempts = excluded.attempts, reason = excluded.reason, died_at = excluded.died_at
"""


class Remembered:
    """What a server last read of what is set about groups, and the revision of which it is."""

    def __init__(self) -> None:
        self.revision = -1
        self.limits: Mapping[str, Group] = {}


async def _load_limits(held: Held, _: grouping.LoadLimits) -> Mapping[str, Group]:
    if held.revision is None:
        held.revision = await held.connection.fetchval(LOAD_REVISION)
    if held.changed:
        return await _read_limits(held)
    known = held.remembered
    if known.revision != held.revision:
        known.limits = await _read_limits(held)
        known.revision = held.revision
    return known.limits


async def _read_limits(held: Held) -> Mapping[str, Group]:
    return rows.limits_of(await held.connection.fetch(LOAD_LIMITS))


async def _load_groups_to_set(held: Held, query: grouping.LoadGroupsToSet) -> dict[str, Group]:
    held.check_keys([WHOLE_STORE])
    found = await held.connection.fetch(LOAD_GROUPS_BY_ID, query.ids)
    return {group.id: group for group in map(rows.group_of, found)}


async def _load_usages(held: Held, query: grouping.LoadUsages) -> dict[str, Usage]:
    held.check_keys(map(group_key_of, query.groups))
    return rows.usages_of(await held.connection.fetch(LOAD_USAGES, query.groups))


async def _load_queue(held: Held, query: grouping.LoadQueue) -> list[Queued]:
    held.check_keys([group_key_of(query.group)])
    found = await held.connection.fetch(LOAD_QUEUE, query.group, query.limit)
    return [rows.queued_of(row) for row in found]


async def _load_places(held: Held, query: grouping.LoadPlaces) -> list[Queued]:
    held.check_keys(map(group_key_of, query.groups))
    return [rows.queued_of(row) for row in await held.connection.fetch(LOAD_PLACES, query.ids)]


async def _count_places(held: Held, query: grouping.CountPlaces) -> dict[str, dict[Place, int]]:
    return rows.counts_of(await held.connection.fetch(COUNT_PLACES, query.groups))


async def _search_groups(held: Held, query: grouping.SearchGroups) -> port.Page[Group]:
    found = await held.connection.fetch(SEARCH_GROUPS, query.cursor or "", query.scan_max)
    return page_of(map(rows.group_of, found), lambda group: not group.blank, query.limit, query.scan_max)


async def _search_dead(held: Held, query: grouping.SearchDead) -> port.Page[DeadLetter]:
    behind: list[Any] = [query.cursor or "", query.limit + 1]
    if query.group is None:
        found = await held.connection.fetch(SEARCH_DEAD, *behind)
    else:
        found = await held.connection.fetch(SEARCH_GROUP_DEAD, *behind, query.group)
    return page_of(map(rows.dead_of, found), lambda _: True, query.limit, query.limit + 2)


def keys_of(changes: GroupChanges) -> Iterable[int]:
    """Yield the locks that changes of groups, places and usage need."""
    if changes.groups or changes.queues_removed:
        yield WHOLE_STORE
    yield from map(group_key_of, changes.usages)
    yield from map(group_key_of, changes.queues_withdrawn)
    yield from (group_key_of(queued.group) for queued in changes.queued)


async def write_groups(held: Held, changes: GroupChanges) -> None:
    """Write what a program has changed of them; before announcements are put."""
    held.changed = held.changed or bool(changes.groups)
    connection = held.connection
    for group in changes.groups:
        await connection.fetch(PUT_GROUP, *rows.group_row(group))
    usages = [(name, usage.level, usage.leveled_at) for name, usage in sorted(changes.usages.items())]
    await _columns(connection, PUT_USAGES, usages)
    for statement, values in (
        (REMOVE_QUEUES, changes.queues_removed),
        (REMOVE_ANNOUNCEMENTS, changes.queues_withdrawn),
        (WITHDRAW_QUEUES, changes.queues_withdrawn),
        (REMOVE_QUEUED, changes.queued_removed),
        (REMOVE_DEAD, changes.dead_removed),
    ):
        if values:
            await connection.fetch(statement, values)
    await _columns(connection, PUT_QUEUED, [rows.queued_row(each) for each in changes.queued])
    await _columns(connection, PUT_DEAD, [rows.dead_row(each) for each in changes.dead])


async def _columns(connection: Connection, statement: str, values: Sequence[Sequence[Any]]) -> None:
    if values:
        await connection.fetch(statement, *(list(column) for column in zip(*values, strict=True)))


QUERIES: dict[type[port.Query[Any]], Callable[[Held, Any], Awaitable[Any]]] = {
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
