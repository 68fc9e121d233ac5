"""Filtering and paging of searches, the same in every store."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

from orchestrator.domain import tags as tag
from orchestrator.domain.promise import PromiseRecord
from orchestrator.domain.schedule import Schedule
from orchestrator.store.port import Page, SearchPromises, SearchSchedules

INDEXED_TAGS = {
    tag.PARENT: "parent",
    tag.BRANCH: "branch",
    tag.ORIGIN: "origin",
    tag.SCHEDULE: "schedule",
    tag.TARGET: "target",
}
"""The tags that every store has an index for, and their columns; the one that leaves least comes first."""
LINEAGE_TAGS = frozenset({tag.PARENT, tag.BRANCH, tag.ORIGIN})
"""The tags that tell of a promise's place in its tree."""
IMPLIED_COLUMNS = ("parent", "origin")
"""Columns that are empty where the branch says the same."""


def indexed_of(tags: dict[str, str]) -> str | None:
    """Return the tag by whose index a search is answered, or None: then it walks the ids in pages."""
    return next((name for name in INDEXED_TAGS if name in tags), None)


class Identified(Protocol):
    """Anything with an id."""

    @property
    def id(self) -> str:
        """Its key."""
        ...


ItemT = TypeVar("ItemT", bound=Identified)


def matches(promise: PromiseRecord, query: SearchPromises) -> bool:
    """Tell whether a promise has the state and all the tags that a search asks for."""
    if query.state is not None and promise.state is not query.state:
        return False
    return all(promise.tags.get(name) == value for name, value in query.tags.items())


def page_of_schedules(candidates: Iterable[Schedule], query: SearchSchedules) -> Page[Schedule]:
    """Take a page from schedules in order of id, of which there are at most `query.scan_max`."""
    wanted = query.tags.items()
    return page_of(
        candidates, lambda schedule: wanted <= schedule.promise_tags.items(), query.limit, query.scan_max
    )


def page_of(
    candidates: Iterable[ItemT], wanted: Callable[[ItemT], bool], limit: int, scan_max: int
) -> Page[ItemT]:
    """Take a page from candidates in order of id, of which there are at most `scan_max`.

    The cursor is the last id of a full page behind which another one is wanted, or the last one read when
    the scan stopped early; it is left out only where nothing can follow.
    """
    items: list[ItemT] = []
    scanned, last = 0, None
    for candidate in candidates:
        scanned, last = scanned + 1, candidate.id
        if not wanted(candidate):
            continue
        if len(items) == limit:
            return Page(items=items, cursor=items[-1].id)
        items.append(candidate)
    return Page(items=items, cursor=last if scanned >= scan_max else None)
