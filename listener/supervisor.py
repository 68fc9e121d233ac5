"""Several sources in one process, each of them on its own.

A source that fails parks itself, visibly, and is tried again with growing pauses; one that meets an incident
stops until an operator has decided; the others go on in either case. What an operator decides is read from
the store, so that it reaches a running process as well as the next one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import structlog

from contracts.rpc import Node, RpcError
from listener.backoff import Backoff, pause
from listener.errors import ListenerError
from listener.incidents import Incident, report_of
from listener.progress import Progress, ProgressCallback
from listener.service import Listener
from listener.settings import ListenerSettings
from listener.store import CursorStore
from orchestrator.domain.errors import Unavailable

PARKED_S_MIN = 1.0
PARKED_S_MAX = 300.0
DECISION_POLL_S = 2.0
_log = structlog.get_logger("listener")


class Phase(StrEnum):
    """What a source is doing."""

    STARTING = "starting"
    RUNNING = "running"
    PARKED = "parked"
    """It failed, and is tried again by itself."""
    STOPPED = "stopped"
    """It waits for an operator's decision about an incident."""


@dataclass(slots=True, kw_only=True)
class SourceStatus:
    """What is known of one source: its settings, what it is doing and why, and how far it has come."""

    settings: ListenerSettings
    phase: Phase = Phase.STARTING
    reason: str | None = None
    progress: Progress | None = None
    incidents: list[Incident] = field(default_factory=list)
    parked: int = 0

    @property
    def name(self) -> str:
        """The source's name, or its contract's address."""
        return self.settings.name or self.settings.dao


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldSource:
    """A source and how it is opened: `open` returns its node, and `listener` makes a listener on it.

    `open` may fail, and is then asked again; what it has opened it closes at its owner's end.
    """

    settings: ListenerSettings
    open: Callable[[], Awaitable[Node]]
    listener: Callable[[Node, ProgressCallback], Listener]


class Listeners:
    """Holds the listeners of some sources. The caller owns `store`.

    With `strict` a source that fails before its first cycle raises what was wrong: for a process with one
    source, whose operator has just mistyped something. `pauses` makes the pauses of a parked source.
    """

    def __init__(
        self,
        sources: Sequence[HeldSource],
        store: CursorStore,
        *,
        strict: bool = False,
        pauses: Callable[[], Backoff] = lambda: Backoff(minimum_s=PARKED_S_MIN, maximum_s=PARKED_S_MAX),
        on_progress: ProgressCallback = lambda _progress: None,
        decision_poll_s: float = DECISION_POLL_S,
    ) -> None:
        self._sources = list(sources)
        self._store = store
        self._strict = strict
        self._pauses = pauses
        self._on_progress = on_progress
        self._decision_poll_s = decision_poll_s
        self.statuses = [SourceStatus(settings=each.settings) for each in self._sources]

    @property
    def ready(self) -> bool:
        """Whether every source is doing its work."""
        return all(each.phase is Phase.RUNNING for each in self.statuses)

    async def run(self, stop: asyncio.Event) -> None:
        """Hold all sources until `stop` is set. Raises only what `strict` lets through."""
        try:
            async with asyncio.TaskGroup() as group:
                for source, status in zip(self._sources, self.statuses, strict=True):
                    group.create_task(self._hold(source, status, stop))
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from failures.exceptions[0].__cause__

    async def _hold(self, source: HeldSource, status: SourceStatus, stop: asyncio.Event) -> None:
        pauses = self._pauses()
        while not stop.is_set():
            done = status.progress
            try:
                await self._decided(status, stop)
                if stop.is_set():
                    return
                await self._listen(source, status, stop)
                return
            except (ListenerError, RpcError, Unavailable) as error:
                if await self._incident(error, status):
                    continue
                if self._strict and status.progress is None:
                    raise
                reason = str(error)
            except Exception as error:
                # A fault in one source's reading must not end the others; it is told with its place.
                _log.exception("source_failed", source=status.name, chain_id=status.settings.chain_id)
                reason = f"{type(error).__name__}: {error}"
            if status.progress is not done:
                pauses.reset()
            self._park(status, reason)
            await pause(stop, pauses.next_s())

    async def _listen(self, source: HeldSource, status: SourceStatus, stop: asyncio.Event) -> None:
        def note(progress: Progress) -> None:
            if status.phase is not Phase.RUNNING:
                _log.info("source_runs", source=status.name, chain_id=status.settings.chain_id)
            status.phase, status.reason, status.progress = Phase.RUNNING, None, progress
            self._on_progress(progress)

        listener = source.listener(await source.open(), note)
        await listener.run(stop)

    def _park(self, status: SourceStatus, reason: str) -> None:
        status.phase, status.reason, status.parked = Phase.PARKED, reason, status.parked + 1
        _log.error("source_parked", source=status.name, chain_id=status.settings.chain_id, reason=reason)

    async def _incident(self, error: Exception, status: SourceStatus) -> bool:
        """Record an incident if the error is one."""
        report = report_of(error) if isinstance(error, ListenerError) else None
        if report is None:
            return False
        incident = await self._store.open_incident(
            status.settings.source, report, time.time_ns() // 1_000_000
        )
        _log.error(
            "source_stopped",
            source=status.name,
            chain_id=status.settings.chain_id,
            incident=incident.id,
            kind=report.kind,
            reason=report.detail,
        )
        return True

    async def _decided(self, status: SourceStatus, stop: asyncio.Event) -> None:
        """Wait until no incident of the source is open."""
        while not stop.is_set():
            status.incidents = await self._store.incidents(status.settings.source)
            if not status.incidents:
                if status.phase is Phase.STOPPED:
                    status.phase = Phase.STARTING
                    _log.warning("source_goes_on", source=status.name, chain_id=status.settings.chain_id)
                return
            status.phase, status.reason = Phase.STOPPED, status.incidents[0].report.detail
            await pause(stop, self._decision_poll_s)
