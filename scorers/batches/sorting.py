"""Tries the submissions of a batch before they are sent: which go together, and which are left out.

The registry skips an item that it cannot take, and takes the others: the trial tells beforehand which it
would skip, so that no gas is spent for them. It must not write.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from contracts.bindings import DecodeError, decode_error, proposal_scores
from contracts.rpc import BlockMissing, CallReverted, Node, RpcError, RpcRefused
from contracts.transactions import Intent, SendingPolicy
from contracts.transactions.preparing import SOLIDITY_ERRORS, judge_revert
from orchestrator import Info
from scorers.batches.values import Batch, Item, Place, SetAside, Sorted

log = structlog.get_logger(__name__)


async def sort_items(info: Info, batch: Batch, items: list[Item], *, singly: bool) -> Sorted:
    """Return the items in parts that fit into a transaction each; what would be refused is set aside."""
    trial = _Trial(node=info.dependency(Node), policy=info.dependency(SendingPolicy), place=batch.place)
    good, aside = await trial.tried(items)
    parts = [(item,) for item in good] if singly else await trial.fitted(good)
    for each in aside:
        log.info("batch.set_aside", proposal_id=each.item.proposal_id, reason=each.reason)
    return Sorted(parts=tuple(parts), aside=tuple(aside))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trial:
    """Asks a registry what it would do with items, at the newest block."""

    node: Node
    policy: SendingPolicy
    place: Place

    async def tried(self, items: Sequence[Item]) -> tuple[list[Item], list[SetAside]]:
        """Return the items that the registry would take, and those that it would not."""
        if not items:
            return [], []
        try:
            refusals = await self._refusals(items)
        except (CallReverted, RpcRefused) as error:
            # One item may be at fault, or a node's limit of what one call may use.
            if len(items) > 1 and not _concerns_all(error):
                return await self._tried_in_halves(items)
            if not isinstance(error, CallReverted):
                raise
            reason, revert_hex = await self._judged(items, error)
            return [], [SetAside(item=item, reason=reason, revert_hex=revert_hex) for item in items]
        taken = [item for item, refusal in zip(items, refusals, strict=True) if not refusal]
        refused = [(item, refusal) for item, refusal in zip(items, refusals, strict=True) if refusal]
        return taken, await self._doubted(refused)

    async def _tried_in_halves(self, items: Sequence[Item]) -> tuple[list[Item], list[SetAside]]:
        """Try each half by itself."""
        middle = len(items) // 2
        first, first_aside = await self.tried(items[:middle])
        second, second_aside = await self.tried(items[middle:])
        return [*first, *second], [*first_aside, *second_aside]

    async def _refusals(self, items: Sequence[Item], block: int | str = "latest") -> tuple[bytes, ...]:
        """Return what the registry would refuse each item with, no bytes for what it would take."""
        place, call = self.place, proposal_scores.SUBMIT_SCORES
        try:
            answer = await self.node.simulate(place.scorer, place.registry, call_data(items), block=block)
        except CallReverted as error:
            refusals = refusals_in(error.data)
            if refusals is None:
                raise
        else:
            refusals = call.decode(answer)
        if len(refusals) != len(items):
            raise DecodeError(call.signature, f"{len(refusals)} answers for {len(items)} items")
        return refusals

    async def _judged(self, items: Sequence[Item], error: CallReverted) -> tuple[str, str | None]:
        intent = batch_intent(self.place, items, f"the trial of {items[0].logical_id}")
        judged = await judge_revert(self.node, intent, self.policy, error)
        return judged.reason or error.message, judged.revert_hex

    async def _doubted(self, refused: Sequence[tuple[Item, bytes]]) -> list[SetAside]:
        """Believe a refusal that our contracts define and that repeats at the finalised block."""
        if not refused:
            return []
        finalized = await self.node.header("finalized")
        try:
            again = await self._refusals([item for item, _ in refused], finalized.number)
        except (CallReverted, BlockMissing):
            again = (b"",) * len(refused)
        aside = []
        for (item, refusal), earlier in zip(refused, again, strict=True):
            repeated = earlier[:4] == refusal[:4]
            believed = repeated and _is_defined(refusal)
            doubt = "" if repeated else f" (not so at the finalised block {finalized.number})"
            aside.append(
                SetAside(
                    item=item,
                    reason=reason_of(refusal) + doubt,
                    revert_hex="0x" + refusal.hex() if believed else None,
                )
            )
        return aside

    async def fitted(self, items: Sequence[Item]) -> list[tuple[Item, ...]]:
        """Divide items that would be taken until each part fits into a transaction."""
        if len(items) < 2:  # by itself it is tried by its sending, which judges a revert
            return [tuple(items)] if items else []
        try:
            gas = await self.node.estimate_gas(self.place.scorer, self.place.registry, call_data(items))
        except CallReverted:
            gas = self.policy.gas_max
        if gas * (100 + self.policy.gas_margin_percent) // 100 <= self.policy.gas_max:
            return [tuple(items)]
        middle = len(items) // 2
        return [*await self.fitted(items[:middle]), *await self.fitted(items[middle:])]


OF_THE_CALL = frozenset({"AccessControlUnauthorizedAccount", "CommitmentRequired", "EnforcedPause"})
"""Refusals that concern whatever the key would submit to this registry."""


def _concerns_all(error: RpcError) -> bool:
    refusal = decode_error(error.data) if isinstance(error, CallReverted) else None
    return refusal is not None and refusal.name in OF_THE_CALL


def refusals_in(data: bytes) -> tuple[bytes, ...] | None:
    """Return what a batch of which nothing is taken reverts with, item by item; None for another revert."""
    found = proposal_scores.NOTHING_TAKEN.decode(data)
    refusals = found.arguments["refusals"] if found else None
    return refusals if isinstance(refusals, tuple) else None


def reason_of(refusal: bytes) -> str:
    """Return a refusal in words, or its bytes where nobody knows it."""
    words = str(decode_error(refusal) or f"0x{refusal.hex()}")
    return words if _is_defined(refusal) else f"{words} (not an error that the contract defines)"


def _is_defined(refusal: bytes) -> bool:
    known = decode_error(refusal)
    return known is not None and known.name not in SOLIDITY_ERRORS


def call_data(items: Sequence[Item]) -> bytes:
    """Return the call that submits these items together."""
    return proposal_scores.SUBMIT_SCORES.encode([item.submission for item in items])


def batch_intent(place: Place, items: Sequence[Item], logical_id: str) -> Intent:
    """Return the logical transaction that submits these items together."""
    return _intent(place, call_data(items), logical_id)


def single_intent(place: Place, item: Item) -> Intent:
    """Return the logical transaction that submits one item by itself."""
    submission = item.submission
    data = proposal_scores.SUBMIT_SCORE_UNDER_POLICY.encode(
        submission.proposal_id, int(submission.status), submission.score, submission.root, submission.policy
    )
    return _intent(place, data, item.logical_id)


def _intent(place: Place, data: bytes, logical_id: str) -> Intent:
    return Intent(
        chain_id=place.chain_id,
        sender=place.scorer,
        to=place.registry,
        data_hex="0x" + data.hex(),
        logical_id=logical_id,
    )
