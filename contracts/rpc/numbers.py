"""What is counted of each endpoint: requests, errors by class, latency and pauses. Metrics are made of it."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field

from contracts.rpc.errors import (
    BlockMissing,
    HistoryPruned,
    NodeUnavailable,
    RangeRefused,
    RpcError,
    StateMissing,
    TagUnsupported,
    WrongChain,
)

LATENCY_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_CLASSES: tuple[tuple[type[RpcError], str], ...] = (
    (WrongChain, "wrong_chain"),
    (BlockMissing, "missing_block"),
    (RangeRefused, "range"),
    (HistoryPruned, "pruned"),
    (StateMissing, "state"),
    (TagUnsupported, "tag"),
)


@dataclass(slots=True)
class Numbers:
    """The numbers of one endpoint since the start.

    `rested_s` is for how long rates and 429s kept it away, `passed_on` how many reads another endpoint was
    asked for because it failed, `disagreements` how many quorums it answered to that were not reached.
    """

    requests: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    contradictions: int = 0
    passed_on: int = 0
    disagreements: int = 0
    rested_s: float = 0.0
    latency_sum_s: float = 0.0
    latencies: list[int] = field(default_factory=lambda: [0] * (len(LATENCY_BUCKETS_S) + 1))

    def observe(self, seconds: float) -> None:
        """Count the duration of one HTTP request that was answered, or given up."""
        self.latencies[bisect_left(LATENCY_BUCKETS_S, seconds)] += 1
        self.latency_sum_s += seconds


def error_class(error: RpcError) -> str:
    """Return the class under which an error is counted: a closed set of names."""
    if isinstance(error, NodeUnavailable):
        if error.limited:
            return "limited"
        return "timeout" if isinstance(error.__cause__, TimeoutError) else "unavailable"
    return next((name for kind, name in _CLASSES if isinstance(error, kind)), "refused")
