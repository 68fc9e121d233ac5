"""Time's part: deadlines, ended leases and dispatches that are due, in bounded pages.

The loop sleeps until the next moment at which anything in the store falls due. That moment is kept in
memory and lowered by each commit, so that an engine in which nothing is due asks its store nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from orchestrator.engine.batch import TickResult, recover_program, tick_program
from orchestrator.engine.faults import trace_of
from orchestrator.engine.outgoing import Outgoing
from orchestrator.engine.parts import Parts
from orchestrator.engine.unheard import Listening
from orchestrator.store.port import Program
from orchestrator.store.sharing import SharedStore

_log = structlog.get_logger(__name__)
FAILURE_PAUSE_S = 1.0


class Ticker:
    """Runs ticks when they are due."""

    def __init__(self, parts: Parts, deliver: Callable[[list[Outgoing]], None]) -> None:
        self._store = parts.store
        self._clock = parts.clock
        self._settings = parts.settings
        self._statistics = parts.statistics
        # Where others use the store, too, somebody may listen there.
        shared = isinstance(parts.store, SharedStore)
        self._listening = Listening(here=parts.switchboard.has_members, elsewhere=shared)
        self._deliver = deliver
        self._tell_cancelled = parts.switchboard.tell_cancelled
        self._deadline: int | None = None
        self._lowered = asyncio.Event()
        self._free = asyncio.Event()
        self._free.set()

    def hold(self) -> None:
        """Let no time pass by itself."""
        self._free.clear()

    def go_on(self) -> None:
        """Let time pass again, and look at once what is due."""
        self.lower(0)
        self._free.set()

    def lower(self, deadline: int | None) -> None:
        """Tick at `deadline` (Unix milliseconds) if nothing is due earlier."""
        if deadline is not None and (self._deadline is None or deadline < self._deadline):
            self._deadline = deadline
            self._lowered.set()

    async def tick(self, at_ms: int | None = None) -> None:
        """Carry out everything that is due now, or at another moment (Unix milliseconds).

        Raises StoreError.
        """
        more = True
        while more:
            # Forgotten before the transaction: what it does not see was committed later, and lowers again.
            known, self._deadline = self._deadline, None
            try:
                result = await self._run_page(at_ms)
            except BaseException:
                self.lower(known)
                raise
            self._statistics.ticks += 1
            self._statistics.scheduled += result.runs
            self._statistics.count_dead(result.dead)
            self.lower(result.deadline)
            self._deliver(result.outgoing)
            self._tell_cancelled(result.cancelled)
            more = result.more

    async def _run_page(self, at_ms: int | None) -> TickResult:
        def make_program(now_ms: int) -> Program[TickResult]:
            return tick_program(now_ms if at_ms is None else at_ms, self._settings, self._listening)

        return await self._store.run(make_program, self._clock.now_ms())

    async def recover(self) -> None:
        """Release the leases whose holders lived in the engine's former process. Raises StoreError."""
        more = True
        while more:
            now_ms = self._clock.now_ms()
            result = await self._store.run(lambda now: recover_program(now, self._settings), now_ms)
            self._statistics.count_dead(result.dead)
            self._deliver(result.outgoing)
            more = result.more

    async def run(self) -> None:
        """Tick whenever something is due, until cancelled."""
        while True:
            await self._free.wait()
            try:
                await self.tick()
            except Exception as error:  # time must go on, whatever one tick met
                _log.error("tick failed", trace=trace_of(error))
                await asyncio.sleep(FAILURE_PAUSE_S)
                continue
            await self._sleep()

    async def _sleep(self) -> None:
        while True:
            self._lowered.clear()
            deadline = self._deadline
            if deadline is None:
                await self._lowered.wait()
                continue
            sleeping = asyncio.ensure_future(self._clock.sleep_until(deadline))
            lowered = asyncio.ensure_future(self._lowered.wait())
            try:
                await asyncio.wait({sleeping, lowered}, return_when=asyncio.FIRST_COMPLETED)
                if sleeping.done():
                    return
            finally:
                sleeping.cancel()
                lowered.cancel()
