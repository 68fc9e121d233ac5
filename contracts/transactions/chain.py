"""What the chain shows of a nonce: the one place where receipts, finality and lost nonces are judged.

A receipt is believed when its block is the canonical one; it is final when that block is finalised and the
receipt, read again, still stands in it. It must not write.
"""

from __future__ import annotations

from collections.abc import Sequence

from contracts.rpc import Node, Receipt
from contracts.transactions.values import Confirmation, Position

PENDING = Confirmation(position=Position.PENDING)


async def look(
    node: Node, sender: str, nonce: int, hashes: Sequence[str], confirmations: int
) -> Confirmation:
    """Return where the transaction of a nonce stands; `hashes` are all that were ever signed for it.

    Raises what the node raises; an answer is never guessed.
    """
    receipt = await _receipt(node, hashes)
    finalized = await node.header("finalized")
    if receipt is None:
        return await _without_receipt(node, sender, nonce, hashes, finalized.number)
    if (await node.header(receipt.block_number)).hash != receipt.block_hash:
        # Orphaned: what was mined is not on the chain any more and may be mined again, or not.
        return PENDING
    if not await _deep_enough(node, receipt, finalized.number, confirmations):
        return _confirmation(Position.MINED, receipt)
    again = await node.receipt(receipt.transaction_hash)
    if again is None or again.block_hash != receipt.block_hash:
        return PENDING
    return _confirmation(Position.FINAL, again)


async def _without_receipt(
    node: Node, sender: str, nonce: int, hashes: Sequence[str], finalized: int
) -> Confirmation:
    """Tell a transaction that waits from one whose nonce another took, which only finality can say.

    The receipts are read again after the count: ours may have been mined and finalised in between.
    """
    if await node.nonce(sender, finalized) <= nonce:
        return PENDING
    if await _receipt(node, hashes) is not None:
        return PENDING
    return Confirmation(position=Position.TAKEN)


async def _receipt(node: Node, hashes: Sequence[str]) -> Receipt | None:
    """Return the receipt of whichever transaction of this nonce was mined; the newest is looked for first."""
    for transaction_hash in reversed(hashes):
        receipt = await node.receipt(bytes.fromhex(transaction_hash.removeprefix("0x")))
        if receipt is not None:
            return receipt
    return None


async def _deep_enough(node: Node, receipt: Receipt, finalized: int, confirmations: int) -> bool:
    if receipt.block_number > finalized:
        return False
    if confirmations <= 1:
        return True
    head = await node.header("latest")
    return head.number - receipt.block_number + 1 >= confirmations


def _confirmation(position: Position, receipt: Receipt) -> Confirmation:
    return Confirmation(
        position=position,
        transaction_hash="0x" + receipt.transaction_hash.hex(),
        block_number=receipt.block_number,
        block_hash="0x" + receipt.block_hash.hex(),
        succeeded=receipt.status == 1,
        gas_used=receipt.gas_used,
    )
