"""The price of a transaction and of its replacements."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.rpc import Fees
from contracts.transactions.fees import FeeCapReached, Price, first_price, replacement_price
from contracts.transactions.values import SendingPolicy

amounts = st.integers(min_value=0, max_value=10**15)


@given(amounts, amounts, amounts, amounts, st.integers(min_value=10, max_value=100))
def test_a_replacement_raises_both_fees_enough_for_any_node(
    base: int, tip: int, fee: int, previous_tip: int, percent: int
) -> None:
    previous = Price(max_fee_per_gas=fee + previous_tip, max_priority_fee_per_gas=previous_tip)
    policy = SendingPolicy(bump_percent=percent)
    price = replacement_price(Fees(base_fee=base, priority_fee=tip), previous, policy)
    for new, old in (
        (price.max_fee_per_gas, previous.max_fee_per_gas),
        (price.max_priority_fee_per_gas, previous.max_priority_fee_per_gas),
    ):
        assert new > old or (old == 0 and new >= 0)
        assert new * 100 >= old * (100 + percent)
    assert price.max_priority_fee_per_gas <= price.max_fee_per_gas


def test_first_price_outlasts_a_rising_base_fee() -> None:
    price = first_price(Fees(base_fee=100, priority_fee=3), SendingPolicy())
    assert price == Price(max_fee_per_gas=203, max_priority_fee_per_gas=3)


def test_a_cap_cuts_the_headroom_but_not_the_need() -> None:
    fees = Fees(base_fee=100, priority_fee=3)
    assert first_price(fees, SendingPolicy(max_fee_per_gas=150)).max_fee_per_gas == 150
    with pytest.raises(FeeCapReached, match="raise max_fee_per_gas or wait"):
        first_price(fees, SendingPolicy(max_fee_per_gas=102))
    with pytest.raises(FeeCapReached):
        replacement_price(
            fees,
            Price(max_fee_per_gas=150, max_priority_fee_per_gas=3),
            SendingPolicy(bump_percent=12, max_fee_per_gas=160),
        )


def test_the_tip_has_a_cap_of_its_own() -> None:
    fees = Fees(base_fee=100, priority_fee=30)
    policy = SendingPolicy(max_priority_fee_per_gas=10)
    assert first_price(fees, policy) == Price(max_fee_per_gas=210, max_priority_fee_per_gas=10)
    with pytest.raises(FeeCapReached, match="raise max_priority_fee_per_gas or wait"):
        replacement_price(fees, Price(max_fee_per_gas=210, max_priority_fee_per_gas=10), policy)
