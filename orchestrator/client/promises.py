"""Promises by hand: read, create and settle them with typed values."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.client.clock import Clock
from orchestrator.client.codec import encode_value
from orchestrator.client.options import CallOptions
from orchestrator.client.outcomes import failure_value
from orchestrator.domain import tags as tag
from orchestrator.domain.errors import Refused
from orchestrator.domain.promise import EMPTY, PromiseState, Value
from orchestrator.protocol import commands as c
from orchestrator.protocol.paging import fetch_tree
from orchestrator.protocol.records import PromiseRecord
from orchestrator.protocol.transport import Call, Transport

_UNKNOWN = 400
"""The server does not know the operation."""
_NO_TASK = 422
"""There is nobody to be asked."""


class Promises:
    """The promises of an engine. Every method raises Refused (404 for an unknown id) and Unavailable."""

    def __init__(self, transport: Transport, clock: Clock) -> None:
        self._transport = transport
        self._clock = clock

    async def get(self, promise_id: str) -> PromiseRecord:
        """Return the record of a promise."""
        return (await self._transport.call(c.PromiseGet(id=promise_id))).promise

    async def create(
        self,
        promise_id: str,
        *,
        param: object = None,
        timeout_s: float | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> PromiseRecord:
        """Create a promise that is settled by hand, or return the one that exists (P2)."""
        tree = {tag.ORIGIN: promise_id, tag.BRANCH: promise_id, tag.PARENT: promise_id}
        command = c.PromiseCreate(
            id=promise_id,
            timeout_at=CallOptions(timeout_s=timeout_s).deadline_ms(self._clock.now_ms()),
            param=_value(param, f"the param of {promise_id}"),
            tags={tag.SCOPE: tag.SCOPE_GLOBAL, tag.EXTERNAL: tag.TRUE, **tree, **(tags or {})},
        )
        return (await self._transport.call(command)).promise

    async def resolve(self, promise_id: str, value: object = None) -> PromiseRecord:
        """Resolve a promise with a value; one already settled is returned as it is (P1)."""
        return await self._settle(
            promise_id, PromiseState.RESOLVED, _value(value, f"the value of {promise_id}")
        )

    async def reject(self, promise_id: str, error: BaseException | str) -> PromiseRecord:
        """Reject a promise with an error; one already settled is returned as it is (P1)."""
        error = RuntimeError(error) if isinstance(error, str) else error
        return await self._settle(promise_id, PromiseState.REJECTED, failure_value(error))

    async def cancel(self, promise_id: str) -> PromiseRecord:
        """Ask what a promise stands for to end; return the promise as it is then.

        A workflow, and all that it called, is asked to clean up and end; detached invocations are not. What
        has no task of its own (a step, a workflow that runs within another, a bare promise) is settled as
        canceled at once with all that it called, as everything is by a server without this extension.
        """
        return await cancel(self._transport.call, promise_id)

    async def terminate(self, promise_id: str) -> PromiseRecord:
        """Settle a promise and all that it called as canceled, at once; no clean-up runs."""
        return await terminate(self._transport.call, promise_id)

    async def search(
        self,
        *,
        state: PromiseState | None = None,
        tags: Mapping[str, str] | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> c.PromisePage:
        """Return a page of promises in order of id: up to `limit` (1 to 1000) after `cursor`."""
        return await self._transport.call(
            c.PromiseSearch(state=state, tags=dict(tags or {}), limit=limit, cursor=cursor)
        )

    async def tree(self, promise_id: str, *, promises_max: int = 10_000) -> list[PromiseRecord]:
        """Return a promise and all that it called, in order of id. Raises Refused(422) beyond the bound."""
        _, records = await fetch_tree(self._transport.call, promise_id, promises_max=promises_max)
        return records

    async def _settle(self, promise_id: str, state: PromiseState, value: Value) -> PromiseRecord:
        return (await self._transport.call(c.PromiseSettle(id=promise_id, state=state, value=value))).promise


async def cancel(call: Call, promise_id: str) -> PromiseRecord:
    """See `Promises.cancel`."""
    try:
        return (await call(c.PromiseCancel(id=promise_id))).promise
    except Refused as refusal:
        if refusal.status == _NO_TASK:
            return await terminate(call, promise_id)
        if refusal.status != _UNKNOWN:
            raise
    settle = c.PromiseSettle(id=promise_id, state=PromiseState.REJECTED_CANCELED, value=EMPTY)
    return (await call(settle)).promise


async def terminate(call: Call, promise_id: str) -> PromiseRecord:
    """See `Promises.terminate`. Raises Refused(400) where the server lacks the extension."""
    return (await call(c.PromiseTerminate(id=promise_id))).promise


def _value(value: object, what: str) -> Value:
    return value if isinstance(value, Value) else encode_value(value, what)
