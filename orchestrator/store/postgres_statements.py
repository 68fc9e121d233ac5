"""The statements of the PostgreSQL store, as text for the driver's prepared statements.

Lists travel as arrays (`= ANY($1)`, `unnest`), so that a text never depends on how many there are and each
connection prepares it once. What programs write is told in `postgres_parts`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from orchestrator.domain import tags as tag
from orchestrator.store.forms import PLAIN_NOW
from orchestrator.store.postgres_groups import LOAD_REVISION
from orchestrator.store.postgres_locks import WHOLE_STORE
from orchestrator.store.rows import (
    ENDING_COLUMNS,
    PROMISE_ALL_COLUMNS,
    PROMISE_COLUMNS,
    SCHEDULE_COLUMNS,
    TASK_COLUMNS,
)
from orchestrator.store.schema import OPEN_MEMBER as _OPEN_MEMBER
from orchestrator.store.schema import (
    metadata,
    promises,
)
from orchestrator.store.search import IMPLIED_COLUMNS, INDEXED_TAGS

_ARRAYS = {str: "text[]", int: "bigint[]", bool: "boolean[]"}


def array_type(column: sa.Column[Any]) -> str:
    """Return the type of an array of a column's values."""
    return _ARRAYS[column.type.python_type]


def _columns(prefix: str, names: Sequence[str]) -> str:
    return ", ".join(f"{prefix}.{name}" for name in names)


_PROMISE = _columns("p", PROMISE_COLUMNS)
_TASK = _columns("t", TASK_COLUMNS)
_ROW = f"SELECT {_PROMISE}, {_TASK} FROM promises p LEFT JOIN tasks t ON t.id = p.id"  # noqa: S608
_NOW = "floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint"

NOW = f"SELECT {_NOW}, ({LOAD_REVISION})"
"""The database's time in Unix milliseconds; not that of the transaction's start, but of this very call.

With it comes the revision of what is set about groups.
"""
LOAD_ROWS = f"{_ROW} WHERE p.id = ANY($1::text[])"
LOAD_ROWS_AND_NOW = f"""
    SELECT r.*, n.now, n.revision FROM (SELECT {_NOW} AS now, ({LOAD_REVISION}) AS revision) n
    LEFT JOIN (
        SELECT {_PROMISE}, {", ".join(f"t.{name} AS task_{name}" for name in TASK_COLUMNS)}
        FROM promises p LEFT JOIN tasks t ON t.id = p.id WHERE p.id = ANY($1::text[])
    ) r ON true
"""  # noqa: S608  # our own names
"""LOAD_ROWS with NOW in its last columns; one row of nulls where nothing was found."""
_WAITING = """
    ARRAY(SELECT ARRAY[awaited, awaiter] FROM callbacks WHERE awaited = ANY($2::text[])
        ORDER BY awaited, awaiter),
    ARRAY(SELECT ARRAY[promise_id, address] FROM listeners WHERE promise_id = ANY($2::text[])
        ORDER BY promise_id, address)
"""
_CHILDLESS = """
    ARRAY(SELECT k.id FROM promises k WHERE k.id = ANY($3::text[])
        AND NOT EXISTS (SELECT FROM promises b WHERE b.branch = coalesce(k.branch, k.id) AND b.id <> k.id)
        AND NOT EXISTS (SELECT FROM promises b WHERE b.branch = k.id AND b.id <> k.id)
        AND NOT EXISTS (SELECT FROM promises c WHERE c.parent = k.id AND c.id <> k.id))
"""
"""Those of $3 whose preload is empty; what only may have children is left out as well."""
_NULLS = ", ".join(["NULL"] * (len(PROMISE_COLUMNS) + len(TASK_COLUMNS) + 2))
READ = f"""
    SELECT {_NULLS}, {_NOW}, ({LOAD_REVISION}), {_WAITING}, {_CHILDLESS}
    UNION ALL
    SELECT {_PROMISE}, {_TASK}, p.xmin, t.xmin, NULL, NULL, NULL, NULL, NULL
    FROM promises p LEFT JOIN tasks t ON t.id = p.id
    WHERE p.id = ANY($1::text[] || ARRAY(SELECT awaiter FROM callbacks WHERE awaited = ANY($2::text[])))
"""  # noqa: S608
"""See postgres_optimistic: one row of what is no promise, then the promises, their tasks and marks."""
LOAD_WAITERS = """
    SELECT awaited, awaiter, true FROM callbacks WHERE awaited = ANY($1::text[])
    UNION ALL
    SELECT promise_id, address, false FROM listeners WHERE promise_id = ANY($1::text[])
"""
LOAD_HELD = f"{_ROW} WHERE t.pid = ANY($1::text[]) AND t.state = 'acquired'"
LOAD_HELD_IDS = "SELECT id FROM tasks WHERE pid = ANY($1::text[]) AND state = 'acquired'"
LOAD_PRELOADS = f"""
    SELECT k.id, {_PROMISE} FROM unnest($1::text[], $2::text[]) AS k (id, branch)
    CROSS JOIN LATERAL (
        SELECT {_PROMISE} FROM promises p WHERE p.id IN (
            (SELECT b.id FROM promises b WHERE b.branch = k.branch ORDER BY b.id LIMIT $3::bigint + 1)
            UNION
            (SELECT c.id FROM promises c WHERE c.parent = k.id ORDER BY c.id LIMIT $3::bigint + 1)
            UNION
            (SELECT d.id FROM promises d WHERE d.branch = k.id AND k.id <> k.branch
                AND d.tags::json ->> '{tag.PARENT}' = k.id ORDER BY d.id LIMIT $3::bigint + 1)
        ) AND p.id <> k.id ORDER BY p.id LIMIT $3::bigint
    ) p ORDER BY k.id, p.id
"""  # noqa: S608
"""The children of tasks by branch or parent; each side is bounded by its own index.

Children that stand in a branch of their parent's name leave the column of their parent empty.
"""
LOAD_TIMED = """
    SELECT t.timer_at, t.id, t.state = 'pending' AND e.task_id IS NULL, e.queued_at
    FROM tasks t LEFT JOIN outbox_executes e ON e.task_id = t.id
    WHERE t.timer_at IS NOT NULL AND (t.timer_at, t.id) > ($1, $2) AND t.timer_at <= $3
    ORDER BY t.timer_at, t.id LIMIT $4
"""
LOAD_DUE = """
    (SELECT id FROM promises WHERE state = 'pending' AND timeout_at <= $1::bigint
        ORDER BY timeout_at LIMIT $2::bigint)
    UNION ALL
    (SELECT id FROM tasks WHERE timer_at IS NOT NULL AND timer_at <= $1::bigint
        ORDER BY timer_at, id LIMIT $2::bigint)
"""
# Not min(): over an empty table the planner would choose to read the whole index.
_DEADLINE = """least(
        (SELECT timeout_at FROM promises WHERE state = 'pending' ORDER BY timeout_at LIMIT 1),
        (SELECT timer_at FROM tasks WHERE timer_at IS NOT NULL ORDER BY timer_at, id LIMIT 1),
        (SELECT next_run_at FROM schedules WHERE NOT paused ORDER BY next_run_at, id LIMIT 1),
        (SELECT asked_at FROM tree_endings ORDER BY asked_at, id LIMIT 1)
    )"""
LOAD_DEADLINE = f"SELECT {_DEADLINE}"
LOAD_OPEN_BETWEEN = f"""
    SELECT id FROM promises WHERE {_OPEN_MEMBER.text} AND id > $1 AND id < $2 ORDER BY id LIMIT $3
"""  # noqa: S608
_ENDING = _columns("e", ENDING_COLUMNS)
LOAD_ENDINGS = f"SELECT {_ENDING} FROM tree_endings e WHERE e.id = ANY($1::text[])"  # noqa: S608
LOAD_DUE_ENDINGS = "SELECT id FROM tree_endings WHERE asked_at <= $1 ORDER BY asked_at, id LIMIT $2"
SEARCH_PROMISES = f"SELECT {_PROMISE} FROM promises p WHERE p.id > $1 ORDER BY p.id LIMIT $2"  # noqa: S608
SEARCH_PROMISES_BY = {
    name: f"SELECT {_PROMISE} FROM promises p WHERE p.{name} = $3 AND p.id > $1 ORDER BY p.id LIMIT $2"  # noqa: S608
    for name in INDEXED_TAGS.values()
    if name not in IMPLIED_COLUMNS
} | {
    name: f"""
        SELECT {_PROMISE} FROM promises p WHERE p.id IN (
            (SELECT b.id FROM promises b WHERE b.branch = $3 AND b.id > $1 ORDER BY b.id LIMIT $2)
            UNION
            (SELECT c.id FROM promises c WHERE c.{name} = $3 AND c.id > $1 ORDER BY c.id LIMIT $2)
        ) ORDER BY p.id LIMIT $2
    """  # noqa: S608
    for name in IMPLIED_COLUMNS
}
"""Candidates in whose tags the value may stand; what is found by the branch alone may have another."""
LOAD_TREES_BY = {
    name: f"""
        SELECT {name}, id, settled_at, value_headers, tags FROM promises
        WHERE {name} IS NOT NULL AND ({name}, id) > ($1, $2) ORDER BY {name}, id LIMIT $3
    """  # noqa: S608
    for name in ("origin", "branch")
}
SEARCH_TASKS = f"SELECT {_TASK} FROM tasks t WHERE t.id > $1 ORDER BY t.id LIMIT $2"  # noqa: S608
SEARCH_OPEN_TASKS = f"""
    SELECT {_TASK} FROM tasks t WHERE t.state = $3 AND t.state <> 'fulfilled' AND t.id > $1
    ORDER BY t.id LIMIT $2
"""  # noqa: S608

_SCHEDULE = _columns("s", SCHEDULE_COLUMNS)
LOAD_SCHEDULES = f"SELECT {_SCHEDULE} FROM schedules s WHERE s.id = ANY($1::text[])"  # noqa: S608
LOAD_DUE_SCHEDULES = """
    SELECT id FROM schedules WHERE NOT paused AND next_run_at <= $1 ORDER BY next_run_at, id LIMIT $2
"""
SEARCH_SCHEDULES = f"SELECT {_SCHEDULE} FROM schedules s WHERE s.id > $1 ORDER BY s.id LIMIT $2"  # noqa: S608

_EXECUTE = "e.task_id, e.version, e.address, e.poll_group, e.queued_at"
_UNBLOCK = "u.promise_id, u.address, u.poll_group, u.queued_at"
_EXECUTES = "SELECT {columns} FROM outbox_executes e WHERE e.poll_group {group} AND e.task_id > $1"
_UNBLOCKS = """
    SELECT {columns} FROM outbox_unblocks u JOIN promises p ON p.id = u.promise_id
    WHERE u.poll_group {group} AND (u.promise_id, u.address) > ($1, $2)
"""
LOAD_GROUP_EXECUTES = (
    _EXECUTES.format(columns=_EXECUTE, group="= $3") + " ORDER BY e.poll_group, e.task_id LIMIT $2"
)
LOAD_PUSH_EXECUTES = (
    _EXECUTES.format(columns=_EXECUTE, group="IS NULL") + " ORDER BY e.poll_group, e.task_id LIMIT $2"
)
LOAD_GROUP_UNBLOCKS = (
    _UNBLOCKS.format(columns=f"{_UNBLOCK}, {_PROMISE}", group="= $4")
    + " ORDER BY u.poll_group, u.promise_id, u.address LIMIT $3"
)
LOAD_PUSH_UNBLOCKS = (
    _UNBLOCKS.format(columns=f"{_UNBLOCK}, {_PROMISE}", group="IS NULL")
    + " ORDER BY u.poll_group, u.promise_id, u.address LIMIT $3"
)

LOAD_GAUGES = """
    SELECT state, target, count(*) FROM tasks WHERE state <> 'fulfilled' GROUP BY state, target
    UNION ALL SELECT 'promises', '', count(*) FROM promises WHERE state = 'pending'
    UNION ALL SELECT 'executes', '', count(*) FROM outbox_executes
    UNION ALL SELECT 'unblocks', '', count(*) FROM outbox_unblocks
"""
_DUE_SINCE = f"coalesce((p.tags::json ->> '{tag.DELAY}')::bigint, p.created_at)"
LOAD_WAITING = f"""
    SELECT t.target, min({_DUE_SINCE}) FROM tasks t JOIN promises p ON p.id = t.id
    WHERE t.state = 'pending' AND t.state <> 'fulfilled' AND t.version = 0
    AND p.tags::json ->> '{tag.TIMER}' IS NULL AND {_DUE_SINCE} <= $1
    GROUP BY t.target
"""  # noqa: S608
"""Since when tasks are due that nobody has ever taken, by target."""

# -- for debugging

LOAD_GROUPS = "SELECT poll_group FROM outbox_executes UNION SELECT poll_group FROM outbox_unblocks"
CLEAR = f"TRUNCATE {', '.join(metadata.tables)}"

# -- between servers

_LAIN = f"queued_at BETWEEN {_NOW} - $2::bigint AND {_NOW} - $3::bigint AND poll_group = ANY($1::text[])"
LOOK = f"""
    SELECT {_NOW}, {_DEADLINE},
    (SELECT coalesce(json_agg(json_build_array(task_id, queued_at, address)), '[]') FROM (
        SELECT task_id, queued_at, address FROM outbox_executes WHERE {_LAIN} LIMIT $4) e),
    (SELECT coalesce(json_agg(json_build_array(promise_id, queued_at, address)), '[]') FROM (
        SELECT promise_id, queued_at, address FROM outbox_unblocks WHERE {_LAIN} LIMIT $4) u)
"""  # noqa: S608
"""The time, the next deadline, and what has lain for these groups since a moment ago (not longer)."""
CLAIM_EXECUTES = f"""
    WITH mine AS (
        SELECT e.task_id FROM outbox_executes e
        JOIN unnest($1::text[], $2::bigint[]) AS k (task_id, queued_at) USING (task_id, queued_at)
        FOR UPDATE OF e SKIP LOCKED
    )
    UPDATE outbox_executes e SET queued_at = e.queued_at + 1 FROM mine
    WHERE e.task_id = mine.task_id RETURNING {_EXECUTE}
"""  # noqa: S608
"""Take hold of announcements as they were queued then: only one of several servers changes the moment."""
CLAIM_UNBLOCKS = f"""
    WITH mine AS (
        SELECT u.promise_id, u.address FROM outbox_unblocks u
        JOIN unnest($1::text[], $2::text[], $3::bigint[]) AS k (promise_id, address, queued_at)
            USING (promise_id, address, queued_at)
        FOR UPDATE OF u SKIP LOCKED
    )
    UPDATE outbox_unblocks u SET queued_at = u.queued_at + 1 FROM mine, promises p
    WHERE u.promise_id = mine.promise_id AND u.address = mine.address AND p.id = mine.promise_id
    RETURNING {_UNBLOCK}, {_PROMISE}
"""  # noqa: S608
NOTIFY = "SELECT pg_notify($1, p) FROM unnest($2::text[]) AS p"

# -- what is added by one statement alone

_NEXT = len(PROMISE_ALL_COLUMNS) + 1
"""The first parameter behind those of a promise's row: now, or null for the database's; then two locks."""
_STAMPED = {
    "created_at": "least(o.now, $9::bigint)",
    "settled_at": "CASE WHEN $10::bigint IS NOT NULL THEN o.now END",
}
_GIVEN = ", ".join(
    _STAMPED.get(name, f"${place}::{array_type(promises.c[name]).removesuffix('[]')}")
    for place, name in enumerate(PROMISE_ALL_COLUMNS, 1)
)


def _locked(first: int, more: str = "") -> str:
    """Return the time, if the locks of one row can be had: of parameter `first`, now or null, and a lock."""
    return f"""
    WITH n AS MATERIALIZED (
        SELECT coalesce(${first}::bigint, {_NOW}) AS now
        WHERE pg_try_advisory_xact_lock_shared({WHOLE_STORE})
        AND pg_try_advisory_xact_lock(${first + 1}::bigint) {more}
    )"""


_ADD = f"""
    INSERT INTO promises ({", ".join(PROMISE_ALL_COLUMNS)})
    SELECT {_GIVEN} FROM {{source}} o WHERE o.now < $8::bigint
    ON CONFLICT (id) DO NOTHING RETURNING coalesce(settled_at, created_at)
"""  # noqa: S608
INSERT_PROMISE_IF_ABSENT = _locked(_NEXT) + _ADD.format(source="n")
"""See postgres_insert. Answers the moment at which the promise was added."""
_IS_HELD = """t.state = 'acquired' AND t.releases = 0 AND t.attempts = 0 AND t.left_behind IS NULL
        AND NOT t.cancelled AND p.settled_at IS NULL AND p.timeout_at > n.now"""
"""By `settled_at`, not by the state, of which there are indexes that are small as long as the store is: a
plan that was made then would look for the promise by reading one of them.
"""
_HELD = f""", held AS MATERIALIZED (
        SELECT n.now FROM n CROSS JOIN tasks t JOIN promises p ON p.id = t.id
        WHERE t.id = ${_NEXT + 3} AND t.version = ${_NEXT + 4} AND {_IS_HELD}
        AND t.touched_at > n.now - ${_NEXT + 5}::bigint
        FOR SHARE OF t, p SKIP LOCKED
    )"""  # noqa: S608
_LOCKED_TWO = _locked(_NEXT, f"AND pg_try_advisory_xact_lock(${_NEXT + 2}::bigint)")
INSERT_PROMISE_FENCED = f"{_LOCKED_TWO}{_HELD}{_ADD.format(source='held')}"
_ALL_TYPES = [array_type(promises.c[name]) for name in PROMISE_ALL_COLUMNS]
_FENCE = {"lock": "bigint[]", "fence_lock": "bigint[]", "fence": "text[]", "version": "bigint[]"}
_ALL = ", ".join(f"${place}::{each}" for place, each in enumerate([*_ALL_TYPES, *_FENCE.values()], 1))
_STAMPED_ALL = {
    "created_at": "least(n.now, n.created_at)",
    "settled_at": "CASE WHEN n.settled_at IS NOT NULL THEN n.now END",
}
INSERT_PROMISES_IF_ABSENT = f"""
    WITH n AS MATERIALIZED (
        SELECT k.*, m.now FROM (
            SELECT coalesce(${_NEXT + 4}::bigint, {_NOW}) AS now
            WHERE pg_try_advisory_xact_lock_shared({WHOLE_STORE})
        ) m CROSS JOIN unnest({_ALL}) AS k ({", ".join([*PROMISE_ALL_COLUMNS, *_FENCE])})
        WHERE pg_try_advisory_xact_lock(k.lock)
        AND (k.fence_lock IS NULL OR pg_try_advisory_xact_lock(k.fence_lock))
    ), held AS MATERIALIZED (
        SELECT n.* FROM n CROSS JOIN LATERAL (
            SELECT FROM tasks t CROSS JOIN promises p
            WHERE t.id = n.fence AND p.id = n.fence AND t.version = n.version AND {_IS_HELD}
            AND t.touched_at > n.now - ${_NEXT + 5}::bigint
            FOR SHARE OF t, p SKIP LOCKED
        ) h
    )
    INSERT INTO promises ({", ".join(PROMISE_ALL_COLUMNS)})
    SELECT {", ".join(_STAMPED_ALL.get(name, f"n.{name}") for name in PROMISE_ALL_COLUMNS)}
    FROM (SELECT * FROM held UNION ALL SELECT * FROM n WHERE n.fence IS NULL) n WHERE n.now < n.timeout_at
    ON CONFLICT (id) DO NOTHING RETURNING id, coalesce(settled_at, created_at)
"""  # noqa: S608
"""The same for many at once; each that stands against nothing is added."""


_PLAIN_TYPES = [array_type(promises.c[name]).removesuffix("[]") for name in PLAIN_NOW.given]
_PLAIN_ONE = ", ".join(f"${place}::{each}" for place, each in enumerate(_PLAIN_TYPES, 3))
INSERT_PLAIN_ONE = f"""{_locked(1)}
    INSERT INTO promises ({", ".join([*PLAIN_NOW.given, "created_at", *PLAIN_NOW.literals])})
    SELECT {", ".join([_PLAIN_ONE, "n.now", *PLAIN_NOW.literals.values()])}
    FROM n WHERE n.now < ${3 + PLAIN_NOW.given.index("timeout_at")}
    ON CONFLICT (id) DO NOTHING RETURNING created_at
"""  # noqa: S608
"""What INSERT_PROMISE_IF_ABSENT does, for a plain promise: less is told, and nothing decided about it."""


def _insert_plain(places: int) -> str:
    given, literals, types = PLAIN_NOW.given, PLAIN_NOW.literals, [*_PLAIN_TYPES, "bigint"]
    values = (f"${place}::{types[(place - 2) % len(types)]}" for place in range(2, 2 + len(types) * places))
    rows = ", ".join(f"({', '.join(row)})" for row in zip(*[values] * len(types), strict=True))
    return f"""
        WITH m AS MATERIALIZED (
            SELECT coalesce($1::bigint, {_NOW}) AS now WHERE pg_try_advisory_xact_lock_shared({WHOLE_STORE})
        ), n AS MATERIALIZED (
            SELECT k.*, m.now FROM m CROSS JOIN (VALUES {rows}) AS k ({", ".join(given)}, lock)
            WHERE pg_try_advisory_xact_lock(k.lock)
        )
        INSERT INTO promises ({", ".join([*given, "created_at", *literals])})
        SELECT {", ".join([*(f"n.{name}" for name in given), "n.now", *literals.values()])}
        FROM n WHERE n.now < n.timeout_at ON CONFLICT (id) DO NOTHING RETURNING id, created_at
    """  # noqa: S608


INSERT_PLAIN = {places: _insert_plain(places) for places in (2, 4, 8, 16, 32, 64, 128, 256)}
"""The same for up to so many plain promises; where there are fewer, the others are null.

A row costs a fifth less so: an array is taken in by itself, and the driver looks at each value of one twice.
"""
