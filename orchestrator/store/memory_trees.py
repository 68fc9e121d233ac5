"""How the memory store answers the queries about whole trees."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from itertools import islice, takewhile
from typing import Any

from orchestrator.domain import tags as tag
from orchestrator.domain.ending import TreeEnding
from orchestrator.domain.promise import PromiseRecord
from orchestrator.store import port, trees
from orchestrator.store.memory_tables import Tables


def _load_open_between(tables: Tables, query: trees.LoadOpenBetween) -> list[str]:
    start = bisect_right(tables.ids, query.after)
    ids = takewhile(lambda key: key < query.before, islice(tables.ids, start, None))
    return list(islice((key for key in ids if _is_open_member(tables.promises[key])), query.limit))


def _is_open_member(promise: PromiseRecord) -> bool:
    return promise.pending and promise.tags.get(tag.ORIGIN, promise.id) != promise.id


def _load_endings(tables: Tables, query: trees.LoadEndings) -> list[TreeEnding]:
    return [tables.endings[key] for key in query.ids if key in tables.endings]


def _load_due_endings(tables: Tables, query: trees.LoadDueEndings) -> list[str]:
    due = sorted((e.asked_at, e.id) for e in tables.endings.values() if e.asked_at <= query.now_ms)
    return [key for _, key in due[: query.limit]]


def _load_trees(tables: Tables, query: trees.LoadTrees) -> trees.MemberPage:
    keys = sorted(
        (origin, key) for (name, origin), ids in tables.related.items() for key in ids if name == tag.ORIGIN
    )
    start = bisect_right(keys, query.after)
    page = keys[start : start + query.limit]
    return trees.MemberPage(
        members=[_member(origin, tables.promises[key]) for origin, key in page],
        after=page[-1] if len(page) == query.limit else None,
    )


def _member(origin: str, promise: PromiseRecord) -> trees.TreeMember:
    return trees.TreeMember(
        origin=origin,
        id=promise.id,
        settled_at=promise.settled_at,
        value_headers=promise.value.headers,
        tags=promise.tags,
    )


TREE_QUERIES: dict[type[port.Query[Any]], Callable[[Tables, Any], Any]] = {
    trees.LoadOpenBetween: _load_open_between,
    trees.LoadEndings: _load_endings,
    trees.LoadDueEndings: _load_due_endings,
    trees.LoadTrees: _load_trees,
}
