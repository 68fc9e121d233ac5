"""The durable sending of one logical transaction, as a workflow of recorded steps.

prepare -> reserve a nonce -> sign (stored) -> broadcast -> confirm, with durable sleeps where it must wait.
Once a nonce is reserved something is always sent on it, until that or another transaction there is final: a
nonce that stays unused would hold back every later one of the key. A step that fails is tried again.

Invariants: S1 with the callers' logical ids. S2, S3 in `steps`. A logical transaction takes another nonce
only after a different transaction on the first is finalised.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count

from contracts.transactions.patience import patiently
from contracts.transactions.steps import (
    broadcast_transaction,
    confirm_transaction,
    explain_revert,
    fill_gap,
    prepare_transaction,
    reserve_nonce,
    sign_replacement,
    sign_transaction,
)
from contracts.transactions.values import (
    Broadcast,
    BroadcastState,
    Confirmation,
    Intent,
    Position,
    Prepared,
    PreparedState,
    SendingPolicy,
    Sent,
    SentStatus,
    Signed,
)
from orchestrator import ApplicationError, Context


async def send_transaction(ctx: Context, intent: Intent) -> Sent:
    """Send a logical transaction exactly once and return how it ended.

    Run it detached, so that cancelling its caller leaves no gap. `REFUSED` means that it had no effect and
    can have none; the other ends are what the chain finalised.
    """
    floor = 0
    while True:
        prepared = await _prepared(ctx, intent)
        if prepared.state is PreparedState.REFUSED:
            return _refused(intent, prepared.reason, prepared.revert_hex)
        reserved = await patiently(ctx, reserve_nonce, intent, max(prepared.first_nonce, floor), ctx.id)
        if reserved.nonce is None:
            await _released(ctx, reserved.halt)
            continue
        nonce = reserved.nonce
        delivery = Delivery(signed=(await patiently(ctx, sign_transaction, intent, nonce, prepared),))
        delivery = await _delivered(ctx, intent, delivery, prepared.policy)
        if delivery.seen.position is Position.FINAL:
            return await _ended(ctx, intent, delivery)
        # Somebody else signs with this key, which is halted now. Once an operator lets it go on, the intent
        # is tried anew, for what took the nonce may have done what was wanted.
        floor = nonce + 1


NOT_SEEN = Confirmation(position=Position.PENDING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What was signed for one nonce, newest last, and what node and chain said to it.

    `waiting` and `refused` count the watches in vain since the newest was signed: those in which the node had
    it, and those in which the node would not have it.
    """

    signed: tuple[Signed, ...]
    sent: Broadcast | None = None
    seen: Confirmation = NOT_SEEN
    waiting: int = 0
    refused: int = 0

    @property
    def newest(self) -> Signed:
        """The transaction that is broadcast now."""
        return self.signed[-1]

    @property
    def hashes(self) -> list[str]:
        """Every hash that may turn up on the chain under this nonce."""
        return [each.transaction_hash for each in self.signed]

    def watched(self, sent: Broadcast | None, seen: Confirmation) -> Delivery:
        """Return the delivery after one more watch."""
        pending = seen.position is Position.PENDING
        state = sent.state if sent and pending else None
        priced = state in (BroadcastState.ACCEPTED, BroadcastState.UNDERPRICED)
        return Delivery(
            signed=self.signed,
            sent=sent,
            seen=seen,
            waiting=self.waiting + 1 if priced else 0,
            refused=self.refused + 1 if state is BroadcastState.REFUSED else 0,
        )

    def final_is_filler(self) -> bool:
        """Tell whether the transaction that the chain finalised is one that only used the nonce up."""
        return any(
            each.filler and each.transaction_hash == self.seen.transaction_hash for each in self.signed
        )


async def _prepared(ctx: Context, intent: Intent) -> Prepared:
    for attempt in count():
        prepared = await patiently(ctx, prepare_transaction, intent)
        if prepared.state is not PreparedState.SHORT_OF_FUNDS:
            return prepared
        await ctx.sleep(pause_s(prepared.policy, attempt))
    raise AssertionError("count() does not end")


async def _released(ctx: Context, halt: str | None) -> None:
    """Wait until an operator has settled the promise of a halted key, in whatever way."""
    try:
        await ctx.promise(id=halt)
    except ApplicationError:
        return


async def _delivered(ctx: Context, intent: Intent, delivery: Delivery, policy: SendingPolicy) -> Delivery:
    """Bring a transaction of one nonce onto the chain for good; what is seen last is `FINAL` or `TAKEN`."""
    for attempt in count():
        delivery = await _watched(ctx, intent, delivery, policy)
        if delivery.seen.position in (Position.FINAL, Position.TAKEN):
            return delivery
        filler = await _filler(ctx, intent, delivery, policy, attempt)
        another = None if filler else await _another(ctx, intent, delivery, policy)
        if filler is not None:
            await patiently(ctx, broadcast_transaction, filler, policy)
        elif another is not None:
            delivery = Delivery(signed=(*delivery.signed, another))
        else:
            await ctx.sleep(pause_s(policy, attempt))
    raise AssertionError("count() does not end")


async def _watched(ctx: Context, intent: Intent, delivery: Delivery, policy: SendingPolicy) -> Delivery:
    """Broadcast what is not on the chain, or not any more, and look where it stands."""
    sent = None
    if delivery.seen.position is Position.PENDING:
        sent = await patiently(ctx, broadcast_transaction, delivery.newest, policy)
    nonce = delivery.newest.nonce
    seen = await patiently(ctx, confirm_transaction, intent, nonce, delivery.hashes, policy)
    return delivery.watched(sent, seen)


async def _filler(
    ctx: Context, intent: Intent, delivery: Delivery, policy: SendingPolicy, attempt: int
) -> Signed | None:
    """Return what closes a gap before this nonce that nobody else closes; asked for once in a while."""
    if delivery.seen.position is not Position.PENDING or (attempt + 1) % policy.bump_after_watches:
        return None
    return await patiently(ctx, fill_gap, intent, delivery.newest.nonce, ctx.id, policy)


async def _another(ctx: Context, intent: Intent, delivery: Delivery, policy: SendingPolicy) -> Signed | None:
    """Return another transaction for this nonce if the newest was watched in vain for long enough."""
    refused = delivery.refused >= policy.bump_after_watches
    if len(delivery.signed) > policy.bumps_max or not (
        refused or delivery.waiting >= policy.bump_after_watches
    ):
        return None
    return await patiently(ctx, sign_replacement, intent, delivery.newest, policy, fill=refused)


async def _ended(ctx: Context, intent: Intent, delivery: Delivery) -> Sent:
    final = delivery.seen
    if delivery.final_is_filler():
        return _refused(intent, "no node took the transaction; its nonce was used up by an empty one", None)
    explained = None if final.succeeded else await patiently(ctx, explain_revert, intent)
    return Sent(
        status=SentStatus.CONFIRMED if final.succeeded else SentStatus.REVERTED,
        logical_id=intent.logical_id,
        transaction_hash=final.transaction_hash,
        block_number=final.block_number,
        block_hash=final.block_hash,
        gas_used=final.gas_used,
        nonce=delivery.newest.nonce,
        reason=explained.reason if explained else None,
        revert_hex=explained.revert_hex if explained else None,
    )


def _refused(intent: Intent, reason: str | None, revert_hex: str | None) -> Sent:
    return Sent(status=SentStatus.REFUSED, logical_id=intent.logical_id, reason=reason, revert_hex=revert_hex)


def pause_s(policy: SendingPolicy, attempt: int) -> float:
    """Return the durable pause after the `attempt`-th watch (from 0): doubling, up to the policy's limit."""
    return float(min(policy.pause_ms * 2 ** min(attempt, 32), policy.pause_ms_max)) / 1000
