"""What an engine does because others use the same store: tell them what it cannot deliver, and look around.

There is no leader. An engine delivers what finds a connection of its own, tells the others of the rest, and
claims of what it is told that for which somebody listens here; a claim is won by one engine only. Once a
second it looks, with one query, for a deadline that another engine has set, and for messages whose engine
died before it could tell. A look goes back some seconds only, and shows a bounded number: where there was
none for longer, or more waits, all that waits for those who listen here is read once. Nothing here is needed
for correctness: messages are hints.
"""

from __future__ import annotations

import asyncio
from collections import deque

import structlog

from orchestrator.domain.errors import OrchestratorError
from orchestrator.engine.courier import Courier
from orchestrator.engine.faults import trace_of
from orchestrator.engine.outgoing import Outgoing, outgoing_of, waiting_of
from orchestrator.engine.parts import Parts
from orchestrator.engine.ticker import Ticker
from orchestrator.engine.workspace import group_of
from orchestrator.store.sharing import SharedStore, Waiting, WaitingRow

_log = structlog.get_logger(__name__)
LOOK_PAUSE_S = 1.0
LOOK_GAP_S_MAX = 9.0
"""After a longer time without a look (the store was away, this process stood still) some messages are too old
for the next."""
HEARD_MAX = 10_000
"""Messages heard of and not claimed yet; the oldest are forgotten, and found by a look."""
CLAIM_PAGE = 500


class Neighbours:
    """One engine's relations to the other engines on its store."""

    def __init__(self, store: SharedStore, parts: Parts, courier: Courier, ticker: Ticker) -> None:
        self._store = store
        self._switchboard = parts.switchboard
        self._push_pause_s = parts.settings.retry_timeout_ms / 1000
        self._courier = courier
        self._ticker = ticker
        self._heard: deque[tuple[bool, WaitingRow]] = deque(maxlen=HEARD_MAX)
        self._wake = asyncio.Event()
        store.listen(self._hear)

    def tell(self, unrouted: list[Outgoing]) -> None:
        """Tell the others of messages that nobody here has taken."""
        self._store.tell(waiting_of(unrouted))

    def _hear(self, waiting: Waiting) -> None:
        ours = self._reached(waiting)
        if ours:
            self._heard.extend(ours)
            self._wake.set()

    def _reached(self, waiting: Waiting) -> list[tuple[bool, WaitingRow]]:
        rows = [(True, row) for row in waiting.executes] + [(False, row) for row in waiting.unblocks]
        return [(is_execute, row) for is_execute, row in rows if self._switchboard.reaches(row[2])]

    async def run(self) -> None:
        """Look and listen until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._look_forever())
            group.create_task(self._claim_forever())
            if self._courier.pushes:
                group.create_task(self._push_forever())

    async def _look_forever(self) -> None:
        loop, failing = asyncio.get_running_loop(), False
        looked_at = loop.time()
        while True:
            await asyncio.sleep(LOOK_PAUSE_S)
            began = loop.time()
            try:
                groups = sorted({connection.group for connection in self._switchboard.connections()})
                sighting = await self._store.look(groups)
            except OrchestratorError as error:
                if not failing:  # told once, since it is tried again every second
                    _log.warning("look at the store failed", error=str(error))
                failing = True
                continue
            self._ticker.lower(sighting.deadline)
            failing = False
            if not (sighting.more or loop.time() - looked_at > LOOK_GAP_S_MAX):
                # Reading the outbox also brings timers forward: others may have taken it for unheard.
                reached = {group_of(row[2]) for _, row in self._reached(sighting.waiting)}
                groups = [group for group in groups if group in reached]
            for group in groups:
                self._courier.flush(group)
            looked_at = began

    async def _claim_forever(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._heard:
                rows = [self._heard.popleft() for _ in range(min(len(self._heard), CLAIM_PAGE))]
                try:
                    await self._claim(rows)
                except Exception as error:  # whatever it was, a look finds them again
                    _log.error("claim of messages failed", trace=trace_of(error))

    async def _claim(self, rows: list[tuple[bool, WaitingRow]]) -> None:
        executes = list(dict.fromkeys(row for is_execute, row in rows if is_execute))
        unblocks = list(dict.fromkeys(row for is_execute, row in rows if not is_execute))
        claimed = await self._store.claim(Waiting(executes=executes, unblocks=unblocks))
        self._courier.deliver(outgoing_of(claimed))

    async def _push_forever(self) -> None:
        while True:
            await asyncio.sleep(self._push_pause_s)
            self._courier.flush(None)  # what an engine that died has left
