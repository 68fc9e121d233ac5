"""How a pool of endpoints behaves: every number of it, with its default."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Broadcast(StrEnum):
    """To whom a signed transaction is sent: to one endpoint, or to all of them at once."""

    ONE = "one"
    ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSettings:
    """Durations in seconds, heights in blocks, rates in requests a second for each endpoint.

    `quorum` endpoints must agree about logs, headers and finality. An endpoint whose head lies more than
    `lag_blocks` behind the best is used only where no other answers. `failures_max` failures in a row open an
    endpoint's circuit for `open_s_min`, doubled with each failed probe up to `open_s_max`. A read waits up to
    `patience_s` for an endpoint that rests; whoever has more patience is told when to come again.
    `probe_interval_s` is how often the heads of several endpoints are compared, `chain_check_s` how often
    each is asked for its chain id.
    """

    quorum: int = 1
    broadcast: Broadcast = Broadcast.ONE
    requests_per_s: float | None = None
    concurrency: int = 32
    lag_blocks: int = 3
    failures_max: int = 5
    open_s_min: float = 0.5
    open_s_max: float = 30.0
    patience_s: float = 1.0
    probe_interval_s: float = 5.0
    chain_check_s: float = 60.0
    batch_calls_max: int = 100

    def __post_init__(self) -> None:
        for name in ("quorum", "concurrency", "failures_max", "batch_calls_max"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        if self.requests_per_s is not None and self.requests_per_s <= 0:
            raise ValueError("requests_per_s must be above 0")
