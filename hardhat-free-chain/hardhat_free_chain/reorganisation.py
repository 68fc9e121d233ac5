"""What a reorganisation is told: how deep, how long the new branch, and what becomes of each transaction.

Owns the values and the plan of the new branch; the chain carries it out. Imports no network.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from eth.abc import SignedTransactionAPI

from hardhat_free_chain.errors import InvalidParams
from hardhat_free_chain.ledger import Block

LENGTH_MAX = 10_000


class Fate(StrEnum):
    """What becomes of a transaction whose block goes."""

    INCLUDED = "included"
    """It stands in the new branch as far from the fork as it stood in the old one, or in its last block."""
    POOLED = "pooled"
    """It returns to the mempool."""
    DROPPED = "dropped"
    """The node forgets it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reorganisation:
    """The latest `depth` blocks are replaced by `length` others (as many, if None).

    `fate` is that of all transactions, `fates` by hash that of some. `replacements` are raw transactions that
    take the places of those with these hashes, `added` come besides, each with its block, 0 for the first.
    """

    depth: int
    length: int | None = None
    fate: Fate = Fate.INCLUDED
    fates: Mapping[bytes, Fate] = field(default_factory=dict)
    replacements: Mapping[bytes, bytes] = field(default_factory=dict)
    added: Sequence[tuple[bytes, int]] = ()

    @property
    def new_blocks(self) -> int:
        """How long the new branch is."""
        return self.depth if self.length is None else self.length

    def check(self, height: int) -> None:
        """Refuse what cannot be done on a chain of this height. Raises InvalidParams."""
        if not 1 <= self.depth <= height:
            raise InvalidParams(f"depth is {self.depth}; give 1 to {height}, the height of the chain")
        if not 0 <= self.new_blocks <= LENGTH_MAX:
            raise InvalidParams(f"length is {self.new_blocks}; give 0 to {LENGTH_MAX}")
        for _, offset in self.added:
            if not 0 <= offset < self.new_blocks:
                raise InvalidParams(f"block {offset} is outside the new branch of {self.new_blocks} blocks")


@dataclass(slots=True, kw_only=True)
class Branch:
    """The new branch before it is mined: transactions block by block, and those that go to the mempool."""

    blocks: list[list[SignedTransactionAPI]]
    pooled: list[SignedTransactionAPI]


def plan(
    wanted: Reorganisation, removed: Iterable[Block], decode: Callable[[bytes], SignedTransactionAPI]
) -> Branch:
    """Decide where each transaction goes. Raises what `decode` raises."""
    branch = Branch(blocks=[[] for _ in range(wanted.new_blocks)], pooled=[])
    for offset, block in enumerate(removed):
        for mined in block.transactions:
            place = min(offset, wanted.new_blocks - 1)
            source = mined.source
            replacement = wanted.replacements.get(source.hash)
            if replacement is not None:
                source = decode(replacement)
            fate = wanted.fates.get(mined.source.hash, wanted.fate)
            if fate is Fate.INCLUDED and place >= 0:
                branch.blocks[place].append(source)
            elif fate is not Fate.DROPPED:
                branch.pooled.append(source)
    for raw, offset in wanted.added:
        branch.blocks[offset].append(decode(raw))
    return branch
