"""The durable steps of sending: each is one boundary at which a killed worker's successor continues.

Invariants: S2 no transaction is broadcast before its bytes are stored: `sign_transaction` only signs, its
result is recorded, and `broadcast` takes nothing but recorded bytes. S3 by `reserve_nonce`.
They find the node, the key and the nonce book as dependencies, so that none of them is ever an argument.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

import structlog

from contracts.bindings import decode_error
from contracts.rpc import CallReverted, Node, RpcError, RpcRefused, WrongChain
from contracts.transactions.chain import PENDING, look
from contracts.transactions.fees import FeeCapReached, Price, first_price, replacement_price
from contracts.transactions.nonces import NonceBook
from contracts.transactions.refusals import means_short_of_funds, read_refusal
from contracts.transactions.signer import Signer
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
    Signed,
)
from orchestrator import Info

TRANSFER_GAS = 21_000
FILLER_BUMP_PERCENT = 100
TAKEN_LOOKS_MIN = 2

log = structlog.get_logger(__name__)


async def prepare_transaction(info: Info, intent: Intent) -> Prepared:
    """Try the intent on the newest state, before any nonce is reserved for it.

    A transaction that cannot succeed must never own a nonce: one that is reserved and not sent would hold
    back every later transaction of the key.
    """
    node, policy = info.dependency(Node), info.dependency(SendingPolicy)
    info.dependency(Signer).check(intent.sender)
    actual = await node.chain_id()
    if actual != intent.chain_id:
        raise WrongChain(intent.chain_id, actual, node.endpoint)
    try:
        estimate = await node.estimate_gas(intent.sender, intent.to, intent.data, intent.value)
    except CallReverted as error:
        return _refused(policy, error)
    except RpcRefused as error:
        if means_short_of_funds(error):
            return Prepared(state=PreparedState.SHORT_OF_FUNDS, policy=policy, reason=error.message)
        raise
    gas = estimate * (100 + policy.gas_margin_percent) // 100
    price = first_price(await node.fees(), policy.max_fee_per_gas)
    needed, balance = gas * price.max_fee_per_gas + intent.value, await node.balance(intent.sender)
    if balance < needed:
        reason = f"{intent.sender} has {balance} wei and needs {needed}: send it funds"
        log.warning("transaction.short_of_funds", sender=intent.sender, balance=balance, needed=needed)
        return Prepared(state=PreparedState.SHORT_OF_FUNDS, policy=policy, reason=reason)
    return Prepared(
        state=PreparedState.READY,
        policy=policy,
        gas=gas,
        first_nonce=await node.nonce(intent.sender, "latest"),
        max_fee_per_gas=price.max_fee_per_gas,
        max_priority_fee_per_gas=price.max_priority_fee_per_gas,
    )


def _refused(policy: SendingPolicy, error: CallReverted) -> Prepared:
    return Prepared(
        state=PreparedState.REFUSED,
        policy=policy,
        reason=str(decode_error(error.data) or error.message),
        revert_hex="0x" + error.data.hex(),
    )


async def reserve_nonce(info: Info, intent: Intent, first: int, workflow_id: str) -> Reserved:
    """Return the nonce that belongs to this logical transaction from now on, `first` or more.

    A halted key reserves none.
    """
    book = info.dependency(NonceBook)
    halt = await book.halted(chain_id=intent.chain_id, address=intent.sender)
    if halt is not None:
        reason = f"somebody else signs with the key of {intent.sender}: settle {halt} to go on"
        log.error("transaction.key_halted", logical_id=intent.logical_id, promise_id=halt, reason=reason)
        return Reserved(halt=halt)
    nonce = await book.reserve(
        chain_id=intent.chain_id,
        address=intent.sender,
        logical_id=intent.logical_id,
        workflow_id=workflow_id,
        first=first,
    )
    log.info("transaction.nonce_reserved", logical_id=intent.logical_id, nonce=nonce)
    return Reserved(nonce=nonce)


async def sign_transaction(info: Info, intent: Intent, nonce: int, prepared: Prepared) -> Signed:
    """Sign at the prepared price. What this returns is stored before anyone may broadcast it (S2)."""
    price = Price(
        max_fee_per_gas=prepared.max_fee_per_gas, max_priority_fee_per_gas=prepared.max_priority_fee_per_gas
    )
    return info.dependency(Signer).sign(intent, nonce=nonce, gas=prepared.gas, price=price)


async def sign_replacement(
    info: Info, intent: Intent, previous: Signed, policy: SendingPolicy, *, fill: bool
) -> Signed | None:
    """Sign again on the same nonce at a higher price; None where the configured cap forbids one.

    With `fill` it is an empty transfer to oneself, and stays one: it only uses the nonce up, so that what no
    node takes holds back nothing behind it.
    """
    offered = Price(
        max_fee_per_gas=previous.max_fee_per_gas, max_priority_fee_per_gas=previous.max_priority_fee_per_gas
    )
    fees = await info.dependency(Node).fees()
    try:
        price = replacement_price(fees, offered, policy.bump_percent, policy.max_fee_per_gas)
    except FeeCapReached as error:
        log.warning("transaction.fee_cap", logical_id=intent.logical_id, reason=str(error))
        return None
    filler = fill or previous.filler
    if filler:
        signed = _sign_filler(info, intent, previous.nonce, price)
    else:
        signed = info.dependency(Signer).sign(intent, nonce=previous.nonce, gas=previous.gas, price=price)
    log.warning(
        "transaction.replaced", logical_id=intent.logical_id, tx_hash=signed.transaction_hash, filler=filler
    )
    return signed


def _sign_filler(info: Info, intent: Intent, nonce: int, price: Price) -> Signed:
    nothing = replace(intent, to=intent.sender, data_hex="0x", value=0)
    signed = info.dependency(Signer).sign(nothing, nonce=nonce, gas=TRANSFER_GAS, price=price)
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
    price = replacement_price(
        fees, first_price(fees, policy.max_fee_per_gas), FILLER_BUMP_PERCENT, policy.max_fee_per_gas
    )
    log.warning("transaction.gap_filled", sender=intent.sender, nonce=gap, logical_id=intent.logical_id)
    return _sign_filler(info, intent, gap, price)


async def broadcast_transaction(info: Info, signed: Signed, policy: SendingPolicy) -> Broadcast:
    """Give recorded bytes to the node. A transaction that the node already holds is a success.

    Where the node takes no gaps, this waits a while for the earlier nonces, which other workflows send.
    """
    node = info.dependency(Node)
    raw = bytes.fromhex(signed.raw_hex.removeprefix("0x"))
    loop = asyncio.get_running_loop()
    end = loop.time() + policy.watch_ms / 1000
    while True:
        answer = await _send(node, raw)
        if answer.state is not BroadcastState.WAITS_FOR_EARLIER_NONCE or loop.time() >= end:
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
    somebody else signs with it. Raises RpcError if no look at all succeeded.
    """
    node = info.dependency(Node)
    seen = await _watch(node, intent.sender, nonce, hashes, policy)
    if seen.position in (Position.FINAL, Position.TAKEN):
        await info.dependency(NonceBook).spent(
            chain_id=intent.chain_id,
            address=intent.sender,
            nonce=nonce,
            transaction_hash=seen.transaction_hash,
        )
    if seen.position is Position.TAKEN:
        halt = await info.dependency(NonceBook).halt(
            chain_id=intent.chain_id, address=intent.sender, nonce=nonce, logical_id=intent.logical_id
        )
        log.error("transaction.foreign_nonce", logical_id=intent.logical_id, nonce=nonce, promise_id=halt)
    return seen


async def _watch(
    node: Node, sender: str, nonce: int, hashes: list[str], policy: SendingPolicy
) -> Confirmation:
    loop = asyncio.get_running_loop()
    end = loop.time() + policy.watch_ms / 1000
    seen: Confirmation | None = None
    failure: RpcError | None = None
    taken = 0
    while True:
        try:
            seen = await look(node, sender, nonce, hashes, policy.confirmations)
        except RpcError as error:
            failure = error
        else:
            taken = taken + 1 if seen.position is Position.TAKEN else 0
            if seen.position is Position.FINAL:
                return seen
        if loop.time() >= end:
            break
        await asyncio.sleep(policy.poll_ms / 1000)
    if seen is None and failure is not None:
        raise failure
    doubtful = seen is None or (seen.position is Position.TAKEN and taken < TAKEN_LOOKS_MIN)
    return PENDING if doubtful or seen is None else seen


async def explain_revert(info: Info, intent: Intent) -> Prepared:
    """Ask why a mined transaction reverted, by trying it once more; the reason may be gone by now."""
    policy = info.dependency(SendingPolicy)
    try:
        await info.dependency(Node).estimate_gas(intent.sender, intent.to, intent.data, intent.value)
    except CallReverted as error:
        return _refused(policy, error)
    except RpcRefused as error:
        return Prepared(state=PreparedState.REFUSED, policy=policy, reason=error.message)
    return Prepared(state=PreparedState.READY, policy=policy)
