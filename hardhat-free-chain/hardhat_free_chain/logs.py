"""The log index: all canonical logs in order, found by block range, address and topics.

L1 logs stand in chain order, and positions never have holes.
L2 every posting list is ascending and names exactly the logs that carry its key.

A query walks the shortest posting list that covers it within the range, so it costs what it returns and not
what the chain is long. Imports nothing of the chain.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

Log = dict[str, Any]
Key = tuple[int, str]
ADDRESS_POSITION = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFilter:
    """Which logs are wanted, hex in lower case; None means any.

    Topics are matched by position: a log with fewer topics than the filter never matches, even where the
    filter's position is open, which is how nodes do it.
    """

    addresses: frozenset[str] | None = None
    topics: tuple[frozenset[str] | None, ...] = ()

    def matches(self, log: Log) -> bool:
        """Whether this log is wanted."""
        if self.addresses is not None and log["address"] not in self.addresses:
            return False
        topics = log["topics"]
        if len(topics) < len(self.topics):
            return False
        return all(
            wanted is None or topic in wanted for wanted, topic in zip(self.topics, topics, strict=False)
        )

    def constraints(self) -> list[list[Key]]:
        """Sets of keys of which a wanted log carries at least one each."""
        constraints = [
            [(position, topic) for topic in wanted]
            for position, wanted in enumerate(self.topics)
            if wanted is not None
        ]
        if self.addresses is not None:
            constraints.append([(ADDRESS_POSITION, address) for address in self.addresses])
        return constraints


class LogIndex:
    """Append at the head, cut back at the head, query anywhere."""

    def __init__(self) -> None:
        self._logs: list[Log] = []
        self._block_numbers: list[int] = []
        self._postings: dict[Key, list[int]] = {}

    def __len__(self) -> int:
        return len(self._logs)

    def append(self, block_number: int, logs: Iterable[Log]) -> None:
        """Add the logs of a block that is higher than all before it (L1)."""
        for log in logs:
            position = len(self._logs)
            self._logs.append(log)
            self._block_numbers.append(block_number)
            for key in _keys(log):
                self._postings.setdefault(key, []).append(position)

    def truncate(self, block_number: int) -> None:
        """Forget all logs of blocks above `block_number`."""
        keep = bisect_right(self._block_numbers, block_number)
        for log in reversed(self._logs[keep:]):
            for key in _keys(log):
                positions = self._postings[key]
                positions.pop()
                if not positions:
                    del self._postings[key]
        del self._logs[keep:], self._block_numbers[keep:]

    def find(self, from_block: int, to_block: int, wanted: LogFilter) -> list[Log]:
        """The wanted logs of the blocks from..to (both included), in chain order."""
        start = bisect_left(self._block_numbers, from_block)
        stop = bisect_right(self._block_numbers, to_block)
        if start >= stop:
            return []
        positions = self._candidates(start, stop, wanted)
        return [log for log in map(self._logs.__getitem__, positions) if wanted.matches(log)]

    def _candidates(self, start: int, stop: int, wanted: LogFilter) -> Sequence[int]:
        best: Sequence[int] = range(start, stop)
        for keys in wanted.constraints():
            lists = [self._within(key, start, stop) for key in keys]
            count = sum(len(positions) for positions in lists)
            if count < len(best):
                best = lists[0] if len(lists) == 1 else sorted(p for positions in lists for p in positions)
        return best

    def _within(self, key: Key, start: int, stop: int) -> list[int]:
        positions = self._postings.get(key, [])
        return positions[bisect_left(positions, start) : bisect_left(positions, stop)]


def _keys(log: Log) -> list[Key]:
    keys = list(enumerate(log["topics"]))
    keys.append((ADDRESS_POSITION, log["address"]))
    return keys
