"""The schedule: a promise to be created again and again, by a cron line.

Invariants: R1 a run's promise follows from the schedule and its moment alone, so that a run that is repeated
creates nothing. R2 `next_run_at` only rises. R3 a paused schedule never runs. Pure.
"""

from __future__ import annotations

import re
from enum import StrEnum
from itertools import chain, islice, takewhile

import msgspec

from orchestrator.domain import tags as tag
from orchestrator.domain.cron import parse_cron
from orchestrator.domain.promise import EMPTY, PromiseRecord, PromiseState, Value
from orchestrator.domain.transitions import expire

NEVER_MS = 2**53 - 1
"""The `nextRunAt` of a schedule whose years are over: the largest integer that every client can read."""
UTC = "UTC"
RUN_TAGS = (tag.SCHEDULE, tag.ORIGIN, tag.BRANCH, tag.PARENT, tag.PREFIX)
"""The tags that every run gets; those of the schedule give way to them."""
_PLACES = re.compile(r"\{\{\.(id|timestamp)\}\}")


class CatchUp(StrEnum):
    """Which of the runs are made up that nobody carried out when they were due.

    `LAST` is the newest of them, however old; `NONE` is the newest, unless it is older than the engine's
    grace.
    """

    ALL = "all"
    LAST = "last"
    NONE = "none"


class Schedule(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A schedule as every reader sees it. Times are Unix milliseconds, `promise_timeout` is relative.

    `time_zone`, `catch_up` and `paused` are extensions, and left out while they are as the protocol has it.
    """

    id: str
    cron: str
    promise_id: str
    promise_timeout: int
    promise_param: Value
    promise_tags: dict[str, str]
    created_at: int
    next_run_at: int
    last_run_at: int | None = None
    time_zone: str = UTC
    catch_up: CatchUp = CatchUp.ALL
    paused: bool = False

    def __post_init__(self) -> None:
        """Take the default's very object: another text that reads the same would not be left out."""
        if self.time_zone == UTC:
            msgspec.structs.force_setattr(self, "time_zone", UTC)

    def due(self, now_ms: int) -> bool:
        """Tell whether a run has fallen due (R3)."""
        return not self.paused and self.next_run_at <= now_ms

    def following(self, moment_ms: int) -> int:
        """Return when the next run after `moment_ms` falls due, NEVER_MS if there is none."""
        moment = parse_cron(self.cron, self.time_zone).next_ms(moment_ms)
        return NEVER_MS if moment is None else moment

    def starting(self, now_ms: int) -> Schedule:
        """Return this schedule so that its next run is the first after `now_ms`."""
        return msgspec.structs.replace(self, next_run_at=self.following(now_ms))

    def resting(self) -> Schedule:
        """Return this schedule so that it does not run."""
        return msgspec.structs.replace(self, paused=True)

    def resumed(self, now_ms: int) -> Schedule:
        """Return this schedule so that it runs again; what fell due meanwhile is not made up."""
        if not self.paused:
            return self
        next_run_at = max(self.next_run_at, self.following(now_ms))
        return msgspec.structs.replace(self, paused=False, next_run_at=next_run_at)


def promise_id_of(template: str, schedule_id: str, moment_ms: int) -> str:
    """Return the id of the promise of a run: the template with `{{.id}}` and `{{.timestamp}}` filled in."""
    values = {"id": schedule_id, "timestamp": str(moment_ms)}
    # In one pass, so that an id that looks like a place is not filled in itself.
    return _PLACES.sub(lambda place: values[place[1]], template)


def runs_due(schedule: Schedule, now_ms: int, grace_ms: int, limit: int) -> tuple[list[int], Schedule]:
    """Return the moments of a schedule that is due, at most `limit`, and the schedule after them (R2).

    `grace_ms` is how late a run may be where nothing is caught up. The schedule is still due where more
    than `limit` runs were missed.
    """
    cron = parse_cron(schedule.cron, schedule.time_zone)
    first = schedule.next_run_at
    if schedule.catch_up is CatchUp.ALL:
        due = takewhile(lambda moment: moment <= now_ms, chain((first,), cron.moments_ms(first)))
        moments = list(islice(due, limit))
        newest = moments[-1]
    else:
        newest = cron.last_ms(first, now_ms) or first
        recent = schedule.catch_up is CatchUp.LAST or newest >= now_ms - grace_ms
        moments = [newest] if recent else []
    return moments, msgspec.structs.replace(
        schedule,
        next_run_at=schedule.following(newest),
        last_run_at=newest if moments else schedule.last_run_at,
    )


def run_of(schedule: Schedule, moment_ms: int, now_ms: int) -> PromiseRecord:
    """Return the promise of a run (R1); one whose deadline has passed is settled from the start (P3)."""
    promise_id = promise_id_of(schedule.promise_id, schedule.id, moment_ms)
    lineage = dict.fromkeys(RUN_TAGS, promise_id)
    promise = PromiseRecord(
        id=promise_id,
        state=PromiseState.PENDING,
        param=schedule.promise_param,
        value=EMPTY,
        tags={**schedule.promise_tags, **lineage, tag.SCHEDULE: schedule.id},
        # Never beyond what every client can read, unless its own time-out is.
        timeout_at=min(moment_ms + schedule.promise_timeout, max(NEVER_MS, schedule.promise_timeout)),
        created_at=moment_ms,
    )
    return expire(promise) if promise.expired(now_ms) else promise
