"""What the chain shows of nonces: the one place where receipts, finality and lost nonces are judged.

A receipt is believed when its block is the canonical one; it is final when that block is final and the
receipt, read again, still stands in it. Many are judged from the same few requests. It must not write.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from contracts.rpc import BlockHeader, Node, Receipt
from contracts.transactions.values import Confirmation, Position, Requirement

PENDING = Confirmation(position=Position.PENDING)
TAKEN = Confirmation(position=Position.TAKEN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A nonce of a key with the hashes of all that was ever signed for it."""

    sender: str
    nonce: int
    hashes: tuple[str, ...]
    requirement: Requirement


async def look(
    node: Node, sender: str, nonce: int, hashes: Sequence[str], requirement: Requirement
) -> Confirmation:
    """Return where the transaction of a nonce stands. Raises what the node raises; nothing is guessed."""
    question = Question(sender=sender, nonce=nonce, hashes=tuple(hashes), requirement=requirement)
    return (await look_at(node, [question]))[0]


async def look_at(node: Node, questions: Sequence[Question]) -> list[Confirmation]:
    """Return where the transactions of many nonces stand, in the order of the questions."""
    receipts = await _receipts(node, questions)
    finalized, latest = await asyncio.gather(node.header("finalized"), node.header("latest"))
    canonical = await _canonical(node, receipts.values())
    seen = [_judged(question, receipts.get(question), canonical, finalized, latest) for question in questions]
    seen = await _read_again(node, questions, seen)
    return await _taken(node, questions, seen, receipts, finalized.number)


def _judged(
    question: Question,
    receipt: Receipt | None,
    canonical: Mapping[int, bytes],
    finalized: BlockHeader,
    latest: BlockHeader,
) -> Confirmation:
    # Orphaned: what was mined is not on the chain any more and may be mined again, or not.
    if receipt is None or canonical[receipt.block_number] != receipt.block_hash:
        return PENDING
    required = question.requirement
    depth = max(latest.number, finalized.number) - receipt.block_number + 1
    final = (
        receipt.block_number <= finalized.number
        if required.final_depth is None
        else depth >= required.final_depth
    )
    if depth < required.confirmations or not (final or required.early):
        return _confirmation(Position.MINED, receipt)
    return _confirmation(Position.FINAL if final else Position.CONFIRMED, receipt)


async def _receipts(node: Node, questions: Iterable[Question]) -> dict[Question, Receipt]:
    """Return the receipt of whichever transaction of each nonce was mined; the newest is looked for first."""
    asked = [
        (question, transaction_hash)
        for question in dict.fromkeys(questions)
        for transaction_hash in reversed(question.hashes)
    ]
    found: dict[Question, Receipt] = {}
    receipts = await node.receipts([bytes.fromhex(each.removeprefix("0x")) for _, each in asked])
    for (question, _), receipt in zip(asked, receipts, strict=True):
        if receipt is not None:
            found.setdefault(question, receipt)
    return found


async def _canonical(node: Node, receipts: Iterable[Receipt]) -> dict[int, bytes]:
    """Return the hashes of the chain's blocks at the heights of these receipts."""
    numbers = sorted({receipt.block_number for receipt in receipts})
    headers = await asyncio.gather(*(node.header(number) for number in numbers))
    return {header.number: header.hash for header in headers}


async def _read_again(
    node: Node, questions: Sequence[Question], seen: Sequence[Confirmation]
) -> list[Confirmation]:
    """Believe that something counts only if its receipt, read after the blocks, is still the same."""
    counting = [
        question
        for question, each in zip(questions, seen, strict=True)
        if each.position in (Position.CONFIRMED, Position.FINAL)
    ]
    receipts = await _receipts(node, counting) if counting else {}
    checked = []
    for question, each in zip(questions, seen, strict=True):
        if question in counting:
            again = receipts.get(question)
            stands = again is not None and "0x" + again.block_hash.hex() == each.block_hash
            checked.append(each if stands else PENDING)
        else:
            checked.append(each)
    return checked


async def _taken(
    node: Node,
    questions: Sequence[Question],
    seen: Sequence[Confirmation],
    receipts: Mapping[Question, Receipt],
    finalized: int,
) -> list[Confirmation]:
    """Tell transactions that wait from those whose nonce another took, which only finality can say.

    The receipts are read again after the count: ours may have been mined and finalised in between.
    """
    without = [each for each in dict.fromkeys(questions) if each not in receipts]
    senders = sorted({each.sender for each in without})
    counts = await asyncio.gather(*(node.nonce(sender, finalized) for sender in senders))
    used = dict(zip(senders, counts, strict=True))
    doubtful = [each for each in without if used[each.sender] > each.nonce]
    again = await _receipts(node, doubtful) if doubtful else {}
    taken = {each for each in doubtful if each not in again}
    return [TAKEN if question in taken else each for question, each in zip(questions, seen, strict=True)]


def _confirmation(position: Position, receipt: Receipt) -> Confirmation:
    price = receipt.effective_gas_price
    return Confirmation(
        position=position,
        transaction_hash="0x" + receipt.transaction_hash.hex(),
        block_number=receipt.block_number,
        block_hash="0x" + receipt.block_hash.hex(),
        succeeded=receipt.status == 1,
        gas_used=receipt.gas_used,
        fee=None if price is None else price * receipt.gas_used,
    )
