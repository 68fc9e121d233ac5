"""What sending tells monitoring. Labels come from closed sets and from the keys that this worker holds."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

WEI_PER_ETHER = 10**18


class SendingMetrics(Collector):
    """The counters of one worker's transactions, as a collector for whoever serves metrics."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self.final = Counter(
            "transactions_final",
            "Nonces that the chain finalised: succeeded, reverted, or foreign.",
            ("outcome",),
            registry=registry,
        )
        self.broadcasts = Counter(
            "transactions_broadcasts", "Broadcasts by the node's answer.", ("answer",), registry=registry
        )
        self.replaced = Counter(
            "transactions_replaced", "Transactions signed again for a higher fee.", registry=registry
        )
        self.orphaned = Counter(
            "transactions_orphaned", "Mined transactions that a reorg took back.", registry=registry
        )
        self.waits = Counter(
            "transactions_waits",
            "Looks that found no place yet, by what is waited for.",
            ("reason",),
            registry=registry,
        )
        self.gaps_filled = Counter(
            "transactions_gaps_filled", "Abandoned nonces used up by an empty transfer.", registry=registry
        )
        self.fees = Counter(
            "transactions_fees_ether", "Fees of final transactions, in ether.", ("sender",), registry=registry
        )
        self.balance = Gauge(
            "transactions_balance_ether", "Balance of a key when last asked.", ("sender",), registry=registry
        )
        self.spent = Gauge(
            "transactions_budget_spent_ether",
            "What a key has spent of its gas budget in the current period.",
            ("sender",),
            registry=registry,
        )
        self.gas_price = Gauge(
            "transactions_gas_price_gwei", "Base fee and tip when last asked.", registry=registry
        )
        self.alarms = Gauge(
            "transactions_alarm",
            "1 while an alarm stands: balance, fee or budget.",
            ("alarm", "sender"),
            registry=registry,
        )

    def alarm(self, name: str, sender: str, *, stands: bool) -> None:
        """Note whether an alarm stands for a key."""
        self.alarms.labels(name, sender).set(int(stands))

    def collect(self) -> Iterable[Metric]:
        """Return all of it."""
        return self._registry.collect()
