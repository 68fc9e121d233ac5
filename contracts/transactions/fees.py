"""The price of a transaction (EIP-1559): the first offer and a replacement's. Pure; amounts are wei a gas."""

from __future__ import annotations

from dataclasses import dataclass

from contracts.rpc import Fees

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What a transaction offers."""

    max_fee_per_gas: int
    max_priority_fee_per_gas: int


def first_price(fees: Fees, cap: int | None) -> Price:
    """Return the first offer: it outlasts six full blocks in a row. Raises FeeCapReached.

    The cap may cut the headroom, but not below what the next block asks for.
    """
    needed = fees.base_fee + fees.priority_fee
    if cap is not None and needed > cap:
        raise FeeCapReached(needed, cap)
    offer = BASE_FEE_HEADROOM * fees.base_fee + fees.priority_fee
    return Price(
        max_fee_per_gas=offer if cap is None else min(offer, cap), max_priority_fee_per_gas=fees.priority_fee
    )


def replacement_price(fees: Fees, previous: Price, percent: int, cap: int | None) -> Price:
    """Return the offer that replaces `previous`: both fees `percent` higher, or today's where those are more.

    Nodes compare both fees, so raising one alone is refused. Raises FeeCapReached.
    """
    fee = max(
        _raised(previous.max_fee_per_gas, percent), BASE_FEE_HEADROOM * fees.base_fee + fees.priority_fee
    )
    tip = max(_raised(previous.max_priority_fee_per_gas, percent), fees.priority_fee)
    if cap is not None:
        fee = min(fee, cap)
        least = _raised(previous.max_fee_per_gas, percent)
        if fee < least:
            raise FeeCapReached(least, cap)
    return Price(max_fee_per_gas=fee, max_priority_fee_per_gas=min(tip, fee))


def _raised(amount: int, percent: int) -> int:
    """Raise by a percentage, rounded up and by at least one wei."""
    return max(-(-amount * (100 + percent) // 100), amount + 1)
