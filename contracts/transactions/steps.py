"""The durable steps of sending: each is one boundary at which a killed worker's successor continues.

Invariants: S2 no transaction is broadcast before its bytes are stored: `sign_transaction` only signs, its
result is recorded, and `broadcast` takes nothing but recorded bytes. S3 by `reserve_nonce`.
They find the node, the key and the nonce book as dependencies, so that none of them is ever an argument.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import structlog

from contracts.rpc import Node, RpcError, RpcRefused
from contracts.transactions.chain import PENDING
from contracts.transactions.fees import FeeCapReached, Price, first_price, replacement_price
from contracts.transactions.metrics import WEI_PER_ETHER, SendingMetrics
from contracts.transactions.nonces import Claim, Limits, NonceBook, nonce_promise_id
from contracts.transactions.observation import Observation
from contracts.transactions.preparing import price_of
from contracts.transactions.refusals import read_refusal
from contracts.transactions.signers import Signers
from contracts.transactions.values import (
    Broadcast,
    BroadcastState,
    Confirmation,
    Intent,
    Position,
    Prepared,
    Reserved,
    SendingPolicy,
    Signed,
    Wait,
    Wish,
    WishKind,
)
from contracts.transactions.wishes import WishBook
from orchestrator import Info

TRANSFER_GAS = 21_000
FILLER_BUMP_PERCENT = 100
TAKEN_LOOKS_MIN = 2

log = structlog.get_logger(__name__)


async def reserve_nonce(
    info: Info, intent: Intent, prepared: Prepared, floor: int, workflow_id: str
) -> Reserved:
    """Return the nonce that belongs to this logical transaction from now on, `floor` or more.

    A halted key reserves none, nor does one that retires. While as many are in flight as the policy lets, it
    waits for a place until its watch ends; a nonce that was reserved before is found in any case.
    """
    book, policy = info.dependency(NonceBook), prepared.policy
    halt = await book.halted(chain_id=intent.chain_id, address=intent.sender)
    if halt is not None:
        reason = f"somebody else signs with the key of {intent.sender}: settle {halt} to go on"
        log.error("transaction.key_halted", logical_id=intent.logical_id, promise_id=halt, reason=reason)
        return Reserved(halt=halt)
    claim = Claim(
        chain_id=intent.chain_id,
        address=intent.sender,
        logical_id=intent.logical_id,
        workflow_id=workflow_id,
        cost=prepared.gas * prepared.max_fee_per_gas + intent.value,
    )
    retired = info.dependency(Signers).is_retiring(intent.sender)
    found = await _place(info, claim, policy, max(prepared.first_nonce, floor), retired=retired)
    if isinstance(found, Wait):
        return _without_place(info, intent, policy, found, retired=retired)
    log.info("transaction.nonce_reserved", logical_id=intent.logical_id, nonce=found)
    return Reserved(nonce=found)


async def _place(info: Info, claim: Claim, policy: SendingPolicy, first: int, *, retired: bool) -> int | Wait:
    book, observation = info.dependency(NonceBook), info.dependency(Observation)
    loop = asyncio.get_running_loop()
    end = loop.time() + policy.watch_ms / 1000
    looked_up_to = -1
    while True:
        mined = await observation.mined(claim.address)
        border = 0 if retired else mined + policy.in_flight_max
        # Beyond the border nothing becomes ours: hundreds may wait, and the store is asked when it has moved.
        if border > looked_up_to:
            looked_up_to = border
            since_ms = int(time.time() * 1000) - policy.budget_period_ms
            limits = Limits(border=border, budget=policy.budget, since_ms=since_ms)
            found = await book.reserve(claim, first=first, limits=limits)
            if found is not Wait.IN_FLIGHT:
                await _watch_budget(info, claim, policy, found, since_ms)
                return found
        if retired or loop.time() >= end:
            return Wait.IN_FLIGHT
        await asyncio.sleep(policy.poll_ms / 1000)


async def _watch_budget(
    info: Info, claim: Claim, policy: SendingPolicy, found: int | Wait, since_ms: int
) -> None:
    if policy.budget is None or found is Wait.IN_FLIGHT:
        return
    metrics = info.dependency(SendingMetrics)
    metrics.alarm("budget", claim.address, stands=found is Wait.GAS_BUDGET)
    if isinstance(found, int):
        spent = await info.dependency(NonceBook).spent_before(claim, found + 1, since_ms=since_ms)
        metrics.spent.labels(claim.address).set(spent / WEI_PER_ETHER)


def _without_place(
    info: Info, intent: Intent, policy: SendingPolicy, wait: Wait, *, retired: bool
) -> Reserved:
    if retired:
        log.info("transaction.key_retired", sender=intent.sender, logical_id=intent.logical_id)
        return Reserved(retired=True)
    info.dependency(SendingMetrics).waits.labels(wait).inc()
    if wait is Wait.GAS_BUDGET:
        log.warning(
            "transaction.gas_budget",
            sender=intent.sender,
            logical_id=intent.logical_id,
            budget=policy.budget,
            period_ms=policy.budget_period_ms,
        )
    return Reserved(wait=wait)


async def sign_transaction(info: Info, intent: Intent, nonce: int, prepared: Prepared) -> Signed:
    """Sign at the prepared price. What this returns is stored before anyone may broadcast it (S2)."""
    return await info.dependency(Signers).sign(
        intent, nonce=nonce, gas=prepared.gas, price=price_of(prepared)
    )


async def sign_replacement(
    info: Info,
    intent: Intent,
    previous: Signed,
    policy: SendingPolicy,
    *,
    fill: bool,
    wish: Wish | None = None,
) -> Signed | None:
    """Sign again on the same nonce at a higher price; None where the configured cap forbids one.

    With `fill` it is an empty transfer to oneself, and stays one: it only uses the nonce up, so that what no
    node takes, or an operator gave up, holds back nothing behind it. A `wish` may bring a cap of its own; one
    that the cap forbids stays open.
    """
    if wish is not None and wish.max_fee_per_gas is not None:
        policy = replace(policy, max_fee_per_gas=wish.max_fee_per_gas, max_priority_fee_per_gas=None)
    offered = Price(
        max_fee_per_gas=previous.max_fee_per_gas, max_priority_fee_per_gas=previous.max_priority_fee_per_gas
    )
    fees = await info.dependency(Observation).fees()
    try:
        price = replacement_price(fees, offered, policy)
    except FeeCapReached as error:
        log.warning("transaction.fee_cap", logical_id=intent.logical_id, reason=str(error))
        return None
    filler = fill or previous.filler
    if filler:
        given_up = previous.cancelled or (wish is not None and wish.kind is WishKind.CANCEL)
        signed = replace(await _sign_filler(info, intent, previous.nonce, price), cancelled=given_up)
    else:
        signed = await info.dependency(Signers).sign(
            intent, nonce=previous.nonce, gas=previous.gas, price=price
        )
    if wish is not None:
        await info.dependency(WishBook).hear(wish)
    info.dependency(SendingMetrics).replaced.inc()
    log.warning(
        "transaction.replaced", logical_id=intent.logical_id, tx_hash=signed.transaction_hash, filler=filler
    )
    return signed


async def _sign_filler(info: Info, intent: Intent, nonce: int, price: Price) -> Signed:
    nothing = replace(intent, to=intent.sender, data_hex="0x", value=0)
    signed = await info.dependency(Signers).sign(nothing, nonce=nonce, gas=TRANSFER_GAS, price=price)
    return replace(signed, filler=True)


async def fill_gap(
    info: Info, intent: Intent, nonce: int, workflow_id: str, policy: SendingPolicy
) -> Signed | None:
    """Sign an empty transfer for the key's next nonce if nobody will send on it and `nonce` waits behind it.

    None where the next nonce is ours or has a living owner. Several may fill one gap: the chain takes one.
    """
    node = info.dependency(Node)
    gap = await node.nonce(intent.sender, "latest")
    if gap >= nonce or not await info.dependency(NonceBook).abandoned(
        chain_id=intent.chain_id, address=intent.sender, nonce=gap, workflow_id=workflow_id
    ):
        return None
    fees = await node.fees()
    # Twice today's price: what its owner broadcast before it was cancelled may still lie in a pool.
    price = replacement_price(fees, first_price(fees, policy), policy, FILLER_BUMP_PERCENT)
    info.dependency(SendingMetrics).gaps_filled.inc()
    log.warning("transaction.gap_filled", sender=intent.sender, nonce=gap, logical_id=intent.logical_id)
    return await _sign_filler(info, intent, gap, price)


async def broadcast_transaction(
    info: Info, signed: Signed, policy: SendingPolicy, *, orphaned: bool = False
) -> Broadcast:
    """Give recorded bytes to the node. A transaction that the node already holds is a success.

    `orphaned` says that it was mined before and a reorg took it back. Where the node takes no gaps, it waits
    a while for the earlier nonces, which other workflows send.
    """
    node, metrics = info.dependency(Node), info.dependency(SendingMetrics)
    raw = bytes.fromhex(signed.raw_hex.removeprefix("0x"))
    if orphaned:
        metrics.orphaned.inc()
        log.warning("transaction.orphaned", tx_hash=signed.transaction_hash, nonce=signed.nonce)
    loop = asyncio.get_running_loop()
    end = loop.time() + policy.watch_ms / 1000
    while True:
        answer = await _send(node, raw)
        if answer.state is not BroadcastState.WAITS_FOR_EARLIER_NONCE or loop.time() >= end:
            metrics.broadcasts.labels(answer.state).inc()
            log.info("transaction.broadcast", tx_hash=signed.transaction_hash, state=str(answer.state))
            return answer
        await asyncio.sleep(policy.poll_ms / 1000)


async def _send(node: Node, raw: bytes) -> Broadcast:
    try:
        await node.send_raw(raw)
    except RpcRefused as error:
        return read_refusal(error)
    return Broadcast(state=BroadcastState.ACCEPTED)


async def confirm_transaction(
    info: Info, intent: Intent, nonce: int, hashes: list[str], policy: SendingPolicy
) -> Confirmation:
    """Watch the chain until the nonce's transaction is final, or for a while, and return where it stands.

    A look that fails is made up for by the next one. That another transaction took the nonce is believed when
    every look to the end of the watch says so, for one node of several may lag; it halts the key, since
    somebody else signs with it. At the end of a watch in vain an operator's wish is heard. Raises RpcError if
    no look at all succeeded.
    """
    seen = await _watch(info.dependency(Observation), intent.sender, nonce, hashes, policy)
    if seen.position in (Position.FINAL, Position.TAKEN):
        await info.dependency(NonceBook).spent(
            chain_id=intent.chain_id,
            address=intent.sender,
            nonce=nonce,
            transaction_hash=seen.transaction_hash,
            fee=seen.fee,
        )
        _count_final(info.dependency(SendingMetrics), intent.sender, seen)
    if seen.position is Position.TAKEN:
        halt = await info.dependency(NonceBook).halt(
            chain_id=intent.chain_id, address=intent.sender, nonce=nonce, logical_id=intent.logical_id
        )
        log.error("transaction.foreign_nonce", logical_id=intent.logical_id, nonce=nonce, promise_id=halt)
    if seen.position is Position.PENDING:
        nonce_id = nonce_promise_id(intent.chain_id, intent.sender, nonce)
        asked = await info.dependency(WishBook).open(nonce_id)
        return replace(seen, wish=asked)
    return seen


def _count_final(metrics: SendingMetrics, sender: str, seen: Confirmation) -> None:
    succeeded = "succeeded" if seen.succeeded else "reverted"
    metrics.final.labels("foreign" if seen.position is Position.TAKEN else succeeded).inc()
    metrics.fees.labels(sender).inc((seen.fee or 0) / WEI_PER_ETHER)


async def _watch(
    observation: Observation, sender: str, nonce: int, hashes: list[str], policy: SendingPolicy
) -> Confirmation:
    loop = asyncio.get_running_loop()
    end = loop.time() + policy.watch_ms / 1000
    seen: Confirmation | None = None
    failure: RpcError | None = None
    taken, mined = 0, False
    while True:
        try:
            seen = await observation.look(sender, nonce, hashes, policy.requirement)
        except RpcError as error:
            failure = error
        else:
            mined = mined or seen.position is Position.MINED
            taken = taken + 1 if seen.position is Position.TAKEN else 0
            if seen.position in (Position.CONFIRMED, Position.FINAL):
                return seen
        if loop.time() >= end:
            break
        await asyncio.sleep(policy.poll_ms / 1000)
    if seen is None and failure is not None:
        raise failure
    doubtful = seen is None or (seen.position is Position.TAKEN and taken < TAKEN_LOOKS_MIN)
    if doubtful or seen is None:
        return PENDING
    # Told at the end of the watch and not at once: where one node of several lags, looks contradict in turn.
    return replace(seen, orphaned=mined) if seen.position is Position.PENDING else seen
