"""The durable sending of submissions that go together: tried, divided, sent, each part ended by one receipt.

Invariants: S1 as for single submissions: the registry is asked before, and refuses a second one. An item is
sent by one batch only (`book`). One refused item never sinks the others: the registry skips it, and the
receipt tells. What reverts all the same is tried again, and in the last round sent item by item.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from contracts.transactions import Sent, SentStatus, patiently, send_detached
from orchestrator import Cancelled, Context, Info
from scorers.batches.book import BatchBook, outcome_id
from scorers.batches.gathering import Gathering
from scorers.batches.receipts import read_ends
from scorers.batches.sorting import batch_intent, reason_of, refusals_in, sort_items
from scorers.batches.values import Batch, BatchEnd, Ended, Item, Place, SetAside

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


async def settle_items(info: Info, ended: list[Ended]) -> None:
    """Tell each item's workflow how its sending ended."""
    await info.dependency(BatchBook).settle([(each.item, each.sent) for each in ended])


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
        await patiently(ctx, settle_items, _all(ours, cancelled))
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
            send_detached(ctx, batch_intent(batch.place, part, f"{ctx.id}-{number}.{part_number}"))
            for part_number, part in enumerate(found.parts, 1)
        ]
        left = []
        for part, transaction in zip(found.parts, sending, strict=True):
            sent = await transaction
            if sent.status not in ENDS and not singly and refusals_of(part, sent) is None:
                left += part
                continue
            ended = await _ended(ctx, batch.place, list(part), sent)
            await patiently(ctx, settle_items, ended)
            hashes += [sent.transaction_hash] if sent.transaction_hash else []
            submitted += sum(each.sent.status is SentStatus.CONFIRMED for each in ended)
            aside += [skipped(each) for each in ended if each.sent.status is SentStatus.REVERTED]
    return BatchEnd(
        transaction_hashes=tuple(hashes),
        submitted=submitted,
        aside=tuple(aside),
        elsewhere=len(batch.items) - len(ours),
    )


async def _ended(ctx: Context, place: Place, part: list[Item], sent: Sent) -> list[Ended]:
    """Return how each item of a part ended: by the receipt, where the transaction has one."""
    if sent.status is not SentStatus.CONFIRMED:
        return _all(part, sent)
    return await patiently(ctx, read_ends, place, part, sent)


def _all(items: Sequence[Item], sent: Sent) -> list[Ended]:
    """Return how items ended whose transaction did nothing, each with its own reason where that is told."""
    alike = [replace(sent, logical_id=item.logical_id) for item in items]
    refusals = refusals_of(items, sent)
    if refusals is not None:
        alike = [
            replace(each, reason=reason_of(refusal), revert_hex="0x" + refusal.hex())
            for each, refusal in zip(alike, refusals, strict=True)
        ]
    return [Ended(item=item, sent=each) for item, each in zip(items, alike, strict=True)]


def refusals_of(items: Sequence[Item], sent: Sent) -> tuple[bytes, ...] | None:
    """Return why each item was refused, where the registry took none of them and said so."""
    refusals = refusals_in(bytes.fromhex((sent.revert_hex or "0x")[2:]))
    return refusals if refusals is not None and len(refusals) == len(items) else None


def skipped(ended: Ended) -> SetAside:
    """Return an item that the registry did not take, with the reason of the receipt."""
    reason = ended.sent.reason or "the transaction reverted without a reason"
    return SetAside(item=ended.item, reason=reason, revert_hex=ended.sent.revert_hex)
