"""Retention: what is forgotten of trees that have ended long ago, off by default.

Invariants: a root is never removed, nor what it was settled with, or whoever creates it again would start it
anew (P2); what a proof is built from stays: commitments and their closing; so does what was settled from
outside, which nobody could compute again, and which may be awaited from another origin. A tree in which
anything is open, or has settled too recently, is left whole: a workflow that replays needs all its steps.
One transaction looks at a page of promises and no more, however large a tree is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import TypeVar

import structlog

from orchestrator.domain import tags as tag
from orchestrator.engine.faults import trace_of
from orchestrator.engine.handlers.promises import EVIDENCE
from orchestrator.engine.parts import Parts
from orchestrator.store.port import Changes, LoadRows, Program, Write, ask
from orchestrator.store.trees import LoadTrees, MemberPage, TreeMember

T = TypeVar("T")
_log = structlog.get_logger(__name__)
PAGE_PAUSE_S = 1.0
"""Between two pages, so that the store's other users hardly notice."""
ROUND_PAUSE_S_MAX = 3600.0
ROUND_PAUSE_S_MIN = 1.0
ROUNDS_AN_AGE = 10
"""How often the store is walked through in the time after which children are removed."""
_BEHIND_ALL = "\U0010ffff"
"""An id behind those of a tree; one that were greater still would be left alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What one page brought: how many promises went, where the next page begins (None: at the end).

    `large` is a tree that does not fit into a page, and stands before `place`.
    """

    removed: int
    place: tuple[str, str] | None
    large: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """Whether a page of one tree lets the tree be thinned, and behind which promise its next page begins."""

    ended: bool
    after: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Thinned:
    """How many promises of one page of a tree went, and behind which one its next page begins."""

    removed: int
    after: str | None


def removable(member: TreeMember) -> bool:
    """Tell whether a promise of an ended tree may go: no root, no evidence, not settled from outside."""
    if member.id == member.origin or member.tags.get(tag.EXTERNAL) == tag.TRUE:
        return False
    return not any(name.startswith(EVIDENCE) for name in member.value_headers or ())


def sweep_program(page: int, place: tuple[str, str], before_ms: int) -> Program[Swept]:
    """Thin the trees of one page behind `place` (origin, id) that ended before `before_ms`."""
    found = yield from ask(LoadTrees(after=place, limit=page))
    trees = [(origin, list(tree)) for origin, tree in groupby(found.members, key=lambda each: each.origin)]
    following = found.after
    if trees and place[1] >= _BEHIND_ALL and trees[0][0] == place[0]:
        trees.pop(0)  # the rest of a tree that did not fit
    if trees and following is not None and trees[-1][0] == following[0]:
        if len(trees) == 1:
            return Swept(removed=0, place=(following[0], _BEHIND_ALL), large=following[0])
        trees.pop()  # its other members stand on the next page, so that this one begins there
        following = (trees[-1][0], trees[-1][1][-1].id)
    ended = yield from _ended_roots(trees, before_ms)
    gone = [
        member.id
        for origin, tree in trees
        if origin in ended and _all_ended(tree, before_ms)
        for member in tree
        if removable(member)
    ]
    if gone:
        yield from ask(Write(changes=Changes(promises_removed=gone)))
    return Swept(removed=len(gone), place=following)


def _ended_roots(trees: Sequence[tuple[str, list[TreeMember]]], before_ms: int) -> Program[set[str]]:
    """Return the origins whose root exists and ended before; one made by hand does not name its origin."""
    ended = {
        origin
        for origin, tree in trees
        if any(member.id == origin and _has_ended(member.settled_at, before_ms) for member in tree)
    }
    unknown = [origin for origin, tree in trees if all(member.id != origin for member in tree)]
    if unknown:
        rows = yield from ask(LoadRows(ids=unknown))
        ended |= {promise.id for promise, _ in rows if _has_ended(promise.settled_at, before_ms)}
    return ended


def _all_ended(tree: Iterable[TreeMember], before_ms: int) -> bool:
    return all(_has_ended(member.settled_at, before_ms) for member in tree)


def _has_ended(settled_at: int | None, before_ms: int) -> bool:
    return settled_at is not None and settled_at <= before_ms


def judge_program(page: int, origin: str, after: str, before_ms: int) -> Program[Judged]:
    """Look through one page of a large tree."""
    found = yield from ask(LoadTrees(after=(origin, after), limit=page))
    tree = _members_of(origin, found)
    ended = _all_ended(tree, before_ms)
    if ended and not after:
        roots = yield from _ended_roots([(origin, tree)], before_ms)
        ended = origin in roots
    return Judged(ended=ended, after=_rest_of(origin, found))


def _members_of(origin: str, page: MemberPage) -> list[TreeMember]:
    return [member for member in page.members if member.origin == origin]


def _rest_of(origin: str, page: MemberPage) -> str | None:
    """Return the id behind which the next page of a tree begins, or None at its end."""
    return page.after[1] if page.after is not None and page.after[0] == origin else None


def thin_program(page: int, origin: str, after: str, before_ms: int) -> Program[Thinned]:
    """Remove what may go from one page of a large tree that has ended; return how much, and the next page.

    What was settled meanwhile cannot need what goes: in an ended tree nothing is ever replayed.
    """
    found = yield from ask(LoadTrees(after=(origin, after), limit=page))
    old = (member for member in _members_of(origin, found) if _has_ended(member.settled_at, before_ms))
    gone = [member.id for member in old if removable(member)]
    if gone:
        yield from ask(Write(changes=Changes(promises_removed=gone)))
    return Thinned(removed=len(gone), after=_rest_of(origin, found))


class Retention:
    """Walks through the store again and again, and thins what has ended `retain_children_ms` ago."""

    def __init__(self, parts: Parts, age_ms: int) -> None:
        self._store = parts.store
        self._clock = parts.clock
        self._statistics = parts.statistics
        self._page = parts.settings.tick_page
        self._age_ms = age_ms

    async def run(self) -> None:
        """Walk until cancelled."""
        pause_s = min(max(self._age_ms / 1000 / ROUNDS_AN_AGE, ROUND_PAUSE_S_MIN), ROUND_PAUSE_S_MAX)
        while True:
            try:
                removed = await self.sweep(PAGE_PAUSE_S)
                if removed:
                    _log.info("children removed", promises=removed)
            except Exception as error:  # what was not removed now is removed by a later round
                _log.error("retention failed", trace=trace_of(error))
            await asyncio.sleep(pause_s)

    async def sweep(self, pause_s: float = 0.0) -> int:
        """Walk once, and return how many promises went. Raises StoreError."""
        removed = 0
        place: tuple[str, str] | None = ("", "")
        while place is not None:
            swept = await self._run(partial(sweep_program, self._page, place))
            removed += swept.removed
            self._statistics.removed += swept.removed
            if swept.large is not None and await self._has_ended(swept.large, pause_s):
                removed += await self._thin(swept.large, pause_s)
            place = swept.place
            await asyncio.sleep(pause_s)
        return removed

    async def _has_ended(self, origin: str, pause_s: float) -> bool:
        after: str | None = ""
        while after is not None:
            judged = await self._run(partial(judge_program, self._page, origin, after))
            if not judged.ended:
                return False
            after = judged.after
            await asyncio.sleep(pause_s)
        return True

    async def _thin(self, origin: str, pause_s: float) -> int:
        removed = 0
        after: str | None = ""
        while after is not None:
            thinned = await self._run(partial(thin_program, self._page, origin, after))
            removed, after = removed + thinned.removed, thinned.after
            self._statistics.removed += thinned.removed
            await asyncio.sleep(pause_s)
        return removed

    async def _run(self, program: Callable[[int], Program[T]]) -> T:
        return await self._store.run(lambda now_ms: program(now_ms - self._age_ms), self._clock.now_ms())
