"""Tries the submissions of a batch before they are sent: which go together, and which are left out.

The registry takes a batch whole or not at all, so that one refused item would sink the others. It must not
write.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from contracts.bindings import proposal_scores
from contracts.rpc import CallReverted, Node
from contracts.transactions import Intent, SendingPolicy
from contracts.transactions.preparing import judge_revert
from orchestrator import Info
from scorers.batches.values import Batch, Item, Place, SetAside, Sorted

TRIALS_AT_ONCE = 16

log = structlog.get_logger(__name__)


async def sort_items(info: Info, batch: Batch, items: list[Item], *, singly: bool) -> Sorted:
    """Return the items in parts that fit into a transaction each; what would be refused is set aside."""
    node, policy = info.dependency(Node), info.dependency(SendingPolicy)
    passing, aside = await _divided(node, policy, batch.place, items, singly=singly)
    for each in aside:
        log.info("batch.set_aside", proposal_id=each.item.proposal_id, reason=each.reason)
    return Sorted(parts=tuple(passing), aside=tuple(aside))


async def _divided(
    node: Node, policy: SendingPolicy, place: Place, items: Sequence[Item], *, singly: bool
) -> tuple[list[tuple[Item, ...]], list[SetAside]]:
    """Divide items until each part passes its trial below the limit of gas, or is one item that fails."""
    if not items:
        return [], []
    if singly or len(items) == 1:
        return await _one_by_one(node, policy, place, items)
    try:
        gas = await _estimate(node, place, items)
    except CallReverted:
        passing, aside = await _one_by_one(node, policy, place, items)
        good = [item for part in passing for item in part]
        if aside:
            again, more = await _divided(node, policy, place, good, singly=False)
            return again, [*aside, *more]
        return await _halves(node, policy, place, good)
    if gas * (100 + policy.gas_margin_percent) // 100 > policy.gas_max:
        return await _halves(node, policy, place, items)
    return [tuple(items)], []


async def _halves(
    node: Node, policy: SendingPolicy, place: Place, items: Sequence[Item]
) -> tuple[list[tuple[Item, ...]], list[SetAside]]:
    middle = len(items) // 2
    first, first_aside = await _divided(node, policy, place, items[:middle], singly=False)
    second, second_aside = await _divided(node, policy, place, items[middle:], singly=False)
    return [*first, *second], [*first_aside, *second_aside]


async def _one_by_one(
    node: Node, policy: SendingPolicy, place: Place, items: Sequence[Item]
) -> tuple[list[tuple[Item, ...]], list[SetAside]]:
    passing: list[tuple[Item, ...]] = []
    aside: list[SetAside] = []
    for start in range(0, len(items), TRIALS_AT_ONCE):
        chunk = items[start : start + TRIALS_AT_ONCE]
        tried = await asyncio.gather(*(_tried(node, policy, place, item) for item in chunk))
        passing += [(item,) for item, refused in zip(chunk, tried, strict=True) if refused is None]
        aside += [refused for refused in tried if refused is not None]
    return passing, aside


async def _tried(node: Node, policy: SendingPolicy, place: Place, item: Item) -> SetAside | None:
    intent = single_intent(place, item)
    try:
        await node.simulate(intent.sender, intent.to, intent.data)
    except CallReverted as error:
        judged = await judge_revert(node, intent, policy, error)
        return SetAside(item=item, reason=judged.reason or error.message, revert_hex=judged.revert_hex)
    return None


async def _estimate(node: Node, place: Place, items: Sequence[Item]) -> int:
    return await node.estimate_gas(place.scorer, place.registry, call_data(items))


def call_data(items: Sequence[Item]) -> bytes:
    """Return the call that submits these items together."""
    return proposal_scores.SUBMIT_SCORES.encode([item.submission for item in items])


def single_intent(place: Place, item: Item) -> Intent:
    """Return the logical transaction that submits one item by itself."""
    submission = item.submission
    data = proposal_scores.SUBMIT_SCORE.encode(
        submission.proposal_id, int(submission.status), submission.score, submission.root
    )
    return Intent(
        chain_id=place.chain_id,
        sender=place.scorer,
        to=place.registry,
        data_hex="0x" + data.hex(),
        logical_id=item.logical_id,
    )
