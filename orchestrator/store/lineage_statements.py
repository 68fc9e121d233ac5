"""The statements of the SQLite store that find promises by their tags, and by their place in a tree.

The columns `origin` and `parent` are empty where `branch` says the same: what looks for one of them looks by
the branch as well.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from orchestrator.domain import tags as tag
from orchestrator.store.rows import PROMISE_COLUMNS
from orchestrator.store.schema import promises
from orchestrator.store.search import IMPLIED_COLUMNS, INDEXED_TAGS
from orchestrator.store.sqlite_text import ZERO as _ZERO
from orchestrator.store.sqlite_text import given as _given
from orchestrator.store.sqlite_text import text as _text

_promise = [promises.c[name] for name in PROMISE_COLUMNS]


def _side(*conditions: sa.ColumnElement[bool]) -> sa.Select[Any]:
    # Each side is bounded by its own index, so that a task with a million children costs no more.
    side = sa.select(promises.c.id).where(*conditions).order_by(promises.c.id)
    return sa.select(side.limit(_given("limit")).offset(_ZERO).subquery().c.id)


_parent_tag = sa.func.json_extract(promises.c.tags, sa.literal_column(f"""'$."{tag.PARENT}"'"""))
_related_ids = sa.union(
    _side(promises.c.branch == _given("branch")),
    _side(promises.c.parent == _given("parent")),
    # Children that stand in a branch of this very name leave the column of their parent empty.
    _side(
        promises.c.branch == _given("parent"),
        _given("parent") != _given("branch"),
        _parent_tag == _given("parent"),
    ),
)
LOAD_PRELOAD = _text(
    sa.select(*_promise)
    .where(promises.c.id.in_(_related_ids), promises.c.id != _given("id"))
    .order_by(promises.c.id)
    .limit(_given("limit"))
    .offset(_ZERO),
    "branch",
    "limit",
    "parent",
    "limit",
    "parent",
    "parent",
    "branch",
    "parent",
    "limit",
    "id",
    "limit",
)
"""The children of a task by branch or parent; bounded, and read from two indexes."""

_after = promises.c.id > _given("cursor")
SEARCH_PROMISES = _text(
    sa.select(*_promise).where(_after).order_by(promises.c.id).limit(_given("limit")).offset(_ZERO),
    "cursor",
    "limit",
)
SEARCH_PROMISES_BY = {
    name: _text(
        sa.select(*_promise)
        .where(promises.c[name] == _given("value"), _after)
        .order_by(promises.c.id)
        .limit(_given("limit"))
        .offset(_ZERO),
        "value",
        "cursor",
        "limit",
    )
    for name in INDEXED_TAGS.values()
    if name not in IMPLIED_COLUMNS
}
SEARCH_PROMISES_BY_IMPLIED = {
    name: _text(
        sa.select(*_promise)
        .where(
            promises.c.id.in_(
                sa.union(
                    _side(promises.c[name] == _given("value"), _after),
                    _side(promises.c.branch == _given("value"), _after),
                )
            )
        )
        .order_by(promises.c.id)
        .limit(_given("limit"))
        .offset(_ZERO),
        *("value", "cursor", "limit") * 2,
        "limit",
    )
    for name in IMPLIED_COLUMNS
}
"""Candidates in whose tags the value may stand; what is found by the branch alone may have another."""


def _load_trees_by(column: sa.Column[Any]) -> str:
    return _text(
        sa.select(column, promises.c.id, promises.c.settled_at, promises.c.value_headers, promises.c.tags)
        .where(
            column.is_not(None),
            sa.tuple_(column, promises.c.id) > sa.tuple_(_given("origin"), _given("id")),
        )
        .order_by(column, promises.c.id)
        .limit(_given("limit"))
        .offset(_ZERO),
        "origin",
        "id",
        "limit",
    )


LOAD_TREES_BY_ORIGIN = _load_trees_by(promises.c.origin)
LOAD_TREES_BY_BRANCH = _load_trees_by(promises.c.branch)
