"""The trial of a transaction before any nonce is reserved for it, with the alarms of its price and payer.

A revert is believed only when it is one that the contracts define and it repeats at a finalised block; one
that is not may come from a node that lags or from a state that a reorg takes back, and is tried again.
"""

from __future__ import annotations

import structlog

from contracts.bindings import decode_error
from contracts.rpc import CallReverted, Node, RpcRefused, WrongChain
from contracts.transactions.fees import FeeCapReached, Price, first_price
from contracts.transactions.metrics import WEI_PER_ETHER, SendingMetrics
from contracts.transactions.observation import Observation
from contracts.transactions.refusals import means_short_of_funds
from contracts.transactions.signers import Signers
from contracts.transactions.values import Intent, Prepared, PreparedState, SendingPolicy
from orchestrator import Info

GWEI = 10**9
SOLIDITY_ERRORS = frozenset({"Error", "Panic"})
"""Reverts with a text or a panic: a contract's bug or a node's words, and no refusal that it defines."""

log = structlog.get_logger(__name__)


async def prepare_transaction(info: Info, intent: Intent) -> Prepared:
    """Try the intent on the newest state, before any nonce is reserved for it.

    A transaction that cannot succeed must never own a nonce: one that is reserved and not sent would hold
    back every later transaction of the key.
    """
    node, policy = info.dependency(Node), info.dependency(SendingPolicy)
    info.dependency(Signers).check(intent.sender)
    actual = await info.dependency(Observation).chain_id()
    if actual != intent.chain_id:
        raise WrongChain(intent.chain_id, actual, node.endpoint)
    try:
        estimate = await node.estimate_gas(intent.sender, intent.to, intent.data, intent.value)
    except CallReverted as error:
        return await judge_revert(node, intent, policy, error)
    except RpcRefused as error:
        if means_short_of_funds(error):
            return _short_of_funds(info, intent, policy, error.message)
        raise
    if estimate > policy.gas_max:
        reason = f"it needs {estimate} gas and one transaction may use {policy.gas_max}: split it"
        return Prepared(state=PreparedState.REFUSED, policy=policy, reason=reason)
    gas = min(estimate * (100 + policy.gas_margin_percent) // 100, policy.gas_max)
    return await _priced(info, intent, policy, gas)


async def _priced(info: Info, intent: Intent, policy: SendingPolicy, gas: int) -> Prepared:
    observation, metrics = info.dependency(Observation), info.dependency(SendingMetrics)
    fees = await observation.fees()
    now = fees.base_fee + fees.priority_fee
    metrics.gas_price.set(now / GWEI)
    dear = policy.fee_alarm is not None and now > policy.fee_alarm
    metrics.alarm("fee", intent.sender, stands=dear)
    if dear:
        log.warning("transaction.fee_alarm", price=now, alarm=policy.fee_alarm, logical_id=intent.logical_id)
    try:
        price = first_price(fees, policy)
    except FeeCapReached as error:
        metrics.alarm("fee", intent.sender, stands=True)
        metrics.waits.labels(PreparedState.FEE_CAP).inc()
        log.warning("transaction.fee_cap", logical_id=intent.logical_id, reason=str(error))
        return Prepared(state=PreparedState.FEE_CAP, policy=policy, reason=str(error))
    needed = gas * price.max_fee_per_gas + intent.value
    balance = await observation.balance(intent.sender)
    _watch_balance(metrics, intent.sender, balance, max(policy.balance_alarm, needed))
    if balance < needed:
        reason = f"{intent.sender} has {balance} wei and needs {needed}: send it funds"
        return _short_of_funds(info, intent, policy, reason)
    return Prepared(
        state=PreparedState.READY,
        policy=policy,
        gas=gas,
        first_nonce=await observation.mined(intent.sender),
        max_fee_per_gas=price.max_fee_per_gas,
        max_priority_fee_per_gas=price.max_priority_fee_per_gas,
    )


def _watch_balance(metrics: SendingMetrics, sender: str, balance: int, least: int) -> None:
    metrics.balance.labels(sender).set(balance / WEI_PER_ETHER)
    metrics.alarm("balance", sender, stands=balance < least)
    if balance < least:
        log.warning("transaction.low_balance", sender=sender, balance=balance, alarm=least)


def _short_of_funds(info: Info, intent: Intent, policy: SendingPolicy, reason: str) -> Prepared:
    metrics = info.dependency(SendingMetrics)
    metrics.alarm("balance", intent.sender, stands=True)
    metrics.waits.labels(PreparedState.SHORT_OF_FUNDS).inc()
    log.warning("transaction.short_of_funds", sender=intent.sender, reason=reason)
    return Prepared(state=PreparedState.SHORT_OF_FUNDS, policy=policy, reason=reason)


async def judge_revert(node: Node, intent: Intent, policy: SendingPolicy, error: CallReverted) -> Prepared:
    """Judge a revert on the newest state: refused where it is believed, or in doubt."""
    refusal = decode_error(error.data)
    if refusal is None or refusal.name in SOLIDITY_ERRORS:
        return _doubted(
            intent, policy, f"{refusal or error.message} (not an error that the contract defines)"
        )
    finalized = await node.header("finalized")
    try:
        await node.simulate(intent.sender, intent.to, intent.data, intent.value, finalized.number)
    except CallReverted as again:
        if again.data[:4] == error.data[:4]:
            return refused(policy, error)
    return _doubted(intent, policy, f"{refusal} (not so at the finalised block {finalized.number})")


def _doubted(intent: Intent, policy: SendingPolicy, reason: str) -> Prepared:
    log.info("transaction.revert_in_doubt", logical_id=intent.logical_id, reason=reason)
    return Prepared(state=PreparedState.IN_DOUBT, policy=policy, reason=reason)


def refused(policy: SendingPolicy, error: CallReverted) -> Prepared:
    """Return what a contract's refusal leaves of an intent."""
    return Prepared(
        state=PreparedState.REFUSED,
        policy=policy,
        reason=str(decode_error(error.data) or error.message),
        revert_hex="0x" + error.data.hex(),
    )


async def explain_revert(info: Info, intent: Intent) -> Prepared:
    """Ask why a mined transaction reverted, by trying it once more; the reason may be gone by now."""
    policy = info.dependency(SendingPolicy)
    try:
        await info.dependency(Node).estimate_gas(intent.sender, intent.to, intent.data, intent.value)
    except CallReverted as error:
        return refused(policy, error)
    except RpcRefused as error:
        return Prepared(state=PreparedState.REFUSED, policy=policy, reason=error.message)
    return Prepared(state=PreparedState.READY, policy=policy)


def price_of(prepared: Prepared) -> Price:
    """Return the first offer of a prepared transaction."""
    return Price(
        max_fee_per_gas=prepared.max_fee_per_gas, max_priority_fee_per_gas=prepared.max_priority_fee_per_gas
    )
