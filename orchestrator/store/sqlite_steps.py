"""Finished steps of a root, which no index of SQLite holds: they are found by their ids, behind their root's.

What a workflow does mostly is to add such steps, and an entry in an index of branches would cost a third of
what one costs otherwise: ids are random, so that it would be one more page of the log for each. They are
`root:1`, `root:2` and so on, whose branch, origin and parent is that root: whatever looks for one of these
looks here as well. What was open when it was added, what a fence does not prove to be a step of its root, and
the steps of all other workflows stand in the index.

Invariant: W1 no recorded step is overlooked. That the root itself stands in the index (`created_row`) is how
all trees are found (`LoadTrees`).
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from sqlite3 import Connection, Cursor
from typing import Any

import sqlalchemy as sa

from orchestrator.domain import tags as tag
from orchestrator.domain.ids import CHILD_SEPARATOR, ROOT_SEPARATOR
from orchestrator.domain.promise import PromiseRecord
from orchestrator.store.port import Fence
from orchestrator.store.rows import PROMISE_ALL_COLUMNS, PROMISE_COLUMNS, promise_row
from orchestrator.store.schema import promises
from orchestrator.store.sqlite_text import given, text

Row = Sequence[Any]
"""The PROMISE_COLUMNS of a promise."""
LOAD_BETWEEN = text(
    sa.select(*(promises.c[name] for name in PROMISE_COLUMNS))
    .where(promises.c.id > given("after"), promises.c.id < given("before"))
    .order_by(promises.c.id),
    "after",
    "before",
)
_BRANCH_AT, _TARGET_AT = map(PROMISE_ALL_COLUMNS.index, ("branch", "target"))
_BEHIND_NUMBERS = chr(ord("9") + 1)
_BEHIND_CHILDREN = chr(ord(CHILD_SEPARATOR) + 1)


def stands_by_id(promise: PromiseRecord, fence: Fence) -> bool:
    """Tell whether what the holder of a task adds is a finished step of it, as a root: it needs no entry."""
    root, tags = fence.task_id, promise.tags
    if promise.settled_at is None or tags.get(tag.BRANCH) != root or tags.get(tag.ORIGIN) != root:
        return False
    head, _, number = promise.id.partition(ROOT_SEPARATOR)
    return head == root and number.isascii() and number.isdigit()


def created_row(promise: PromiseRecord) -> tuple[object, ...]:
    """Return the columns of a new promise: that of a task stands in the index even if it names no branch."""
    row = promise_row(promise)
    if row[_TARGET_AT] is None or row[_BRANCH_AT] is not None:
        return row
    return (*row[:_BRANCH_AT], promise.id, *row[_BRANCH_AT + 1 :])


def numbered(connection: Connection, root: str, after: str = "") -> Iterator[Row]:
    """Yield the promises `root:NUMBER` behind `after`, by id, whatever they are.

    No more is read than what is taken, and of what lies below each of them the first.
    """
    if ROOT_SEPARATOR in root:
        return
    before = f"{root}{ROOT_SEPARATOR}"
    end = f"{before}{_BEHIND_NUMBERS}"
    place: str | None = max(after, before)
    while place is not None:
        place = yield from _up_to_deeper(connection.execute(LOAD_BETWEEN, (place, end)), len(before))


def _up_to_deeper(rows: Cursor, at: int) -> Generator[Row, None, str | None]:
    """Yield rows up to the first that lies deeper; return behind what to go on, or None at the end."""
    with closing(rows):
        for row in rows:
            number, deeper, _ = row[0][at:].partition(CHILD_SEPARATOR)
            if deeper:
                return f"{row[0][:at]}{number}{_BEHIND_CHILDREN}"
            yield row
    return None
