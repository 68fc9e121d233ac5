"""What a listener needs to know, checked when it is made."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from listener.errors import InvalidSettings
from listener.invocation import FUNCTION, TARGET

_ADDRESS = re.compile("0x[0-9a-f]{40}")


class FilterCheck(StrEnum):
    """Which blocks' bloom filters the logs of a range are held against."""

    SAMPLE = "sample"
    """Those whose headers are read anyway, as near the head, and a few of each range in back-fill."""
    ALL = "all"
    """Every block's: one more header for each block of back-fill."""
    OFF = "off"
    """None: for chains whose filters do not hold what their logs do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerSettings:
    """One source: a contract of one chain. Addresses are lower-case text; durations are seconds.

    `dao` is the contract, `registry` where the scores of its proposals belong, if it has any; `name` tells
    sources of one contract apart. `start_block` is where back-fill begins, best the block in which the
    contract was deployed. At most `range_blocks` blocks are read at a time, and `dispatch_concurrency`
    requests sent together. Blocks are final by the node's tag, or where `finality_depth` is given, that many
    blocks below the head; finality that stands still for `finality_stall_s` is an alarm. At most
    `window_blocks` unfinalised blocks are kept. A replaced final block must be seen `reorg_looks` times
    before it is believed, and logs that contradict their blocks' filters (`filter_check`) before a source is
    parked for them. After a failure the next try waits between `backoff_s_min` and `backoff_s_max`,
    growing; a proposal whose reads revert is tried again after at most `parked_s_max`.
    """

    chain_id: int
    dao: str
    registry: str | None = None
    name: str = ""
    start_block: int = 0
    target: str = TARGET
    function: str = FUNCTION
    range_blocks: int = 10_000
    dispatch_concurrency: int = 128
    poll_interval_s: float = 1.0
    finality_depth: int | None = None
    finality_stall_s: float = 1_800.0
    window_blocks: int = 256
    reorg_looks: int = 3
    filter_check: FilterCheck = FilterCheck.SAMPLE
    backoff_s_min: float = 0.5
    backoff_s_max: float = 30.0
    parked_s_max: float = 300.0

    def __post_init__(self) -> None:
        for name in ("dao", "registry"):
            address = getattr(self, name)
            if not (name == "registry" and address is None) and not _ADDRESS.fullmatch(address):
                raise InvalidSettings(name, "must be an address, 0x and 40 hexadecimal digits in lower case")
        for name in ("chain_id", "range_blocks", "dispatch_concurrency", "window_blocks", "reorg_looks"):
            if getattr(self, name) < 1:
                raise InvalidSettings(name, "must be at least 1")
        if self.start_block < 0:
            raise InvalidSettings("start_block", "must not be negative")
        if self.finality_depth is not None and self.finality_depth < 0:
            raise InvalidSettings("finality_depth", "must not be negative")
        for name in ("poll_interval_s", "finality_stall_s", "backoff_s_min", "parked_s_max"):
            if getattr(self, name) <= 0:
                raise InvalidSettings(name, "must be above zero")
        if self.backoff_s_max < self.backoff_s_min:
            raise InvalidSettings("backoff_s_max", "must not be below backoff_s_min")

    @property
    def source(self) -> Source:
        """The source's identity in the cursor store."""
        return Source(chain_id=self.chain_id, dao=self.dao, name=self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What a cursor belongs to: one contract of one chain, and a name where a contract has several."""

    chain_id: int
    dao: str
    name: str = ""

    def __str__(self) -> str:
        return f"{self.name or self.dao} of chain {self.chain_id}"
