"""The unfinalised blocks that the node calls the chain now, each the child of the one before. Pure.

What leaves at the front was reverted, and what leaves at the back was finalised. Its size is bounded: where
finality lags further behind the head, the oldest unfinalised blocks are not watched.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from contracts.rpc import BlockHeader


class Window:
    """At most `size` blocks, by rising number, without a gap."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._blocks: deque[BlockHeader] = deque()

    def __len__(self) -> int:
        return len(self._blocks)

    @property
    def tip(self) -> BlockHeader | None:
        """The newest block."""
        return self._blocks[-1] if self._blocks else None

    @property
    def bottom(self) -> BlockHeader | None:
        """The oldest block."""
        return self._blocks[0] if self._blocks else None

    def at(self, number: int) -> BlockHeader | None:
        """Return the block of this number, if it is in the window."""
        index = number - self._blocks[0].number if self._blocks else -1
        return self._blocks[index] if 0 <= index < len(self._blocks) else None

    def revert_after(self, number: int) -> list[BlockHeader]:
        """Take out the blocks above `number`, the newest first."""
        reverted = []
        while self._blocks and self._blocks[-1].number > number:
            reverted.append(self._blocks.pop())
        return reverted

    def commit(self, blocks: Sequence[BlockHeader]) -> None:
        """Add blocks on top. Raises ValueError where one is not the child of the one before."""
        for block in blocks:
            tip = self.tip
            if tip is not None and (block.parent_hash != tip.hash or block.number != tip.number + 1):
                raise ValueError(f"block {block.number} is no child of block {tip.number}")
            self._blocks.append(block)
            if len(self._blocks) > self._size:
                self._blocks.popleft()

    def finalize(self, number: int) -> list[BlockHeader]:
        """Take out the blocks up to `number`, the oldest first."""
        final = []
        while self._blocks and self._blocks[0].number <= number:
            final.append(self._blocks.popleft())
        return final
