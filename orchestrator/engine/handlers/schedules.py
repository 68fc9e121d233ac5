"""The operations on schedules, and their runs, each decided over the workspace."""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.domain.cron import InvalidCron
from orchestrator.domain.errors import Refused
from orchestrator.domain.promise import PromiseRecord
from orchestrator.domain.schedule import NEVER_MS, Schedule, run_of, runs_due
from orchestrator.engine.handlers.promises import add_promise
from orchestrator.engine.workspace import Workspace
from orchestrator.protocol import commands as c
from orchestrator.protocol import schedules as s

SCHEDULE_NOT_FOUND = "Schedule not found"


def get(workspace: Workspace, command: s.ScheduleGet) -> s.ScheduleAnswer:
    """schedule.get."""
    return s.ScheduleAnswer(schedule=_existing(workspace, command.id))


def create(workspace: Workspace, command: s.ScheduleCreate) -> s.ScheduleAnswer:
    """schedule.create: its first run is the first moment after now."""
    found = workspace.schedule(command.id)
    if found is not None:
        return s.ScheduleAnswer(schedule=found)
    schedule = Schedule(
        id=command.id,
        cron=command.cron,
        promise_id=command.promise_id,
        promise_timeout=command.promise_timeout,
        promise_param=command.promise_param,
        promise_tags=command.promise_tags,
        created_at=workspace.now_ms,
        next_run_at=workspace.now_ms,
        time_zone=command.time_zone,
        catch_up=command.catch_up,
    ).starting(workspace.now_ms)
    if schedule.next_run_at == NEVER_MS:
        raise Refused(400, f"Invalid cron line {command.cron!r}: it never falls due again")
    workspace.put_schedule(schedule)
    return s.ScheduleAnswer(schedule=schedule)


def delete(workspace: Workspace, command: s.ScheduleDelete) -> c.Empty:
    """schedule.delete."""
    workspace.remove_schedule(_existing(workspace, command.id).id)
    return c.Empty()


def pause(workspace: Workspace, command: s.SchedulePause) -> s.ScheduleAnswer:
    """schedule.pause (extension)."""
    return _changed(workspace, _existing(workspace, command.id).resting())


def resume(workspace: Workspace, command: s.ScheduleResume) -> s.ScheduleAnswer:
    """schedule.resume (extension)."""
    schedule = _existing(workspace, command.id)
    try:
        return _changed(workspace, schedule.resumed(workspace.now_ms))
    except InvalidCron as error:
        raise Refused(400, f"{schedule.id!r} cannot run here: {error}") from error


def _changed(workspace: Workspace, schedule: Schedule) -> s.ScheduleAnswer:
    workspace.put_schedule(schedule)
    return s.ScheduleAnswer(schedule=schedule)


def _existing(workspace: Workspace, schedule_id: str) -> Schedule:
    schedule = workspace.schedule(schedule_id)
    if schedule is None:
        raise Refused(404, SCHEDULE_NOT_FOUND)
    return schedule


def advance(workspace: Workspace, ids: Iterable[str], limit: int) -> list[PromiseRecord]:
    """Move the schedules that are due past their runs, and return the promises of these.

    At most `limit` of them, shared out evenly: one that has missed a million runs must not keep the others
    waiting. One whose time zone is unknown to this machine is paused: it must not stop everybody's time. The
    promises are to be loaded, then given to `run`.
    """
    schedules = (workspace.schedule(key) for key in ids)
    due = [schedule for schedule in schedules if schedule is not None and schedule.due(workspace.now_ms)]
    runs: list[PromiseRecord] = []
    for schedule in due:
        share = max(limit // len(due), 1)
        try:
            moments, after = runs_due(schedule, workspace.now_ms, workspace.settings.schedule_grace_ms, share)
        except InvalidCron:
            moments, after = [], schedule.resting()
        workspace.put_schedule(after)
        runs += [run_of(schedule, moment, workspace.now_ms) for moment in moments]
    return runs


def run(workspace: Workspace, promises: Iterable[PromiseRecord]) -> int:
    """Create the promises that do not exist yet, and return how many (R1)."""
    created = 0
    for promise in promises:
        if workspace.promise(promise.id) is None:
            add_promise(workspace, promise)
            created += 1
    return created
