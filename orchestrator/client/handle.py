"""A handle on an invocation: its id and, sooner or later, its outcome."""

from __future__ import annotations

from typing import Generic, TypeVar, cast

from orchestrator.client.listening import Subscriptions
from orchestrator.client.outcomes import error_of, result_of
from orchestrator.client.promises import cancel, terminate
from orchestrator.domain.errors import ApplicationError
from orchestrator.domain.promise import PromiseState
from orchestrator.protocol.commands import PromiseGet
from orchestrator.protocol.records import PromiseRecord
from orchestrator.protocol.transport import Transport

T = TypeVar("T")


class Handle(Generic[T]):
    """May be kept, dropped, or made anew by `app.get(id)`."""

    __slots__ = ("_declared", "_record", "_subscriptions", "_transport", "id")

    def __init__(
        self,
        record: PromiseRecord,
        *,
        declared: object,
        transport: Transport,
        subscriptions: Subscriptions,
    ) -> None:
        self.id = record.id
        self._record = record
        self._declared = declared
        self._transport = transport
        self._subscriptions = subscriptions

    def __repr__(self) -> str:
        return f"<Handle {self.id} {self._record.state}>"

    @property
    def record(self) -> PromiseRecord:
        """The promise as it was last seen."""
        return self._record

    async def result(self) -> T:
        """Wait for the result, however long it takes.

        Raises ApplicationError (PromiseCanceled, PromiseTimedOut) if the promise was not resolved, and
        NondeterminismError or DecodingError if this process was executing it and cannot go on.
        """
        return cast("T", result_of(await self._settled(), self._declared))

    async def exception(self) -> ApplicationError | None:
        """Wait as `result` does; return the error that it would raise, None if there is a result."""
        record = await self._settled()
        return None if record.state is PromiseState.RESOLVED else error_of(record)

    async def cancel(self) -> None:
        """Ask the invocation, and all that it called, to clean up and end: `result` raises PromiseCanceled.

        Returns once the request is durable. It may still end otherwise: what ends first counts.
        """
        self._record = await cancel(self._transport.call, self.id)

    async def terminate(self) -> None:
        """Settle the invocation and all that it called as canceled, at once; no clean-up runs."""
        self._record = await terminate(self._transport.call, self.id)

    async def done(self) -> bool:
        """Tell whether the promise has settled."""
        if self._record.pending:
            self._record = (await self._transport.call(PromiseGet(id=self.id))).promise
        return not self._record.pending

    async def _settled(self) -> PromiseRecord:
        if self._record.pending:
            self._record = await self._subscriptions.wait(self.id)
        return self._record
