"""Which batch an item belongs to and how its sending ended: two durable promises an item.

Invariants: an item belongs to one batch, decided by the store's create-if-absent (P2), as nonces are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from contracts.transactions import Sent
from orchestrator import Orchestrator, Value
from scorers.batches.values import Item

BATCH_HEADER = "batch"


def claim_id(item: Item) -> str:
    """Return the id of the promise that names an item's batch."""
    return f"inBatch-{item.logical_id}"


def outcome_id(logical_id: str) -> str:
    """Return the id of the promise that an item's batch settles with how its sending ended."""
    return f"sent-{logical_id}"


class BatchBook:
    """Claims and outcomes of items, in the store of the application itself."""

    def __init__(self, app: Orchestrator) -> None:
        self._app = app

    async def claim(self, items: Sequence[Item], batch_id: str) -> list[Item]:
        """Return the items that are, or become, this batch's."""
        claimed = await asyncio.gather(*(self._claim(item, batch_id) for item in items))
        return [item for item, ours in zip(items, claimed, strict=True) if ours]

    async def _claim(self, item: Item, batch_id: str) -> bool:
        param = Value(headers={BATCH_HEADER: batch_id})
        made = await self._app.promises.create(claim_id(item), param=param)
        return (made.param.headers or {}).get(BATCH_HEADER) == batch_id

    async def settle(self, ended: Sequence[tuple[Item, Sent]]) -> None:
        """Tell the workflows of these items how their sending ended; doing it again changes nothing (P1)."""
        await asyncio.gather(*(self._settle(item, sent) for item, sent in ended))

    async def _settle(self, item: Item, sent: Sent) -> None:
        promise_id = outcome_id(item.logical_id)
        await self._app.promises.create(promise_id)
        await self._app.promises.resolve(promise_id, sent)
        await self._app.promises.resolve(claim_id(item))
