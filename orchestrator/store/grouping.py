"""The queries of the port about groups, their queues and dead letters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.domain.group import DeadLetter, Group, Usage
from orchestrator.domain.queueing import Place, Queued
from orchestrator.store.port import Page, Query


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadLimits(Query[Mapping[str, Group]]):
    """Every group of which anything is set, by id; they do not change while the program runs.

    Stores answer it from memory, so that it costs a program nothing where there are none.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadGroupsToSet(Query[dict[str, Group]]):
    """Those of these groups that have ever been set, to be changed: nobody else's program runs meanwhile."""

    ids: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadUsages(Query[dict[str, Usage]]):
    """What each of these limited groups uses of its limits."""

    groups: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadQueue(Query[list[Queued]]):
    """Who is told in this group, and at most `limit` each of who waits and who was overlooked, by turn."""

    group: str
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPlaces(Query[list[Queued]]):
    """The places of these tasks, all of these groups, as far as they have one."""

    groups: list[str]
    ids: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class CountPlaces(Query[dict[str, dict[Place, int]]]):
    """How many tasks stand in each place of these groups; not for decisions."""

    groups: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchGroups(Query[Page[Group]]):
    """Groups of which anything is set behind `cursor`; bounded by `scan_max` as SearchPromises is."""

    limit: int
    cursor: str | None
    scan_max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchDead(Query[Page[DeadLetter]]):
    """Dead letters of a group (None: of all) behind `cursor`, at most `limit`."""

    group: str | None
    limit: int
    cursor: str | None
