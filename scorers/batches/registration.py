"""Gives an application the sending of scores in batches."""

from __future__ import annotations

from orchestrator import Orchestrator, RetryPolicy
from scorers.batches.book import BatchBook
from scorers.batches.gathering import Batching, Gathering
from scorers.batches.receipts import read_ends
from scorers.batches.sorting import sort_items
from scorers.batches.values import Batch
from scorers.batches.workflow import claim_items, join_batch, send_batch, settle_aside, settle_items


def register_batches(app: Orchestrator, batching: Batching, *, retry: RetryPolicy) -> None:
    """Register the batch workflow and its steps; what another worker has batched is finished here, too."""

    async def begin(batch_id: str, batch: Batch) -> None:
        await app.begin_rpc(batch_id, send_batch, batch)

    for dependency in (BatchBook(app), Gathering(batching, begin)):
        app.set_dependency(dependency)
    for step in (join_batch, claim_items, sort_items, read_ends, settle_items, settle_aside):
        app.register(step, retry=retry)
    app.register(send_batch)
