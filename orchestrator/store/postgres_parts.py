"""The parts of which one statement is put together that writes all a program changes.

No part touches a row of another. Where a part is of one row its values travel by themselves: to take arrays
of one apart costs the server and the driver half of what the row costs otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import sqlalchemy as sa

from orchestrator.store.postgres_locks import WHOLE_STORE
from orchestrator.store.postgres_statements import array_type
from orchestrator.store.rows import ENDING_COLUMNS, PROMISE_ALL_COLUMNS, SCHEDULE_COLUMNS, TASK_COLUMNS
from orchestrator.store.schema import (
    callbacks,
    listeners,
    outbox_executes,
    outbox_unblocks,
    promises,
    schedules,
    tasks,
    tree_endings,
)


class Put(NamedTuple):
    """The texts of a part that writes rows: `many`, of which each column is an array, and `one`."""

    many: str
    one: str


# -- what is removed

REMOVE_UNBLOCKS_BEFORE = "DELETE FROM outbox_unblocks WHERE queued_at < {}::bigint AND {sure}"
REMOVE_EXECUTES_SENT = """DELETE FROM outbox_executes e USING unnest({}::text[], {}::bigint[])
    AS k (task_id, sent_at) WHERE e.task_id = k.task_id AND e.queued_at <= k.sent_at AND {sure}"""
REMOVE_EXECUTES = "DELETE FROM outbox_executes WHERE task_id = ANY({}::text[]) AND {sure}"
REMOVE_UNBLOCKS = """DELETE FROM outbox_unblocks u USING unnest({}::text[], {}::text[])
    AS k (promise_id, address) WHERE u.promise_id = k.promise_id AND u.address = k.address AND {sure}"""
REMOVE_CALLBACKS_OF_AWAITED = "DELETE FROM callbacks WHERE awaited = ANY({}::text[]) AND {sure}"
REMOVE_CALLBACKS_OF_AWAITER = "DELETE FROM callbacks WHERE awaiter = ANY({}::text[]) AND {sure}"
REMOVE_SCHEDULES = "DELETE FROM schedules WHERE id = ANY({}::text[]) AND {sure}"
REMOVE_ENDINGS = "DELETE FROM tree_endings WHERE id = ANY({}::text[]) AND {sure}"
REMOVE_NEWS = "DELETE FROM outbox_unblocks WHERE promise_id = ANY({}::text[]) AND {sure}"
REMOVE_TASKS = "DELETE FROM tasks WHERE id = ANY({}::text[]) AND {sure}"
REMOVE_PROMISES = "DELETE FROM promises WHERE id = ANY({}::text[]) AND {sure}"
REMOVE_LISTENERS = "DELETE FROM listeners WHERE promise_id = ANY({}::text[]) AND {sure}"

# -- what is put


def _types(table: sa.Table, columns: Sequence[str]) -> list[str]:
    return [array_type(table.c[name]) for name in columns]


def _insert(table: sa.Table, columns: Sequence[str], conflict: str = "") -> Put:
    into, types = f"INSERT INTO {table.name} ({', '.join(columns)})", _types(table, columns)
    many = ", ".join(f"{{}}::{each}" for each in types)
    one = ", ".join(f"{{}}::{each.removesuffix('[]')}" for each in types)
    return Put(
        many=f"{into} SELECT * FROM unnest({many}) WHERE {{sure}}{conflict}",  # noqa: S608
        one=f"{into} SELECT {one} WHERE {{sure}}{conflict}",
    )


def _upsert(table: sa.Table, columns: Sequence[str]) -> Put:
    keys = [column.name for column in table.primary_key]
    changed = ", ".join(f"{name} = excluded.{name}" for name in columns if name not in keys)
    action = f"UPDATE SET {changed}" if changed else "NOTHING"
    return _insert(table, columns, f" ON CONFLICT ({', '.join(keys)}) DO {action}")


INSERT_PROMISES = _insert(promises, PROMISE_ALL_COLUMNS)
SETTLE_PROMISES = Put(
    many="""UPDATE promises p SET state = k.state, value_headers = k.value_headers,
        value_data = k.value_data, settled_at = k.settled_at
        FROM unnest({}::text[], {}::text[], {}::text[], {}::bigint[], {}::text[])
        AS k (state, value_headers, value_data, settled_at, id) WHERE p.id = k.id AND {sure}""",
    one="""UPDATE promises SET state = {}::text, value_headers = {}::text, value_data = {}::text,
        settled_at = {}::bigint WHERE id = {}::text AND {sure}""",
)
PUT_TASKS = _upsert(tasks, TASK_COLUMNS)
PUT_CALLBACKS = _upsert(callbacks, ("awaited", "awaiter"))
PUT_LISTENERS = _upsert(listeners, ("promise_id", "address"))
PUT_EXECUTES = _upsert(outbox_executes, ("task_id", "version", "address", "poll_group", "queued_at"))
PUT_SCHEDULES = _upsert(schedules, SCHEDULE_COLUMNS)
PUT_ENDINGS = _upsert(tree_endings, ENDING_COLUMNS)
PUT_UNBLOCKS = _upsert(outbox_unblocks, ("promise_id", "address", "poll_group", "queued_at"))

# -- together

_SEEN = 9
_UNCHANGED = (
    f"dao_scorer_unchanged({WHOLE_STORE}, {', '.join(f'${number}' for number in range(1, _SEEN + 1))})"
)
_AND_CHILDLESS = f"CASE WHEN {_UNCHANGED} THEN dao_scorer_childless(${_SEEN + 1}) ELSE false END"
Parts = tuple[tuple[str, int], ...]
"""Texts of parts, each with so many places for parameters."""


@lru_cache(maxsize=512)
def combined(parts: Parts) -> str:
    """Return one statement that carries out several."""
    *head, last = _numbered(parts, 1, "true")
    if not head:
        return last
    return f"WITH {_named(head)} {last}"


@lru_cache(maxsize=512)
def if_unchanged(parts: Parts, *, childless: bool) -> str:
    """Return one statement that carries out several if what was read still holds; answers whether.

    With `childless` the first parameter behind what was read names promises that had no children.
    """
    condition = _AND_CHILDLESS if childless else _UNCHANGED
    named = _named(_numbered(parts, _SEEN + 1 + childless, "(SELECT yes FROM sure)"))
    return f"WITH sure AS MATERIALIZED (SELECT {condition} AS yes), {named} SELECT yes FROM sure"  # noqa: S608


def _numbered(parts: Parts, first: int, sure: str) -> Iterator[str]:
    for text, places in parts:
        yield text.format(*(f"${number}" for number in range(first, first + places)), sure=sure)
        first += places


def _named(texts: Iterable[str]) -> str:
    return ", ".join(f"part_{number} AS ({text})" for number, text in enumerate(texts))
