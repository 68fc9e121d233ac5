"""Polled filters: what eth_newFilter and its family leave behind on the node.

F1 a filter reports each block or log once; after a rewind it goes on from the height it was rewound to.
F2 there are at most FILTERS_MAX; the one that was polled longest ago makes room.
"""

from collections import OrderedDict
from dataclasses import dataclass

from hardhat_free_chain import formats
from hardhat_free_chain.chain import ChainObserver, LocalChain
from hardhat_free_chain.logs import Log, LogFilter

FILTERS_MAX = 1_000


@dataclass(slots=True, kw_only=True)
class PolledFilter:
    """`wanted` is None for a filter of blocks; `next_block` is the first height not reported yet."""

    wanted: LogFilter | None
    from_block: int
    to_block: int | None
    next_block: int


class FilterRegistry(ChainObserver):
    """All polled filters of a node; observes the chain for rewinds."""

    def __init__(self, chain: LocalChain) -> None:
        self._chain = chain
        self._filters: OrderedDict[int, PolledFilter] = OrderedDict()
        self._last = 0
        chain.observe(self)

    def rewound(self, height: int) -> None:
        """Go on from the block after `height` (F1)."""
        for each in self._filters.values():
            each.next_block = min(each.next_block, height + 1)

    def add_blocks(self) -> int:
        """A filter of the blocks from now on; returns its number."""
        head = self._chain.ledger.height
        return self._add(PolledFilter(wanted=None, from_block=0, to_block=None, next_block=head + 1))

    def add_logs(self, wanted: LogFilter, from_block: int, to_block: int | None) -> int:
        """A filter of logs from now on within from..to; returns its number."""
        start = max(from_block, self._chain.ledger.height + 1)
        return self._add(
            PolledFilter(wanted=wanted, from_block=from_block, to_block=to_block, next_block=start)
        )

    def remove(self, number: int) -> bool:
        """Forget a filter; False if there is none."""
        return self._filters.pop(number, None) is not None

    def changes(self, number: int) -> list[Log] | list[str] | None:
        """What came since the last poll: logs, or block hashes; None if there is no such filter."""
        found = self._filters.get(number)
        if found is None:
            return None
        self._filters.move_to_end(number)
        start, head = found.next_block, self._chain.ledger.height
        found.next_block = max(start, head + 1)
        if found.wanted is None:
            heights = range(start, head + 1)
            return [formats.data(self._chain.ledger.at(height).hash) for height in heights]
        return self._find(found, max(start, found.from_block))

    def logs(self, number: int) -> list[Log] | None:
        """All logs of a log filter's range; None if there is no such filter."""
        found = self._filters.get(number)
        if found is None or found.wanted is None:
            return None
        return self._find(found, found.from_block)

    def _find(self, found: PolledFilter, start: int) -> list[Log]:
        head = self._chain.ledger.height
        stop = head if found.to_block is None else min(head, found.to_block)
        return self._chain.ledger.logs.find(start, stop, found.wanted or LogFilter())

    def _add(self, new: PolledFilter) -> int:
        self._last += 1
        self._filters[self._last] = new
        if len(self._filters) > FILTERS_MAX:
            self._filters.popitem(last=False)
        return self._last
