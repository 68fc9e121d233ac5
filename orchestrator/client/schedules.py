"""Schedules: functions that an engine invokes again and again, by a cron line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orchestrator.client.invocation import invocation_value
from orchestrator.client.options import NO_DEADLINE_MS, CallOptions
from orchestrator.client.registry import Function, Registry
from orchestrator.client.surroundings import Surroundings
from orchestrator.domain import tags as tag
from orchestrator.domain.errors import NotRegistered, OrchestratorError
from orchestrator.domain.ids import fault_of_root_id
from orchestrator.domain.schedule import UTC, CatchUp, Schedule
from orchestrator.protocol import schedules as s
from orchestrator.protocol.commands import EXTENSION_SCHEDULE_OPTIONS

RUN_ID = "{{.id}}-{{.timestamp}}"
"""The id of a run's promise: that of its schedule, and its moment in Unix milliseconds."""


class NotOffered(OrchestratorError):
    """The engine does not know what was asked for; it is no part of the published protocol."""


class Schedules:
    """The schedules of an engine. Every method raises Refused (404 for an unknown id) and Unavailable."""

    def __init__(self, around: Surroundings, registry: Registry) -> None:
        self._around = around
        self._registry = registry

    async def create(
        self,
        schedule_id: str,
        cron: str,
        fn: Function | str,
        *,
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
        target: str | None = None,
        version: int | None = None,
        timeout_s: float | None = None,
        tags: Mapping[str, str] | None = None,
        time_zone: str = UTC,
        catch_up: CatchUp = CatchUp.ALL,
    ) -> Schedule:
        """Have a function invoked at every moment of a cron line, or return the schedule that exists.

        `cron` has five fields, six with seconds before them, seven with years behind them, and goes by the
        wall clock of `time_zone` (an IANA name). `target` is a group or a delivery address, by default this
        application's group; `timeout_s` counts seconds from a run's moment. `catch_up` says which runs are
        made up after the engine was away. Raises ValueError for an id that cannot be one, EncodingError for
        an argument, NotOffered where the engine knows no time zones or catch-up.
        """
        fault = fault_of_root_id(schedule_id)
        if fault is not None:
            raise ValueError(fault)
        if time_zone != UTC or catch_up is not CatchUp.ALL:
            self._need_options()
        options = CallOptions(target=target, timeout_s=timeout_s)
        name, number = self._named(fn, version)
        command = s.ScheduleCreate(
            id=schedule_id,
            cron=cron,
            promise_id=RUN_ID,
            promise_timeout=options.deadline_ms(0, NO_DEADLINE_MS),
            promise_param=invocation_value(name, number, args, kwargs or {}),
            promise_tags={
                **(tags or {}),
                tag.SCOPE: tag.SCOPE_GLOBAL,
                tag.TARGET: options.address(self._around.group),
            },
            time_zone=time_zone,
            catch_up=catch_up,
        )
        return (await self._around.transport.call(command)).schedule

    async def get(self, schedule_id: str) -> Schedule:
        """Return a schedule."""
        return (await self._around.transport.call(s.ScheduleGet(id=schedule_id))).schedule

    async def delete(self, schedule_id: str) -> None:
        """Delete a schedule; the promises of its runs stay."""
        await self._around.transport.call(s.ScheduleDelete(id=schedule_id))

    async def search(
        self, *, tags: Mapping[str, str] | None = None, limit: int = 10, cursor: str | None = None
    ) -> s.SchedulePage:
        """Return a page of schedules in order of id: up to `limit` (1 to 1000) after `cursor`."""
        return await self._around.transport.call(
            s.ScheduleSearch(tags=dict(tags or {}), limit=limit, cursor=cursor)
        )

    async def pause(self, schedule_id: str) -> Schedule:
        """Let a schedule rest. Raises NotOffered where the engine cannot."""
        self._need_options()
        return (await self._around.transport.call(s.SchedulePause(id=schedule_id))).schedule

    async def resume(self, schedule_id: str) -> Schedule:
        """Let a schedule run again, from its next moment on. Raises NotOffered where the engine cannot."""
        self._need_options()
        return (await self._around.transport.call(s.ScheduleResume(id=schedule_id))).schedule

    def _need_options(self) -> None:
        if EXTENSION_SCHEDULE_OPTIONS not in self._around.extensions:
            raise NotOffered(
                "this engine knows no time zones, catch-up or pauses of schedules: leave them out, or "
                "use one that announces 'schedule-options'"
            )

    def _named(self, fn: Function | str, version: int | None) -> tuple[str, int]:
        if isinstance(fn, str):
            return fn, version or 1
        try:
            function = self._registry.of(fn, version)
        except NotRegistered:
            function = self._registry.of_any(fn)
        return function.name, function.version if version is None else version
