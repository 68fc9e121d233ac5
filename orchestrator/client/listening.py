"""Waiting for promises that others settle: listeners, and their renewal since messages are only hints."""

from __future__ import annotations

import asyncio

import structlog

from orchestrator.domain.errors import OrchestratorError, Refused, Unavailable
from orchestrator.protocol.commands import PromiseRegisterListener
from orchestrator.protocol.messages import Message, Unblock
from orchestrator.protocol.records import PromiseRecord
from orchestrator.protocol.transport import Transport

REFRESH_S = 15.0
NOT_FOUND = 404
_log = structlog.get_logger(__name__)


class Subscriptions:
    """Who in this process waits for which promise.

    A promise whose task executes here needs no listener: its end is told by `observe`, and `left` tells
    whether it needs one when the execution has stopped before that.
    """

    def __init__(self, transport: Transport, address: str, *, refresh_s: float = REFRESH_S) -> None:
        self._transport = transport
        self._address = address
        self._refresh_s = refresh_s
        self._waiters: dict[str, list[asyncio.Future[PromiseRecord]]] = {}
        self._executing: set[str] = set()

    async def wait(self, promise_id: str, created: asyncio.Event | None = None) -> PromiseRecord:
        """Return the settled record, however long it takes.

        `created` is set once a promise exists that is being created: it is asked for at once, and again if it
        was not there yet. Raises Refused(404) for an unknown promise, and what `fail` was told.
        """
        waiter: asyncio.Future[PromiseRecord] = asyncio.get_running_loop().create_future()
        waiters = self._waiters.setdefault(promise_id, [])
        waiters.append(waiter)
        try:
            if promise_id not in self._executing:
                await self._register_early(promise_id, created)
            return await waiter
        finally:
            waiters.remove(waiter)
            if not waiters and self._waiters.get(promise_id) is waiters:
                del self._waiters[promise_id]
            if waiter.done() and not waiter.cancelled():
                waiter.exception()  # nobody may have come to ask

    def entered(self, promise_id: str) -> None:
        """Note that the task of this promise executes here."""
        self._executing.add(promise_id)

    def left(self, promise_id: str) -> bool:
        """Note that the execution has ended; return whether the promise is to be listened for."""
        self._executing.discard(promise_id)
        return promise_id in self._waiters and bool(self._open(promise_id))

    async def listen(self, promise_id: str) -> None:
        """Register a listener for those who wait here."""
        try:
            await self._register(promise_id)
        except OrchestratorError as error:
            _log.warning("listener not registered", promise_id=promise_id, reason=str(error))

    def observe(self, record: PromiseRecord) -> None:
        """Hand a settled record to those who wait for it."""
        if not record.pending:
            for waiter in self._open(record.id):
                waiter.set_result(record)

    def receive(self, message: Message) -> None:
        """Take a message of the engine where nothing is executed; never blocks."""
        if isinstance(message, Unblock):
            self.observe(message.promise)

    def fail(self, promise_id: str, error: Exception) -> None:
        """Tell those who wait here that this process cannot go on with the promise; its record stays open."""
        for waiter in self._open(promise_id):
            waiter.set_exception(error)

    def fail_all(self, error: Exception) -> None:
        """Tell everyone that waits that nothing will come any more."""
        for promise_id in list(self._waiters):
            self.fail(promise_id, error)

    async def refresh_forever(self) -> None:
        """Register open listeners anew every so often: a message may have been lost, or a server replaced."""
        while True:
            await asyncio.sleep(self._refresh_s)
            for promise_id in [one for one in self._waiters if one not in self._executing]:
                try:
                    await self._ask(promise_id)
                except Unavailable:
                    break  # the others would not be answered either
                except Refused as error:
                    self.fail(promise_id, error)

    async def _register_early(self, promise_id: str, created: asyncio.Event | None) -> None:
        try:
            await self._register(promise_id)
        except Refused as refusal:
            if created is None or refusal.status != NOT_FOUND:
                raise
            await created.wait()
            await self._register(promise_id)

    async def _register(self, promise_id: str) -> None:
        try:
            await self._ask(promise_id)
        except Unavailable as error:
            # The renewal asks again: a server that is away is waited for.
            _log.warning("server away, waiting", promise_id=promise_id, reason=str(error))

    async def _ask(self, promise_id: str) -> None:
        command = PromiseRegisterListener(awaited=promise_id, address=self._address)
        self.observe((await self._transport.call(command)).promise)

    def _open(self, promise_id: str) -> list[asyncio.Future[PromiseRecord]]:
        return [waiter for waiter in self._waiters.get(promise_id, ()) if not waiter.done()]
