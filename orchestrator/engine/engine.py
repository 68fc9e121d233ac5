"""The engine: the one door to a store of durable promises and tasks.

It owns the lifetime of its parts: the store, the committer, the ticker and the courier. It knows no HTTP
and no SDK; both reach it through commands.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from types import TracebackType
from typing import Any, Self, TypeVar, get_args

from orchestrator.domain.errors import Refused, Unavailable
from orchestrator.domain.trace import HERE
from orchestrator.engine.batch import BatchResult, Work
from orchestrator.engine.clock import Clock, SystemClock
from orchestrator.engine.committer import Committer
from orchestrator.engine.courier import Courier, Push
from orchestrator.engine.debugging import DebugCommand, Debugger
from orchestrator.engine.delivery import Connection, MayHearOf, Receive, Switchboard
from orchestrator.engine.neighbours import Neighbours
from orchestrator.engine.observing import CommitObserver
from orchestrator.engine.outgoing import Outgoing
from orchestrator.engine.parts import Parts
from orchestrator.engine.recovery import announce_again
from orchestrator.engine.retention import Retention
from orchestrator.engine.settings import EngineSettings
from orchestrator.engine.statistics import Statistics
from orchestrator.engine.ticker import Ticker
from orchestrator.engine.validation import validate
from orchestrator.protocol import commands as c
from orchestrator.store import Store, StoreError
from orchestrator.store.port import Gauges, LoadGauges, Program, ask
from orchestrator.store.sharing import SharedStore

AnswerT = TypeVar("AnswerT")
_ASIDE = frozenset({c.Describe, *get_args(DebugCommand)})
"""Commands that are not committed with others."""
CALLER_GONE = 499
"""What is counted for a caller that did not wait for its answer."""


class Engine:
    """Carries out commands on a store, wakes tasks, delivers messages.

    Use it as an async context manager: entering opens and migrates the store and takes over from the
    process that had it before; leaving answers what waits and closes the store.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock | None = None,
        settings: EngineSettings | None = None,
        push: Push | None = None,
    ) -> None:
        self.statistics = Statistics()
        self._store = store
        shared = store if isinstance(store, SharedStore) else None
        self._clock = clock or (shared.clock if shared is not None else SystemClock())
        self._settings = settings or EngineSettings()
        self._switchboard = Switchboard(self.statistics)
        self._parts = parts = Parts(
            store=store,
            clock=self._clock,
            settings=self._settings,
            statistics=self.statistics,
            switchboard=self._switchboard,
        )
        self._committer = Committer(parts, self._committed, self._lower)
        self._courier = Courier(parts, push, self._committer.wake, self._lower)
        self._ticker = Ticker(parts, self._deliver)
        self._debugger = Debugger(parts, self._ticker, self._courier, self._committed)
        self._neighbours: Neighbours | None = None
        if shared is not None:
            self._neighbours = Neighbours(shared, parts, self._courier, self._ticker)
        age_ms = self._settings.retain_children_ms
        self._retention = None if age_ms is None else Retention(parts, age_ms)
        self._running: list[asyncio.Task[None]] = []
        self._committing: asyncio.Task[None] | None = None

    @property
    def clock(self) -> Clock:
        """The clock by which the engine lives."""
        return self._clock

    @property
    def settings(self) -> EngineSettings:
        """What was set about it."""
        return self._settings

    def observe(self, observer: CommitObserver) -> None:
        """Tell `observer` of every commit of commands."""
        self._committer.observer = observer

    async def __aenter__(self) -> Self:
        """Open the store and start. Raises StoreError."""
        if self._committing is not None:
            raise StoreError("the engine has been started before; make a new one")
        await self._store.open()
        try:
            await self._ticker.recover()
            await announce_again(self._parts, self._deliver)
        except BaseException:
            await self._store.close()
            raise
        self._committing = asyncio.create_task(self._committer.run(), name="engine-committer")
        self._running = [
            asyncio.create_task(self._ticker.run(), name="engine-ticker"),
            asyncio.create_task(self._courier.run(), name="engine-courier"),
        ]
        if self._neighbours is not None:
            self._running.append(asyncio.create_task(self._neighbours.run(), name="engine-neighbours"))
        if self._retention is not None:
            self._running.append(asyncio.create_task(self._retention.run(), name="engine-retention"))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Answer what waits, then stop and close the store."""
        await self.stop()

    async def stop(self) -> None:
        """Answer what waits, then stop and close the store. Stopping twice is harmless."""
        self._committer.stop()
        try:
            if self._committing is not None:
                # Shielded: a stop that is cancelled must not leave callers without an answer.
                await asyncio.shield(self._committing)
        finally:
            self._courier.stop()
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)
            self._running = []
            await self._store.close()

    def _lower(self, deadline: int | None) -> None:
        self._ticker.lower(deadline)

    def _committed(self, result: BatchResult) -> None:
        if result.dead:
            self.statistics.count_dead(result.dead)
        self._ticker.lower(result.deadline)
        self._deliver(result.outgoing)
        if result.cancelled:
            self._switchboard.tell_cancelled(result.cancelled)

    def _deliver(self, outgoing: list[Outgoing]) -> None:
        unrouted: list[Outgoing] | None = None if self._neighbours is None else []
        self._courier.deliver(outgoing, unrouted)
        if self._neighbours is not None and unrouted:
            self._neighbours.tell(unrouted)

    async def handle(
        self, command: c.Command[AnswerT], *, embedded: bool = False, debug_time: int | None = None
    ) -> AnswerT:
        """Carry out one command and return its answer once it is durable.

        `embedded` marks a caller inside this process, whose leases end with it. `debug_time` (Unix
        milliseconds) replaces the clock where debugging is switched on. Raises Refused with the
        protocol's status; Unavailable when the engine stops, its queue is full or its store failed: then
        the command may or may not have been carried out, and repeating it is safe (P2, T2).
        """
        status = 500
        answer: AnswerT
        try:
            if type(command) in _ASIDE:
                answer = await self._aside(command, debug_time)
            else:
                answer = await self._carry_out(command, embedded, debug_time)
            status = 300 if isinstance(answer, c.SuspendAnswer) and not answer.suspended else 200
            return answer
        except Refused as refusal:
            status = refusal.status
            raise
        except Unavailable:
            status = 503
            raise
        except asyncio.CancelledError:
            status = CALLER_GONE
            raise
        finally:
            self.statistics.requests[command.KIND, status] += 1

    def _carry_out(self, command: c.Command[Any], embedded: bool, debug_time: int | None) -> Awaitable[Any]:
        validate(command)
        if self._committing is None:
            raise Unavailable("the engine has not been started")
        work = Work(command=command, embedded=embedded, trace=HERE.get())
        if debug_time is not None and self._settings.debug:
            return self._debugger.at(work, debug_time)
        return self._committer.carry_out(work)

    async def _aside(self, command: c.Command[Any], debug_time: int | None) -> Any:
        if isinstance(command, DebugCommand):
            return await self._debugger.carry_out(command, debug_time)
        return c.DescribeAnswer(extensions=list(c.EXTENSIONS))

    def connect(
        self,
        group: str,
        member: str,
        receive: Receive,
        *,
        may_hear_of: MayHearOf | None = None,
        embedded: bool = False,
    ) -> Connection:
        """Deliver messages for `member` of `group` to `receive`, which must neither block nor raise.

        It may return False when it has no room: the message is then offered to others, or again shortly.

        What waits for the group is sent at once. The newest of several connections of one name is
        preferred. The connection stands until it is closed. Messages about ids that it may not hear of pass
        it by. `embedded` marks a member inside this process: it is told which of its tasks are to end.
        """
        connection = Connection(group, member, receive, self._disconnect, may_hear_of, embedded=embedded)
        self._switchboard.add(connection)
        self._courier.flush(group, joined=True)
        return connection

    def _disconnect(self, connection: Connection) -> None:
        if self._switchboard.remove(connection):
            self._courier.lost(connection)

    async def tick(self) -> None:
        """Carry out everything that is due now; the engine does so by itself. Raises StoreError."""
        await self._ticker.tick()

    async def thin(self) -> int:
        """Remove what `retain_children_ms` leaves to be removed now, and return how many promises that were.

        The engine does so by itself. Raises StoreError.
        """
        return 0 if self._retention is None else await self._retention.sweep()

    async def gauges(self) -> Gauges:
        """Count what is open in the store. Raises StoreError."""
        return await self._store.run(_gauges, self._clock.now_ms())


def _gauges(now_ms: int) -> Program[Gauges]:
    gauges = yield from ask(LoadGauges(now_ms=now_ms))
    return gauges
