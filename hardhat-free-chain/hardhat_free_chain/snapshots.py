"""Snapshots, which stay good whatever becomes of the blocks that they were taken on.

N1 a snapshot's blocks are the canonical ones up to its `branch`, and those of its `tail` above.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from hardhat_free_chain.clock import ClockState
from hardhat_free_chain.finality import FinalityState
from hardhat_free_chain.ledger import Block, Ledger
from hardhat_free_chain.pool import PoolState

SNAPSHOTS_MAX = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What evm_revert brings back."""

    branch: int
    tail: tuple[Block, ...] = ()
    state_root: bytes
    pool: PoolState
    clock: ClockState
    finality: FinalityState


class Snapshots:
    """Snapshots by number; each is used once, and takes the later ones along."""

    def __init__(self) -> None:
        self._by_number: dict[int, Snapshot] = {}
        self._last = 0

    def add(self, snapshot: Snapshot) -> int:
        """Keep a snapshot; returns its number. The oldest makes room."""
        self._last += 1
        self._by_number[self._last] = snapshot
        if len(self._by_number) > SNAPSHOTS_MAX:
            del self._by_number[min(self._by_number)]
        return self._last

    def take(self, number: int) -> Snapshot | None:
        """Use up a snapshot with all later ones; None if there is none."""
        snapshot = self._by_number.get(number)
        if snapshot is not None:
            self._by_number = {key: value for key, value in self._by_number.items() if key < number}
        return snapshot

    def leave(self, fork: int, block_at: Callable[[int], Block]) -> None:
        """The canonical blocks above `fork` are about to go: keep those that snapshots need (N1)."""
        for number, each in self._by_number.items():
            if each.branch > fork:
                gone = tuple(block_at(height) for height in range(fork + 1, each.branch + 1))
                self._by_number[number] = replace(each, branch=fork, tail=gone + each.tail)


def bring_back(ledger: Ledger, snapshot: Snapshot) -> None:
    """Make a snapshot's blocks canonical, with the head's state as it was."""
    ledger.truncate(snapshot.branch)
    for block in snapshot.tail:
        ledger.append(block)
    ledger.alter_head_state(snapshot.state_root)
