"""How submissions are sent, from the settings: amounts of gwei and ether become wei here."""

from __future__ import annotations

from decimal import Decimal

from contracts.transactions import SendingPolicy
from scorers.batches.gathering import Batching
from scorers.settings import Settings

GWEI = 10**9
ETHER = 10**18


def sending_policy(settings: Settings) -> SendingPolicy:
    """Return the policy of sending."""
    return SendingPolicy(
        in_flight_max=settings.in_flight,
        confirmations=settings.confirmations or 1,
        early=settings.confirmations is not None,
        final_depth=settings.final_depth,
        max_fee_per_gas=_wei(settings.max_fee, GWEI),
        max_priority_fee_per_gas=_wei(settings.max_tip, GWEI),
        fee_alarm=_wei(settings.fee_alarm, GWEI),
        balance_alarm=_wei(settings.balance_alarm, ETHER) or 0,
        budget=_wei(settings.gas_budget, ETHER),
        budget_period_ms=settings.gas_budget_period * 1000,
    )


def batching(settings: Settings) -> Batching | None:
    """Return how scores go together, None where each goes by itself."""
    if not settings.batch:
        return None
    return Batching(size_max=settings.batch_size, wait_s=settings.batch_wait)


def _wei(amount: Decimal | None, unit: int) -> int | None:
    return None if amount is None else int(amount * unit)
