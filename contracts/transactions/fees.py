"""The price of a transaction (EIP-1559): the first offer and a replacement's. Pure; amounts are wei a gas."""

from __future__ import annotations

from dataclasses import dataclass

from contracts.rpc import Fees
from contracts.transactions.values import SendingPolicy

BASE_FEE_HEADROOM = 2


class FeeCapReached(Exception):
    """The chain asks for more than the configured cap; it is tried again later."""

    def __init__(self, needed: int, cap: int) -> None:
        super().__init__(needed, cap)
        self.needed = needed
        self.cap = cap

    def __str__(self) -> str:
        return (
            f"the chain asks for {self.needed} wei a gas and the cap is {self.cap}: "
            "raise max_fee_per_gas or wait"
        )


class TipCapReached(FeeCapReached):
    """A replacement would need a higher tip than the configured cap."""

    def __str__(self) -> str:
        return (
            f"a replacement needs a tip of {self.needed} wei a gas and the cap is {self.cap}: "
            "raise max_priority_fee_per_gas or wait"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What a transaction offers."""

    max_fee_per_gas: int
    max_priority_fee_per_gas: int


def first_price(fees: Fees, policy: SendingPolicy) -> Price:
    """Return the first offer: it outlasts six full blocks in a row. Raises FeeCapReached.

    The cap may cut the headroom, but not below what the next block asks for. Above its own cap the suggested
    tip is not followed.
    """
    cap, tip = policy.max_fee_per_gas, _capped(fees.priority_fee, policy.max_priority_fee_per_gas)
    needed = fees.base_fee + tip
    if cap is not None and needed > cap:
        raise FeeCapReached(needed, cap)
    return Price(
        max_fee_per_gas=_capped(BASE_FEE_HEADROOM * fees.base_fee + tip, cap), max_priority_fee_per_gas=tip
    )


def replacement_price(
    fees: Fees, previous: Price, policy: SendingPolicy, percent: int | None = None
) -> Price:
    """Return the offer that replaces `previous`: both fees at least `percent` higher, or today's.

    `percent` is the policy's unless given. Nodes compare both fees, so raising one alone is refused. Raises
    FeeCapReached.
    """
    raise_by = policy.bump_percent if percent is None else percent
    suggested = _capped(fees.priority_fee, policy.max_priority_fee_per_gas)
    least_tip = raised(previous.max_priority_fee_per_gas, raise_by)
    if policy.max_priority_fee_per_gas is not None and least_tip > policy.max_priority_fee_per_gas:
        raise TipCapReached(least_tip, policy.max_priority_fee_per_gas)
    least = raised(previous.max_fee_per_gas, raise_by)
    if policy.max_fee_per_gas is not None and least > policy.max_fee_per_gas:
        raise FeeCapReached(least, policy.max_fee_per_gas)
    fee = _capped(max(least, BASE_FEE_HEADROOM * fees.base_fee + suggested), policy.max_fee_per_gas)
    return Price(max_fee_per_gas=fee, max_priority_fee_per_gas=min(max(least_tip, suggested), fee))


def raised(amount: int, percent: int) -> int:
    """Raise by a percentage, rounded up and by at least one wei."""
    return max(-(-amount * (100 + percent) // 100), amount + 1)


def _capped(amount: int, cap: int | None) -> int:
    return amount if cap is None else min(amount, cap)
