"""The durable sending of submissions that go together: tried, divided, sent, each part ended by one receipt.

Invariants: S1 as for single submissions: the registry is asked before, and refuses a second one. An item is
sent by one batch only (`book`). One refused item never sinks the others for good: what reverts is tried item
by item, and in the last round sent item by item.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from contracts.transactions import Intent, Sent, SentStatus, patiently, send_detached
from orchestrator import Cancelled, Context, Info
from scorers.batches.book import BatchBook, outcome_id
from scorers.batches.gathering import Gathering
from scorers.batches.sorting import call_data, sort_items
from scorers.batches.values import Batch, BatchEnd, Item, Place, SetAside

ROUNDS_TOGETHER = 2
"""Rounds in which items go together; whatever has not ended by then goes singly."""
ENDS = (SentStatus.CONFIRMED, SentStatus.CANCELLED)
"""What settles the items of a part: it stands on the chain, or an operator gave it up."""


async def join_batch(info: Info, place: Place, item: Item) -> str:
    """Return the id of the durable batch that the item goes with."""
    return await info.dependency(Gathering).join(place, item)


async def send_in_batch(ctx: Context, place: Place, item: Item) -> Sent:
    """Send an item with others that are ready and return how that ended; part of a workflow."""
    await patiently(ctx, join_batch, place, item)
    sent = await ctx.promise(id=outcome_id(item.logical_id))
    if not isinstance(sent, Sent):
        reason = f"the promise {outcome_id(item.logical_id)} was settled by hand"
        return Sent(status=SentStatus.REFUSED, logical_id=item.logical_id, reason=reason)
    return sent


async def claim_items(info: Info, batch: Batch, batch_id: str) -> list[Item]:
    """Return the items that are this batch's and no other's."""
    return await info.dependency(BatchBook).claim(batch.items, batch_id)


async def settle_items(info: Info, items: list[Item], sent: Sent) -> None:
    """Tell each item's workflow how its sending ended: as this transaction did."""
    ended = [(item, replace(sent, logical_id=item.logical_id)) for item in items]
    await info.dependency(BatchBook).settle(ended)


async def settle_aside(info: Info, aside: list[SetAside]) -> None:
    """Tell the workflows of items set aside that the registry would refuse them now."""
    ended = [
        (
            each.item,
            Sent(
                status=SentStatus.REFUSED,
                logical_id=each.item.logical_id,
                reason=each.reason,
                revert_hex=each.revert_hex,
            ),
        )
        for each in aside
    ]
    await info.dependency(BatchBook).settle(ended)


async def send_batch(ctx: Context, batch: Batch) -> BatchEnd:
    """Send the items of a batch and tell each one's workflow how it ended."""
    ours = await patiently(ctx, claim_items, batch, ctx.id)
    try:
        return await _sent(ctx, batch, ours)
    except Cancelled:
        cancelled = Sent(status=SentStatus.REFUSED, logical_id=ctx.id, reason="its batch was cancelled")
        await patiently(ctx, settle_items, ours, cancelled)
        raise


async def _sent(ctx: Context, batch: Batch, ours: list[Item]) -> BatchEnd:
    left, hashes, aside, submitted, number = ours, list[str](), list[SetAside](), 0, 0
    while left:
        number += 1
        singly = number > ROUNDS_TOGETHER
        found = await patiently(ctx, sort_items, batch, left, singly=singly)
        if found.aside:
            aside += found.aside
            await patiently(ctx, settle_aside, list(found.aside))
        sending = [
            send_detached(ctx, _intent(ctx.id, batch.place, part, f"{number}.{part_number}"))
            for part_number, part in enumerate(found.parts, 1)
        ]
        left = []
        for part, transaction in zip(found.parts, sending, strict=True):
            sent = await transaction
            if sent.status not in ENDS and not singly:
                left += part
                continue
            await patiently(ctx, settle_items, list(part), sent)
            hashes += [sent.transaction_hash] if sent.transaction_hash else []
            submitted += len(part) if sent.status is SentStatus.CONFIRMED else 0
    return BatchEnd(
        transaction_hashes=tuple(hashes),
        submitted=submitted,
        aside=tuple(aside),
        elsewhere=len(batch.items) - len(ours),
    )


def _intent(batch_id: str, place: Place, items: Sequence[Item], number: str) -> Intent:
    return Intent(
        chain_id=place.chain_id,
        sender=place.scorer,
        to=place.registry,
        data_hex="0x" + call_data(items).hex(),
        logical_id=f"{batch_id}-{number}",
    )
