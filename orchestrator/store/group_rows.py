"""Rows of groups, places and dead letters in the SQL stores, and the values they stand for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from orchestrator.domain.group import DeadLetter, DeathReason, Group, Usage
from orchestrator.domain.queueing import Place, Queued

GROUP_COLUMNS = ("id", "concurrency", "rate", "period", "attempts", "paused")
"""What an operator has set, in the order that `group_of` reads."""
QUEUED_COLUMNS = ("task_id", "group_id", "place", "rank", "since")
"""The columns of a place, in the order that `queued_of` reads."""
DEAD_COLUMNS = ("id", "group_id", "version", "attempts", "reason", "died_at")
"""The columns of a dead letter, in the order that `dead_of` reads."""


def group_of(row: Sequence[Any]) -> Group:
    """Return the group that stands in the columns of a row."""
    return Group(
        id=row[0], concurrency=row[1], rate=row[2], period=row[3], attempts=row[4], paused=bool(row[5])
    )


def group_row(group: Group) -> tuple[object, ...]:
    """Return the columns of a group, in the order of GROUP_COLUMNS."""
    return group.id, group.concurrency, group.rate, group.period, group.attempts, group.paused


def limits_of(rows: Iterable[Sequence[Any]]) -> dict[str, Group]:
    """Return the groups of which anything is set."""
    return {group.id: group for group in map(group_of, rows) if not group.blank}


def usages_of(rows: Iterable[Sequence[Any]]) -> dict[str, Usage]:
    """Return usages from rows of group, level, its moment, and acquired tasks."""
    return {name: Usage(acquired=acquired, level=level, leveled_at=at) for name, level, at, acquired in rows}


def queued_of(row: Sequence[Any]) -> Queued:
    """Return the place that stands in the columns of a row."""
    return Queued(task_id=row[0], group=row[1], place=Place(row[2]), rank=row[3], since=row[4])


def queued_row(queued: Queued) -> tuple[object, ...]:
    """Return the columns of a place, in the order of QUEUED_COLUMNS."""
    return queued.task_id, queued.group, int(queued.place), queued.rank, queued.since


def dead_of(row: Sequence[Any]) -> DeadLetter:
    """Return the dead letter that stands in the columns of a row."""
    return DeadLetter(
        id=row[0],
        group=row[1],
        version=row[2],
        attempts=row[3],
        reason=DeathReason(row[4]),
        died_at=row[5],
    )


def dead_row(letter: DeadLetter) -> tuple[object, ...]:
    """Return the columns of a dead letter, in the order of DEAD_COLUMNS."""
    return (
        letter.id,
        letter.group,
        letter.version,
        letter.attempts,
        letter.reason.value,
        letter.died_at,
    )


def counts_of(rows: Iterable[Sequence[Any]]) -> dict[str, dict[Place, int]]:
    """Return counts from rows of group, place and count."""
    counts: dict[str, dict[Place, int]] = {}
    for name, place, count in rows:
        counts.setdefault(name, {})[Place(place)] = count
    return counts


def places_of(rows: Iterable[Sequence[Any]]) -> dict[tuple[str, Place], int]:
    """Return the gauge of places from rows of group, place and count."""
    return {(name, Place(place)): count for name, place, count in rows}
