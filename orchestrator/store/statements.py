"""The statements of the SQLite store, built with SQLAlchemy Core and compiled once to text.

The hot path runs these texts on the driver's own connection with positional parameters: SQLAlchemy's
execution costs about half of what one commit does. Lists of ids travel as one JSON array, so that a
statement's text never depends on how many there are.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from orchestrator.store.rows import (
    ENDING_COLUMNS,
    PROMISE_ALL_COLUMNS,
    PROMISE_COLUMNS,
    SCHEDULE_COLUMNS,
    TASK_COLUMNS,
)
from orchestrator.store.schema import OPEN_MEMBER as _OPEN_MEMBER
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
from orchestrator.store.sqlite_text import ZERO as _ZERO
from orchestrator.store.sqlite_text import each as _each
from orchestrator.store.sqlite_text import given as _given
from orchestrator.store.sqlite_text import text as _text

_promise = [promises.c[name] for name in PROMISE_COLUMNS]
_task = [tasks.c[name] for name in TASK_COLUMNS]
_row = sa.select(*_promise, *(column.label(f"task_{column.name}") for column in _task))
_joined = promises.outerjoin(tasks, tasks.c.id == promises.c.id)

LOAD_ROWS = _text(_row.select_from(_joined).where(promises.c.id.in_(_each("ids"))), "ids")
LOAD_ROW = _text(_row.select_from(_joined).where(promises.c.id == _given("id")), "id")
LOAD_TWO_ROWS = _text(
    _row.select_from(_joined).where(promises.c.id.in_([_given("one"), _given("other")])), "one", "other"
)
_callbacks = sa.select(callbacks.c.awaited, callbacks.c.awaiter).order_by(
    callbacks.c.awaited, callbacks.c.awaiter
)
LOAD_CALLBACKS = _text(_callbacks.where(callbacks.c.awaited.in_(_each("ids"))), "ids")
LOAD_CALLBACKS_OF_ONE = _text(_callbacks.where(callbacks.c.awaited == _given("id")), "id")
"""A settlement is mostly of one: to take a list of it apart costs twice as much as to look."""
_listeners = sa.select(listeners.c.promise_id, listeners.c.address).order_by(
    listeners.c.promise_id, listeners.c.address
)
LOAD_LISTENERS = _text(_listeners.where(listeners.c.promise_id.in_(_each("ids"))), "ids")
LOAD_LISTENERS_OF_ONE = _text(_listeners.where(listeners.c.promise_id == _given("id")), "id")
LOAD_HELD = _text(
    _row.select_from(promises.join(tasks, tasks.c.id == promises.c.id)).where(
        tasks.c.pid.in_(_each("pids")), tasks.c.state == sa.literal_column("'acquired'")
    ),
    "pids",
)
LOAD_EMBEDDED = _text(
    _row.select_from(promises.join(tasks, tasks.c.id == promises.c.id))
    .where(
        tasks.c.state == sa.literal_column("'acquired'"),
        sa.text("tasks.state <> 'fulfilled'"),
        tasks.c.embedded == sa.literal_column("1"),
    )
    .limit(_given("limit"))
    .offset(_ZERO),
    "limit",
)


LOAD_DUE_PROMISES = _text(
    sa.select(promises.c.id)
    .where(promises.c.state == sa.literal_column("'pending'"), promises.c.timeout_at <= _given("now"))
    .order_by(promises.c.timeout_at)
    .limit(_given("limit"))
    .offset(_ZERO),
    "now",
    "limit",
)
LOAD_DUE_TASKS = _text(
    sa.select(tasks.c.id)
    .where(tasks.c.timer_at.is_not(None), tasks.c.timer_at <= _given("now"))
    .order_by(tasks.c.timer_at, tasks.c.id)
    .limit(_given("limit"))
    .offset(_ZERO),
    "now",
    "limit",
)
LOAD_TIMED = _text(
    sa.select(
        tasks.c.timer_at,
        tasks.c.id,
        sa.and_(tasks.c.state == sa.literal_column("'pending'"), outbox_executes.c.task_id.is_(None)),
        outbox_executes.c.queued_at,
    )
    .select_from(tasks.outerjoin(outbox_executes, outbox_executes.c.task_id == tasks.c.id))
    .where(
        tasks.c.timer_at.is_not(None),
        sa.tuple_(tasks.c.timer_at, tasks.c.id) > sa.tuple_(_given("timer_at"), _given("id")),
        tasks.c.timer_at <= _given("until"),
    )
    .order_by(tasks.c.timer_at, tasks.c.id)
    .limit(_given("limit"))
    .offset(_ZERO),
    "timer_at",
    "id",
    "until",
    "limit",
)
LOAD_PROMISE_DEADLINE = _text(
    sa.select(sa.func.min(promises.c.timeout_at)).where(promises.c.state == sa.literal_column("'pending'"))
)
LOAD_TASK_DEADLINE = _text(sa.select(sa.func.min(tasks.c.timer_at)).where(tasks.c.timer_at.is_not(None)))

LOAD_OPEN_BETWEEN = _text(
    sa.select(promises.c.id)
    # Else the planner may walk through all that has settled of a tree.
    .with_hint(promises, "INDEXED BY promises_open", "sqlite")
    .where(
        _OPEN_MEMBER,
        promises.c.id > _given("after"),
        promises.c.id < _given("before"),
    )
    .order_by(promises.c.id)
    .limit(_given("limit"))
    .offset(_ZERO),
    "after",
    "before",
    "limit",
)
_ending = [tree_endings.c[name] for name in ENDING_COLUMNS]
LOAD_ENDINGS = _text(sa.select(*_ending).where(tree_endings.c.id.in_(_each("ids"))), "ids")
LOAD_DUE_ENDINGS = _text(
    sa.select(tree_endings.c.id)
    .where(tree_endings.c.asked_at <= _given("now"))
    .order_by(tree_endings.c.asked_at, tree_endings.c.id)
    .limit(_given("limit"))
    .offset(_ZERO),
    "now",
    "limit",
)
LOAD_ENDING_DEADLINE = _text(sa.select(sa.func.min(tree_endings.c.asked_at)))

SEARCH_TASKS = _text(
    sa.select(*_task)
    .where(tasks.c.id > _given("cursor"))
    .order_by(tasks.c.id)
    .limit(_given("limit"))
    .offset(_ZERO),
    "cursor",
    "limit",
)
SEARCH_OPEN_TASKS = _text(
    sa.select(*_task)
    .where(
        tasks.c.state == _given("state"),
        sa.text("state <> 'fulfilled'"),
        tasks.c.id > _given("cursor"),
    )
    .order_by(tasks.c.id)
    .limit(_given("limit"))
    .offset(_ZERO),
    "state",
    "cursor",
    "limit",
)


_schedule = [schedules.c[name] for name in SCHEDULE_COLUMNS]
_running = sa.text("NOT paused")
LOAD_SCHEDULES = _text(sa.select(*_schedule).where(schedules.c.id.in_(_each("ids"))), "ids")
LOAD_DUE_SCHEDULES = _text(
    sa.select(schedules.c.id)
    .where(_running, schedules.c.next_run_at <= _given("now"))
    .order_by(schedules.c.next_run_at, schedules.c.id)
    .limit(_given("limit"))
    .offset(_ZERO),
    "now",
    "limit",
)
LOAD_SCHEDULE_DEADLINE = _text(sa.select(sa.func.min(schedules.c.next_run_at)).where(_running))
SEARCH_SCHEDULES = _text(
    sa.select(*_schedule)
    .where(schedules.c.id > _given("cursor"))
    .order_by(schedules.c.id)
    .limit(_given("limit"))
    .offset(_ZERO),
    "cursor",
    "limit",
)

_executes = (
    sa.select(
        outbox_executes.c.task_id,
        outbox_executes.c.version,
        outbox_executes.c.address,
        outbox_executes.c.poll_group,
        outbox_executes.c.queued_at,
    )
    .order_by(outbox_executes.c.task_id)
    .limit(_given("limit"))
    .offset(_ZERO)
)
_behind_task = outbox_executes.c.task_id > _given("after")
LOAD_GROUP_EXECUTES = _text(
    _executes.where(outbox_executes.c.poll_group == _given("group"), _behind_task),
    "group",
    "after",
    "limit",
)
LOAD_PUSH_EXECUTES = _text(
    _executes.where(outbox_executes.c.poll_group.is_(None), _behind_task), "after", "limit"
)
_unblocks = (
    sa.select(
        outbox_unblocks.c.promise_id,
        outbox_unblocks.c.address,
        outbox_unblocks.c.poll_group,
        outbox_unblocks.c.queued_at,
        *_promise,
    )
    .select_from(outbox_unblocks.join(promises, promises.c.id == outbox_unblocks.c.promise_id))
    .order_by(outbox_unblocks.c.promise_id, outbox_unblocks.c.address)
    .limit(_given("limit"))
    .offset(_ZERO)
)
_behind_unblock = sa.tuple_(outbox_unblocks.c.promise_id, outbox_unblocks.c.address) > sa.tuple_(
    _given("after_promise"), _given("after_address")
)
LOAD_GROUP_UNBLOCKS = _text(
    _unblocks.where(outbox_unblocks.c.poll_group == _given("group"), _behind_unblock),
    "group",
    "after_promise",
    "after_address",
    "limit",
)
LOAD_PUSH_UNBLOCKS = _text(
    _unblocks.where(outbox_unblocks.c.poll_group.is_(None), _behind_unblock),
    "after_promise",
    "after_address",
    "limit",
)


def _insert(table: sa.Table, columns: Sequence[str]) -> str:
    names = list(columns)
    places = ", ".join("?" * len(names))
    return f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({places})"  # noqa: S608  # our own names


def _upsert(table: sa.Table, columns: Sequence[str]) -> str:
    keys = [column.name for column in table.primary_key]
    changed = ", ".join(f"{name} = excluded.{name}" for name in columns if name not in keys)
    action = f"UPDATE SET {changed}" if changed else "NOTHING"
    return f"{_insert(table, columns)} ON CONFLICT ({', '.join(keys)}) DO {action}"


INSERT_PROMISE = _insert(promises, PROMISE_ALL_COLUMNS)
SETTLE_PROMISE = _text(
    sa.update(promises)
    .values(
        state=_given("b_state"),
        value_headers=_given("b_headers"),
        value_data=_given("b_data"),
        settled_at=_given("b_settled_at"),
    )
    .where(promises.c.id == _given("b_id")),
    "b_state",
    "b_headers",
    "b_data",
    "b_settled_at",
    "b_id",
)
PUT_TASK = _upsert(tasks, TASK_COLUMNS)
PUT_CALLBACK = _upsert(callbacks, ("awaited", "awaiter"))
PUT_LISTENER = _upsert(listeners, ("promise_id", "address"))
PUT_EXECUTE = _upsert(outbox_executes, ("task_id", "version", "address", "poll_group", "queued_at"))
PUT_UNBLOCK = _upsert(outbox_unblocks, ("promise_id", "address", "poll_group", "queued_at"))
REMOVE_CALLBACKS_OF_AWAITED = _text(sa.delete(callbacks).where(callbacks.c.awaited == _given("id")), "id")
REMOVE_CALLBACKS_OF_AWAITER = _text(sa.delete(callbacks).where(callbacks.c.awaiter == _given("id")), "id")
REMOVE_LISTENERS = _text(sa.delete(listeners).where(listeners.c.promise_id == _given("id")), "id")
REMOVE_EXECUTE = _text(sa.delete(outbox_executes).where(outbox_executes.c.task_id == _given("id")), "id")
REMOVE_EXECUTE_SENT = _text(
    sa.delete(outbox_executes).where(
        outbox_executes.c.task_id == _given("id"), outbox_executes.c.queued_at <= _given("sent_at")
    ),
    "id",
    "sent_at",
)
REMOVE_UNBLOCK = _text(
    sa.delete(outbox_unblocks).where(
        outbox_unblocks.c.promise_id == _given("id"), outbox_unblocks.c.address == _given("address")
    ),
    "id",
    "address",
)
REMOVE_UNBLOCKS_BEFORE = _text(
    sa.delete(outbox_unblocks).where(outbox_unblocks.c.queued_at < _given("before")), "before"
)
REMOVE_PROMISE = _text(sa.delete(promises).where(promises.c.id == _given("id")), "id")
REMOVE_TASK = _text(sa.delete(tasks).where(tasks.c.id == _given("id")), "id")
REMOVE_NEWS = _text(sa.delete(outbox_unblocks).where(outbox_unblocks.c.promise_id == _given("id")), "id")
PUT_ENDING = _upsert(tree_endings, ENDING_COLUMNS)
REMOVE_ENDING = _text(sa.delete(tree_endings).where(tree_endings.c.id == _given("id")), "id")
PUT_SCHEDULE = _upsert(schedules, SCHEDULE_COLUMNS)
REMOVE_SCHEDULE = _text(sa.delete(schedules).where(schedules.c.id == _given("id")), "id")
