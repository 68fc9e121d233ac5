"""Notices between servers on one PostgreSQL: sent after commits, from a connection of their own.

A NOTIFY inside each commit would cost a quarter of its speed; here those of many commits travel together.
Invariants: nothing here is needed for correctness, since whoever missed a notice looks once a second; what
waits to be sent is bounded; a lost connection is sought again with growing pauses.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any
from uuid import uuid4

import msgspec
import structlog

from orchestrator.store import postgres_statements as sql
from orchestrator.store.errors import StoreError
from orchestrator.store.postgres_connections import (
    PAUSE_S_MAX,
    PAUSE_S_MIN,
    Connection,
    Connections,
    heed_cancellation,
)
from orchestrator.store.postgres_faults import FAULTS
from orchestrator.store.sharing import Waiting, WaitingRow

_log = structlog.get_logger(__name__)
CHANNEL = "dao_scorer"
WAITING_MAX = 10_000
"""Rows that wait to be told; the oldest are forgotten, and found by a look."""
PROBE_S = 20.0
"""After it a connection on which nothing was told is asked whether it still stands."""
PAYLOAD_BYTES_MAX = 7_900
"""PostgreSQL takes 8,000."""


class _Notice(msgspec.Struct, frozen=True, array_like=True):
    sender: str
    executes: list[WaitingRow]
    unblocks: list[WaitingRow]


_encode, _decode = msgspec.json.Encoder().encode, msgspec.json.Decoder(_Notice).decode


class Notices:
    """Tells other servers, and hears them."""

    def __init__(self, connections: Connections) -> None:
        self.heard: Callable[[Waiting], None] = lambda _: None
        self._connections = connections
        self._sender = uuid4().hex
        self._waiting: deque[tuple[bool, WaitingRow]] = deque(maxlen=WAITING_MAX)
        self._wake = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; `stop` ends it."""
        self._running = asyncio.create_task(self._run(), name="postgres-notices")

    async def stop(self) -> None:
        """End. Stopping twice is harmless."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
            self._running = None

    def tell(self, waiting: Waiting) -> None:
        """Send this with the next notice."""
        self._waiting.extend((True, row) for row in waiting.executes)
        self._waiting.extend((False, row) for row in waiting.unblocks)
        self._wake.set()

    async def _run(self) -> None:
        pause_s = PAUSE_S_MIN
        while True:
            try:
                connection = await self._connections.connect()
                pause_s = PAUSE_S_MIN
                try:
                    await self._serve(connection)
                finally:
                    connection.terminate()
            except (StoreError, *FAULTS) as error:
                heed_cancellation()
                _log.warning("notices between servers stopped, trying again", error=str(error))
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, PAUSE_S_MAX)

    async def _serve(self, connection: Connection) -> None:
        connection.add_termination_listener(lambda _: self._wake.set())
        await connection.add_listener(CHANNEL, self._hear)
        heed_cancellation()
        while not connection.is_closed():
            with suppress(TimeoutError):
                async with asyncio.timeout(PROBE_S):
                    await self._wake.wait()
            self._wake.clear()
            rows = list(self._waiting)
            self._waiting.clear()
            # With nothing to tell, it asks whether the connection still stands.
            await connection.fetch(sql.NOTIFY, CHANNEL, list(_payloads(self._sender, rows)))
            heed_cancellation()

    def _hear(self, _: Any, __: int, ___: str, payload: object) -> None:
        try:
            notice = _decode(str(payload))
        except (msgspec.DecodeError, UnicodeEncodeError):
            return  # somebody else's use of the channel
        if notice.sender != self._sender:
            self.heard(Waiting(executes=notice.executes, unblocks=notice.unblocks))


def _payloads(sender: str, rows: list[tuple[bool, WaitingRow]]) -> Iterator[str]:
    """Return notices of bounded size; a row that is too long for any is left to be found by a look."""
    executes: list[WaitingRow] = []
    unblocks: list[WaitingRow] = []
    size = 0
    for is_execute, row in rows:
        length = len(_encode(row)) + 1
        if length > PAYLOAD_BYTES_MAX - 100:
            continue
        if size + length > PAYLOAD_BYTES_MAX - 100:
            yield _encode(_Notice(sender, executes, unblocks)).decode()
            executes, unblocks, size = [], [], 0
        (executes if is_execute else unblocks).append(row)
        size += length
    if size:
        yield _encode(_Notice(sender, executes, unblocks)).decode()
