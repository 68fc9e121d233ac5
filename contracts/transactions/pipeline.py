"""The durable sending of one logical transaction, as a workflow of recorded steps.

prepare -> reserve a nonce -> sign (stored) -> broadcast -> confirm, with durable sleeps where it must wait.
Once a nonce is reserved something is always sent on it, until that or another transaction there is final: a
nonce that stays unused would hold back every later one of the key. A step that fails is tried again.

Invariants: S1 with the callers' logical ids. S2, S3 in `steps`. A logical transaction takes another nonce
only after a different transaction on the first is finalised.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import count

from contracts.bindings import decode_error
from contracts.transactions.nonces import follower_id, nonce_promise_id
from contracts.transactions.patience import park_s, patiently
from contracts.transactions.preparing import explain_revert, prepare_transaction
from contracts.transactions.steps import (
    broadcast_transaction,
    confirm_transaction,
    fill_gap,
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
    Reserved,
    SendingPolicy,
    Sent,
    SentStatus,
    Signed,
    Wait,
    WishKind,
)
from orchestrator import ApplicationError, Context, DurableFuture


async def send_transaction(ctx: Context, intent: Intent) -> Sent:
    """Send a logical transaction exactly once and return how it ended.

    Run it detached, so that cancelling its caller leaves no gap. `REFUSED` means that it had no effect and
    can have none; the other ends stand on the chain as the policy requires. Where that is less than finality,
    a workflow of its own follows the transaction until it is final, and sends it again under its nonce if a
    reorg takes it back.
    """
    floor = 0
    for attempt in count():
        prepared = await _prepared(ctx, intent)
        if prepared.state is PreparedState.REFUSED:
            return _refused(intent, prepared.reason, prepared.revert_hex)
        reserved = await patiently(ctx, reserve_nonce, intent, prepared, floor, ctx.id)
        if reserved.retired:
            return _refused(intent, f"{intent.sender} takes no new transactions: its key retires", None)
        if reserved.nonce is None:
            await _place_may_be_free(ctx, reserved, prepared.policy, attempt)
            continue
        nonce = reserved.nonce
        delivery = Delivery(signed=(await patiently(ctx, sign_transaction, intent, nonce, prepared),))
        delivery = await _delivered(ctx, intent, delivery, prepared.policy)
        if delivery.seen.position is Position.CONFIRMED and delivery.final_filler() is not None:
            # What used the nonce up counts when it is final: a reorg may yet bring what it replaced.
            delivery = await _delivered(ctx, intent, delivery, replace(prepared.policy, early=False))
        if delivery.seen.position is Position.CONFIRMED:
            follower = follower_id(nonce_promise_id(intent.chain_id, intent.sender, nonce))
            ctx.options(id=follower).detached(
                follow_transaction, intent, delivery.signed, prepared.policy, bool(delivery.seen.succeeded)
            )
        if delivery.seen.position is not Position.TAKEN:
            return await _ended(ctx, intent, delivery)
        # Somebody else signs with this key, which is halted now. Once an operator lets it go on, the intent
        # is tried anew, for what took the nonce may have done what was wanted.
        floor = nonce + 1
    raise AssertionError("count() does not end")


async def follow_transaction(
    ctx: Context, intent: Intent, signed: tuple[Signed, ...], policy: SendingPolicy, succeeded: bool = True
) -> Sent:
    """Follow a transaction that was confirmed early until it is final; `signed` is all of its nonce.

    A reorg that takes it back is made up for with the same bytes, and with replacements where they get stuck.
    Somebody else's transaction in its place halts the key, as ever, and the intent is then tried anew; so it
    is where its nonce was used up by an empty transfer, and where it reverts in the new branch although its
    caller was told that it `succeeded`: the caller has long gone on.
    """
    await ctx.sleep(policy.pause_ms_max / 1000)
    patient = replace(policy, early=False, watch_ms=LOOKS * policy.poll_ms, pause_ms=policy.pause_ms_max)
    mined = Confirmation(position=Position.MINED)
    delivery = await _delivered(ctx, intent, Delivery(signed=signed, seen=mined), patient)
    stands = delivery.seen.position is Position.FINAL and delivery.final_filler() is None
    if stands and (delivery.seen.succeeded or not succeeded):
        return await _ended(ctx, intent, delivery)
    return await _sent_anew(ctx, intent)


async def _sent_anew(ctx: Context, intent: Intent) -> Sent:
    """Send under a new nonce what is gone from the chain, until it stands or can never stand."""
    for attempt in count():
        number = f"-{attempt + 1}" if attempt else ""
        sent = await send_detached(ctx, replace(intent, logical_id=f"{intent.logical_id}-again{number}"))
        refusal = decode_error(bytes.fromhex((sent.revert_hex or "0x")[2:]))
        if refusal is None or refusal.name not in PASSING:
            return sent
        await ctx.sleep(park_s(attempt))
    raise AssertionError("count() does not end")


def send_detached(ctx: Context, intent: Intent) -> DurableFuture[Sent]:
    """Start `send_transaction` beside the caller, where those who look for transactions find it."""
    return ctx.options(tags=SENDING_TAGS).detached(send_transaction, intent)


SENDING_TAGS = {"sending": "transaction"}
PASSING = frozenset({"AccessControlUnauthorizedAccount", "EnforcedPause"})
"""What a registry refuses until its admin changes it: nothing is lost by waiting."""
ENDS = (Position.CONFIRMED, Position.FINAL, Position.TAKEN)
LOOKS = 4
"""Looks at the chain each time that a confirmed transaction is followed; one node of several may lag."""
NOT_SEEN = Confirmation(position=Position.PENDING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What was signed for one nonce, newest last, and what node and chain said to it.

    `waiting` and `refused` count the watches in vain since the newest was signed: those in which the node had
    it, and those in which the node would not have it. What an operator asked for is in `seen`.
    """

    signed: tuple[Signed, ...]
    sent: Broadcast | None = None
    seen: Confirmation = NOT_SEEN
    waiting: int = 0
    refused: int = 0
    was_mined: bool = False

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
            was_mined=pending and (self.seen.position is Position.MINED or seen.orphaned),
        )

    def final_filler(self) -> Signed | None:
        """Return the transaction that stands on the chain if it is one that only used the nonce up."""
        fillers = (each for each in self.signed if each.filler)
        return next((each for each in fillers if each.transaction_hash == self.seen.transaction_hash), None)


async def _prepared(ctx: Context, intent: Intent) -> Prepared:
    for attempt in count():
        prepared = await patiently(ctx, prepare_transaction, intent)
        if prepared.state in (PreparedState.READY, PreparedState.REFUSED):
            return prepared
        await ctx.sleep(pause_s(prepared.policy, attempt))
    raise AssertionError("count() does not end")


async def _place_may_be_free(ctx: Context, reserved: Reserved, policy: SendingPolicy, attempt: int) -> None:
    """Wait for what keeps a key from claiming another nonce: an operator, earlier transactions, or time."""
    if reserved.halt is not None:
        await _released(ctx, reserved.halt)
    elif reserved.wait is Wait.GAS_BUDGET:
        await ctx.sleep(pause_s(policy, attempt))
    else:
        # The step itself has waited for a place, for as long as a watch.
        await ctx.sleep(policy.pause_ms / 1000)


async def _released(ctx: Context, halt: str | None) -> None:
    """Wait until an operator has settled the promise of a halted key, in whatever way."""
    try:
        await ctx.promise(id=halt)
    except ApplicationError:
        return


async def _delivered(ctx: Context, intent: Intent, delivery: Delivery, policy: SendingPolicy) -> Delivery:
    """Bring a transaction of one nonce onto the chain; what is seen last is one of `ENDS`.

    What a reorg took back is sent again at once, and watched as if it were new: however often that happens,
    no pause grows by it.
    """
    attempt = -1
    while True:
        delivery = await _watched(ctx, intent, delivery, policy)
        if delivery.seen.position in ENDS:
            return delivery
        if delivery.was_mined and delivery.seen.wish is None:
            attempt = -1
            continue
        attempt += 1
        filler = await _filler(ctx, intent, delivery, policy, attempt)
        another = None if filler else await _another(ctx, intent, delivery, policy)
        if filler is not None:
            await patiently(ctx, broadcast_transaction, filler, policy)
        elif another is not None:
            delivery = Delivery(signed=(*delivery.signed, another))
        else:
            await ctx.sleep(pause_s(policy, attempt))


async def _watched(ctx: Context, intent: Intent, delivery: Delivery, policy: SendingPolicy) -> Delivery:
    """Broadcast what is not on the chain, or not any more, and look where it stands."""
    sent = None
    if delivery.seen.position is Position.PENDING:
        orphaned = delivery.was_mined
        sent = await patiently(ctx, broadcast_transaction, delivery.newest, policy, orphaned=orphaned)
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
    """Return another transaction for this nonce if the newest was watched in vain for long enough.

    What an operator asks for is signed at once, and as often as it is asked for.
    """
    wish = delivery.seen.wish
    if wish is not None:
        cancelled = wish.kind is WishKind.CANCEL
        return await patiently(
            ctx, sign_replacement, intent, delivery.newest, policy, fill=cancelled, wish=wish
        )
    refused = delivery.refused >= policy.bump_after_watches
    if len(delivery.signed) > policy.bumps_max or not (
        refused or delivery.waiting >= policy.bump_after_watches
    ):
        return None
    return await patiently(ctx, sign_replacement, intent, delivery.newest, policy, fill=refused)


async def _ended(ctx: Context, intent: Intent, delivery: Delivery) -> Sent:
    final = delivery.seen
    filler = delivery.final_filler()
    # Whichever empty transfer was mined: one may have been signed before the operator gave it up.
    if filler is not None and any(each.cancelled for each in delivery.signed):
        return Sent(
            status=SentStatus.CANCELLED,
            logical_id=intent.logical_id,
            nonce=filler.nonce,
            reason="an operator cancelled it; its nonce was used up by an empty transfer",
        )
    if filler is not None:
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
