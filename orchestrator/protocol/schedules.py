"""The operations on schedules. Times are Unix milliseconds, the promise's timeout is relative.

`time_zone`, `catch_up`, `schedule.pause` and `schedule.resume` are not part of the published protocol: the
extension `schedule-options` announces them.
"""

from __future__ import annotations

import msgspec

from orchestrator.domain.schedule import UTC, CatchUp, Schedule
from orchestrator.protocol.operations import Answer, Command, Empty
from orchestrator.protocol.records import Value


class ScheduleAnswer(Answer, frozen=True):
    """One schedule."""

    schedule: Schedule


class SchedulePage(Answer, frozen=True):
    """A page of schedules in order of id; `cursor` is absent on the last one."""

    schedules: list[Schedule]
    cursor: str | None = None


class ScheduleGet(Command[ScheduleAnswer], frozen=True):
    """Read a schedule. 404 if there is none."""

    KIND = "schedule.get"
    id: str


class ScheduleCreate(Command[ScheduleAnswer], frozen=True):
    """Create a schedule unless its id exists; the existing record is answered untouched.

    `cron` has 5 to 7 fields; `promise_id` is a template with `{{.id}}` and `{{.timestamp}}`;
    `promise_tags` must include `resonate:target`.
    """

    KIND = "schedule.create"
    id: str
    cron: str
    promise_id: str
    promise_timeout: int
    promise_param: Value = Value()
    promise_tags: dict[str, str] = msgspec.field(default_factory=dict)
    time_zone: str = UTC
    catch_up: CatchUp = CatchUp.ALL


class ScheduleDelete(Command[Empty], frozen=True):
    """Delete a schedule; the promises that it has created stay. 404 if there is none."""

    KIND = "schedule.delete"
    id: str


class ScheduleSearch(Command[SchedulePage], frozen=True):
    """List schedules by exact promise tags; `limit` 1 to 1000, `cursor` from the page before."""

    KIND = "schedule.search"
    tags: dict[str, str] = msgspec.field(default_factory=dict)
    limit: int = 10
    cursor: str | None = None


class SchedulePause(Command[ScheduleAnswer], frozen=True):
    """Let a schedule rest until it is resumed. 404 if there is none."""

    KIND = "schedule.pause"
    id: str


class ScheduleResume(Command[ScheduleAnswer], frozen=True):
    """Let a paused schedule run again, from its next moment on. 404 if there is none."""

    KIND = "schedule.resume"
    id: str
