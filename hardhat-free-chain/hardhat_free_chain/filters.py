"""Polled filters: what eth_newFilter and its family leave behind on the node.

F1 a filter reports each block or log once; after a rewind it goes on from the height it was rewound to.
   Logs that it reported and that a reorganisation took are reported once more, as removed, newest first.
F2 there are at most FILTERS_MAX; the one that was polled longest ago makes room.
"""

from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from hardhat_free_chain import formats
from hardhat_free_chain.chain import ChainObserver, LocalChain
from hardhat_free_chain.ledger import Block
from hardhat_free_chain.logs import Log, LogFilter

FILTERS_MAX = 1_000
HASHES_MAX = 10_000


@dataclass(slots=True, kw_only=True)
class PolledFilter:
    """`wanted` is None for a filter of blocks; `next_block` is the first height not reported yet.

    A filter of waiting transactions has their `hashes`, at most HASHES_MAX.
    """

    wanted: LogFilter | None
    from_block: int
    to_block: int | None
    next_block: int
    removed: list[Log] = field(default_factory=list)
    hashes: deque[str] | None = None


class FilterRegistry(ChainObserver):
    """All polled filters of a node; observes the chain for rewinds."""

    def __init__(self, chain: LocalChain) -> None:
        self._chain = chain
        self._filters: OrderedDict[int, PolledFilter] = OrderedDict()
        self._last = 0
        chain.observe(self)

    def rewound(self, height: int, removed: Sequence[Block]) -> None:
        """Go on from the block after `height` (F1)."""
        for each in self._filters.values():
            if each.wanted is not None:
                seen = [block for block in removed if _reported(each, block.number)]
                each.removed += formats.removed_logs(seen, each.wanted)
            each.next_block = min(each.next_block, height + 1)

    def transaction_added(self, transaction_hash: bytes) -> None:
        """Remember the hash for the filters that want it."""
        for each in self._filters.values():
            if each.hashes is not None:
                each.hashes.append(formats.data(transaction_hash))

    def add_transactions(self) -> int:
        """A filter of the transactions that enter the mempool from now on; returns its number."""
        hashes: deque[str] = deque(maxlen=HASHES_MAX)
        return self._add(PolledFilter(wanted=None, from_block=0, to_block=None, next_block=0, hashes=hashes))

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

    def clear(self) -> None:
        """Forget all filters."""
        self._filters.clear()

    def remove(self, number: int) -> bool:
        """Forget a filter; False if there is none."""
        return self._filters.pop(number, None) is not None

    def changes(self, number: int) -> list[Log] | list[str] | None:
        """What came since the last poll: logs, or block hashes; None if there is no such filter."""
        found = self._filters.get(number)
        if found is None:
            return None
        self._filters.move_to_end(number)
        if found.hashes is not None:
            hashes = list(found.hashes)
            found.hashes.clear()
            return hashes
        start, head = found.next_block, self._chain.ledger.height
        found.next_block = max(start, head + 1)
        if found.wanted is None:
            heights = range(start, head + 1)
            return [formats.data(self._chain.ledger.at(height).hash) for height in heights]
        removed, found.removed = found.removed, []
        return removed + self._find(found, max(start, found.from_block))

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


def _reported(found: PolledFilter, height: int) -> bool:
    within = found.to_block is None or height <= found.to_block
    return found.from_block <= height < found.next_block and within
