"""Reads from the receipt of a batch what became of each of its items. It must not write.

The registry tells of every item by one event, in their order: it was submitted, or skipped and why. So the
receipt accounts for all of them, or it is not believed.
"""

from __future__ import annotations

from dataclasses import replace

import structlog

from contracts.bindings import Log, proposal_scores
from contracts.rpc import Node, Receipt
from contracts.transactions import Sent, SentStatus
from orchestrator import Info
from scorers.batches.sorting import reason_of
from scorers.batches.values import Ended, Item, Place

log = structlog.get_logger(__name__)


class ReceiptIncomplete(Exception):
    """A node does not show the receipt of a mined batch, or not the event of each item: it lags, or cuts."""

    retryable = True

    def __init__(self, transaction_hash: str, reason: str) -> None:
        super().__init__(transaction_hash, reason)
        self.transaction_hash = transaction_hash
        self.reason = reason

    def __str__(self) -> str:
        return f"the receipt of {self.transaction_hash} cannot be read, another look may help: {self.reason}"


async def read_ends(info: Info, place: Place, items: list[Item], sent: Sent) -> list[Ended]:
    """Return how each item of a batch ended whose transaction stands on the chain.

    An item that was skipped ends as `REVERTED` with the registry's reason, as if it had been sent by itself.
    One whose transaction a reorg has taken back since ends as `REFUSED`: what becomes of it the registry will
    tell. Raises ReceiptIncomplete.
    """
    node = info.dependency(Node)
    receipt = await node.receipt(_hash(sent.transaction_hash))
    if receipt is None or "0x" + receipt.block_hash.hex() != sent.block_hash:
        await _check_orphaned(node, sent)
        gone = Sent(status=SentStatus.REFUSED, logical_id="", reason="a reorg took its transaction back")
        return [Ended(item=item, sent=replace(gone, logical_id=item.logical_id)) for item in items]
    told = told_of(receipt, place)
    if len(told) != len(items):
        raise ReceiptIncomplete(str(sent.transaction_hash), f"{len(told)} events for {len(items)} items")
    ended = [ended_by(item, sent, each) for item, each in zip(items, told, strict=True)]
    for each in ended:
        if each.sent.status is SentStatus.REVERTED:
            log.info("batch.skipped", proposal_id=each.item.proposal_id, reason=each.sent.reason)
    return ended


async def _check_orphaned(node: Node, sent: Sent) -> None:
    """Raise ReceiptIncomplete while the block that carried the transaction still stands: then a node lags."""
    number = sent.block_number or 0
    if "0x" + (await node.header(number)).hash.hex() == sent.block_hash:
        raise ReceiptIncomplete(str(sent.transaction_hash), f"it is not shown, and stands in block {number}")


def told_of(receipt: Receipt, place: Place) -> list[Log]:
    """Return the registry's events of single items, in the items' order."""
    events = (proposal_scores.SCORE_SUBMITTED, proposal_scores.SUBMISSION_SKIPPED)
    ours = (each for each in receipt.logs if each.address == place.registry.lower())
    return [each for each in ours if any(event.matches(each) for event in events)]


def ended_by(item: Item, sent: Sent, told: Log) -> Ended:
    """Return how an item ended by the event that tells of it. Raises ReceiptIncomplete for another's."""
    if proposal_scores.SCORE_SUBMITTED.matches(told):
        _check_same(item, sent, proposal_scores.SCORE_SUBMITTED.decode(told).proposal_id)
        return Ended(item=item, sent=replace(sent, logical_id=item.logical_id))
    skipped = proposal_scores.SUBMISSION_SKIPPED.decode(told)
    _check_same(item, sent, skipped.proposal_id)
    return Ended(
        item=item,
        sent=replace(
            sent,
            status=SentStatus.REVERTED,
            logical_id=item.logical_id,
            reason=reason_of(skipped.refusal),
            revert_hex="0x" + skipped.refusal.hex(),
        ),
    )


def _check_same(item: Item, sent: Sent, proposal_id: int) -> None:
    if proposal_id != item.proposal_id:
        reason = f"it tells of proposal {proposal_id} where {item.proposal_id} is to be"
        raise ReceiptIncomplete(str(sent.transaction_hash), reason)


def _hash(text: str | None) -> bytes:
    return bytes.fromhex((text or "0x")[2:])
