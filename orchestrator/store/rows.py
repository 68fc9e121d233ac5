"""Rows of the SQL stores and the values they stand for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from orchestrator.domain import tags as tag
from orchestrator.domain.ending import EndingKind, TreeEnding
from orchestrator.domain.promise import EMPTY, PromiseRecord, PromiseState, Value
from orchestrator.domain.schedule import CatchUp, Schedule
from orchestrator.domain.task import Task, TaskState
from orchestrator.store.trees import MemberPage, TreeMember

_encode_json = msgspec.json.Encoder(order="deterministic").encode
_decode_headers = msgspec.json.Decoder(dict[str, str]).decode
_decode_ids = msgspec.json.Decoder(tuple[str, ...]).decode
_PROMISE_STATES = {str(state): state for state in PromiseState}
_TASK_STATES = {str(state): state for state in TaskState}

_INDEXED = (tag.ORIGIN, tag.BRANCH, tag.PARENT, tag.SCHEDULE, tag.TARGET)
_UNTAGGED: tuple[str, str | None, str | None, str | None, str | None, str | None]
_UNTAGGED = ("{}", None, None, None, None, None)

PROMISE_COLUMNS = (
    "id",
    "state",
    "param_headers",
    "param_data",
    "value_headers",
    "value_data",
    "tags",
    "timeout_at",
    "created_at",
    "settled_at",
)
"""The columns of a promise's record, in the order that `promise_of` reads."""
PROMISE_ALL_COLUMNS = (*PROMISE_COLUMNS, "origin", "branch", "parent", "schedule", "target")
"""All columns of a promise, in the order of `promise_row`.

`origin` and `parent` are empty where `branch` says the same, as it does for the steps of a root: the entries
of their indexes would cost as much as all else that is written of a step.
"""
TASK_COLUMNS = (
    "id",
    "state",
    "version",
    "target",
    "resumes",
    "releases",
    "pid",
    "ttl_ms",
    "embedded",
    "timer_at",
    "cancelled",
    "touched_at",
    "attempts",
    "left_behind",
)
"""The columns of a task, in the order that `task_of` reads."""
ENDING_COLUMNS = ("id", "kind", "asked_at", "after_id")
"""The columns of a request to end a tree, in the order that `ending_of` reads."""
SCHEDULE_COLUMNS = (
    "id",
    "cron",
    "promise_id",
    "promise_timeout",
    "param_headers",
    "param_data",
    "tags",
    "created_at",
    "next_run_at",
    "last_run_at",
    "time_zone",
    "catch_up",
    "paused",
)
"""The columns of a schedule, in the order that `schedule_of` reads."""


def ids_text(ids: Sequence[str]) -> str:
    """Return the JSON array that stands for a list of ids in a statement."""
    return _encode_json(ids).decode()


def _value(headers: str | None, data: str | None) -> Value:
    if headers is None and data is None:
        return EMPTY
    return Value(headers=None if headers is None else _decode_headers(headers), data=data)


def promise_of(row: Sequence[Any]) -> PromiseRecord:
    """Return the promise that stands in the first columns of a row."""
    return PromiseRecord(
        id=row[0],
        state=_PROMISE_STATES[row[1]],
        param=_value(row[2], row[3]),
        value=_value(row[4], row[5]),
        tags=_decode_headers(row[6]),
        timeout_at=row[7],
        created_at=row[8],
        settled_at=row[9],
    )


def member_page_of(
    by_origin: Sequence[Sequence[Any]], *others: Sequence[Sequence[Any]], limit: int
) -> MemberPage:
    """Merge members found in several ways, at most `limit` by each, into a page in order of (origin, id).

    Rows are origin, id, settled_at, value_headers and tags. With the branch in the place of the origin where
    they were found by `others`: of these only those count that name their branch as their origin.
    """
    ends = [(rows[-1][0], rows[-1][1]) for rows in (by_origin, *others) if len(rows) == limit]
    after = min(ends, default=None)
    members = [_tree_member_of(row) for row in by_origin]
    for rows in others:
        members += [each for each in map(_tree_member_of, rows) if each.tags.get(tag.ORIGIN) == each.origin]
    # One that was written before such columns were left empty is found by both.
    found = {(each.origin, each.id): each for each in members}
    return MemberPage(
        members=[found[key] for key in sorted(found) if after is None or key <= after], after=after
    )


def _tree_member_of(row: Sequence[Any]) -> TreeMember:
    return TreeMember(
        origin=row[0],
        id=row[1],
        settled_at=row[2],
        value_headers=None if row[3] is None else _decode_headers(row[3]),
        tags=_decode_headers(row[4]),
    )


def task_of(row: Sequence[Any]) -> Task | None:
    """Return the task that stands in the columns of a row, or None where they are empty."""
    if row[0] is None:
        return None
    return Task(
        id=row[0],
        state=_TASK_STATES[row[1]],
        version=row[2],
        target=row[3],
        resumes=row[4],
        releases=row[5],
        pid=row[6],
        ttl_ms=row[7],
        embedded=bool(row[8]),
        timer_at=row[9],
        cancelled=bool(row[10]),
        touched_at=row[11],
        attempts=row[12],
        left_behind=() if row[13] is None else _decode_ids(row[13]),
    )


def task_row(task: Task) -> tuple[object, ...]:
    """Return the columns of a task, in the order of TASK_COLUMNS."""
    return (
        task.id,
        str(task.state),
        task.version,
        task.target,
        task.resumes,
        task.releases,
        task.pid,
        task.ttl_ms,
        task.embedded,
        task.timer_at,
        task.cancelled,
        task.touched_at,
        task.attempts,
        ids_text(task.left_behind) if task.left_behind else None,
    )


def ending_of(row: Sequence[Any]) -> TreeEnding:
    """Return the request to end a tree that stands in a row."""
    return TreeEnding(id=row[0], kind=EndingKind(row[1]), asked_at=row[2], after=row[3])


def ending_row(ending: TreeEnding) -> tuple[object, ...]:
    """Return the columns of a request to end a tree, in the order of ENDING_COLUMNS."""
    return ending.id, ending.kind.value, ending.asked_at, ending.after


def _headers_text(value: Value) -> str | None:
    return None if value.headers is None else _encode_json(value.headers).decode()


def promise_row(promise: PromiseRecord, *, by_id: bool = False) -> tuple[object, ...]:
    """Return the columns of a new promise, in the order of PROMISE_ALL_COLUMNS.

    With `by_id` its branch stays empty: it is found by its id.
    """
    tags, param, value = promise.tags, promise.param, promise.value
    text, origin, branch, parent, schedule, target = _UNTAGGED
    if tags:
        text = _encode_json(tags).decode()
        origin, branch, parent, schedule, target = map(tags.get, _INDEXED)
    return (
        promise.id,
        str(promise.state),
        None if param.headers is None else _headers_text(param),
        param.data,
        None if value.headers is None else _headers_text(value),
        value.data,
        text,
        promise.timeout_at,
        promise.created_at,
        promise.settled_at,
        None if origin == branch else origin,
        None if by_id else branch,
        None if parent == branch else parent,
        schedule,
        target,
    )


def settled_row(promise: PromiseRecord) -> tuple[object, ...]:
    """Return what settling a promise changes: state, value, settled_at; then its id."""
    return (
        str(promise.state),
        _headers_text(promise.value),
        promise.value.data,
        promise.settled_at,
        promise.id,
    )


def schedule_of(row: Sequence[Any]) -> Schedule:
    """Return the schedule that stands in the columns of a row."""
    return Schedule(
        id=row[0],
        cron=row[1],
        promise_id=row[2],
        promise_timeout=row[3],
        promise_param=_value(row[4], row[5]),
        promise_tags=_decode_headers(row[6]),
        created_at=row[7],
        next_run_at=row[8],
        last_run_at=row[9],
        time_zone=row[10],
        catch_up=CatchUp(row[11]),
        paused=bool(row[12]),
    )


def schedule_row(schedule: Schedule) -> tuple[object, ...]:
    """Return the columns of a schedule, in the order of SCHEDULE_COLUMNS."""
    return (
        schedule.id,
        schedule.cron,
        schedule.promise_id,
        schedule.promise_timeout,
        _headers_text(schedule.promise_param),
        schedule.promise_param.data,
        _encode_json(schedule.promise_tags).decode(),
        schedule.created_at,
        schedule.next_run_at,
        schedule.last_run_at,
        schedule.time_zone,
        schedule.catch_up.value,
        schedule.paused,
    )
