"""The chain as one stream: blocks are committed, may be reverted, and are final in the end.

A reorg is data: the newest blocks are reverted, back to the common ancestor, and others committed in their
place. Nothing here dispatches anything: only finalised blocks do, and those are read as ranges (`scan`). It
must not believe a head that does not descend from what the same node calls final.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import structlog

from contracts.rpc import BlockHeader, Node, NodeUnavailable
from listener.finality import Heights
from listener.settings import ListenerSettings
from listener.window import Window

READ_TOGETHER = 16
_log = structlog.get_logger("listener")


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """A block is part of the chain for now."""

    block: BlockHeader


@dataclass(frozen=True, slots=True, kw_only=True)
class Reverted:
    """A block that was committed is no part of the chain any more."""

    block: BlockHeader


@dataclass(frozen=True, slots=True, kw_only=True)
class Finalised:
    """The blocks `first` to `last` are final, and everything in them is dispatched.

    `invocations` are the ids of the promises that their logs asked for, in the order of the chain.
    """

    first: int
    last: int
    last_hash: bytes
    invocations: tuple[str, ...]


ChainEvent = Committed | Reverted | Finalised
ChainObserver = Callable[[ChainEvent], None]
"""Takes an event; must not block and must not raise."""


class HeadFollower:
    """Follows the unfinalised end of a chain; tells each block that comes and goes to `observe`."""

    def __init__(
        self, settings: ListenerSettings, node: Node, observe: ChainObserver = lambda _event: None
    ) -> None:
        self._node = node
        self._observe = observe
        self._size = settings.window_blocks
        self.window = Window(settings.window_blocks)
        self.final: deque[BlockHeader] = deque(maxlen=settings.window_blocks)
        """The last blocks that left the window as final: their filters tell which of them may hold logs."""
        self.reorgs = 0
        self.reverted_blocks = 0
        self.deepest_reorg = 0

    async def follow(self, heights: Heights) -> None:
        """Bring the window up to the newest block. Raises RpcError, and then nothing has changed.

        A head without its ancestors, or one that does not descend from the final block, is no usable answer.
        """
        head, final = heights.head, heights.finalized
        tip = self.window.tip
        known = self.window.at(head.number)
        if known is not None and known.hash == head.hash:
            # Nothing new, or a node that lags on the same chain: what it does not know yet is not reverted.
            self._finalize(final)
            return
        if tip is None or head.number - tip.number > self._size or head.number <= final.number:
            await self._begin(head, final)
            return
        fresh, ancestor = await self._fresh(head)
        self._check_descent(fresh, final)
        reverted = self.window.revert_after(ancestor)
        if reverted:
            self._count(reverted, head)
        self._commit(fresh)
        self._finalize(final)

    async def _begin(self, head: BlockHeader, final: BlockHeader) -> None:
        """Read the window anew, since the head is further away than it reaches."""
        first = max(final.number + 1, head.number - self._size + 1)
        blocks = await self._numbered(first, head) if first <= head.number else []
        self._check_descent(blocks, final)
        self.window = Window(self._size)
        self._commit(blocks)

    async def _fresh(self, head: BlockHeader) -> tuple[list[BlockHeader], int]:
        """Return the blocks that lead up to the head, and the number of the block that they stand on."""
        tip, bottom = self.window.tip, self.window.bottom
        assert tip is not None and bottom is not None  # noqa: S101, PT018 - the caller has looked
        blocks = [head]
        if head.number - tip.number > 1:
            blocks = (await self._numbered(tip.number + 1, head))[::-1]
        # From here on by hash, one by one: these were replaced, and another fork may come meanwhile.
        while True:
            below = blocks[-1].number - 1
            known = self.window.at(below)
            if known is not None and known.hash == blocks[-1].parent_hash:
                return blocks[::-1], below
            if below < bottom.number:
                return blocks[::-1], below
            blocks.append(await self._node.header(blocks[-1].parent_hash))

    async def _numbered(self, first: int, head: BlockHeader) -> list[BlockHeader]:
        """Return the blocks `first` to the head, which must be one chain."""
        blocks: list[BlockHeader] = []
        for start in range(first, head.number, READ_TOGETHER):
            numbers = range(start, min(start + READ_TOGETHER, head.number))
            blocks += await self._node.headers(numbers)
        blocks.append(head)
        for parent, child in pairwise(blocks):
            if child.parent_hash != parent.hash:
                raise NodeUnavailable(
                    self._node.endpoint, f"block {child.number} is no child of its block {parent.number}"
                )
        return blocks

    def _check_descent(self, blocks: Sequence[BlockHeader], final: BlockHeader) -> None:
        for block in blocks:
            offset = block.number - final.number
            if (offset == 0 and block.hash != final.hash) or (
                offset == 1 and block.parent_hash != final.hash
            ):
                raise NodeUnavailable(
                    self._node.endpoint,
                    f"its head {blocks[-1].number} does not descend from its final block {final.number}",
                )

    def _finalize(self, final: BlockHeader) -> None:
        known = self.window.at(final.number)
        if known is not None and known.hash != final.hash:
            # What was committed is not what became final: the window is read anew next time.
            self.window = Window(self._size)
            return
        self.final.extend(self.window.finalize(final.number))

    def _count(self, reverted: Sequence[BlockHeader], head: BlockHeader) -> None:
        self.reorgs += 1
        self.reverted_blocks += len(reverted)
        self.deepest_reorg = max(self.deepest_reorg, len(reverted))
        _log.info(
            "chain_reorganised",
            depth=len(reverted),
            block_number=head.number,
            block_hash="0x" + head.hash.hex(),
        )
        for block in reverted:
            self._observe(Reverted(block=block))

    def _commit(self, blocks: Sequence[BlockHeader]) -> None:
        self.window.commit(blocks)
        for block in blocks:
            self._observe(Committed(block=block))
