"""What one reader has been shown of the chain, so that no other endpoint shows it less, or another chain.

Pure. Blocks are remembered by number with their hash, and each tag by the highest number it has had. A block
counts as final if it was shown when finality had come as far: one that was shown before, and not since, may
have been replaced in between.
"""

from __future__ import annotations

from collections import OrderedDict

from contracts.rpc.records import BlockHeader

BLOCKS_REMEMBERED = 4096
MOVING_TAGS = frozenset({"latest", "safe", "finalized"})


class Sight:
    """The memory of one pool's reader. `floor` is the highest block that it has been shown."""

    def __init__(self) -> None:
        self._shown: OrderedDict[int, tuple[bytes, bool]] = OrderedDict()
        """By number: a block's hash, and whether it was final when it was shown."""
        self._tags: dict[str, int] = {}
        self.floor = 0

    def hash_at(self, number: int) -> bytes | None:
        """Return the hash that was shown for a number, None if none was."""
        return self._shown[number][0] if number in self._shown else None

    def tag(self, tag: str) -> int:
        """Return the highest number that a tag was shown to have, 0 if it never was shown."""
        return self._tags.get(tag, 0)

    def is_final(self, number: int) -> bool:
        """Tell whether the block that is remembered of this number was final when it was shown."""
        return number in self._shown and self._shown[number][1]

    def is_overtaken(self, number: int) -> bool:
        """Tell whether finality has passed a number since its block was shown: another may be final."""
        return number <= self._tags.get("finalized", -1) and not self.is_final(number)

    def show(self, header: BlockHeader, tag: str | None = None) -> None:
        """Remember what is about to be shown. A block of another hash takes those above it with it."""
        if self.hash_at(header.number) not in (None, header.hash):
            self._forget_from(header.number)
        if tag in MOVING_TAGS:
            self._tags[tag] = header.number
        final = self.is_final(header.number) or self.is_overtaken(header.number)
        self._shown[header.number] = header.hash, final
        self._shown.move_to_end(header.number)
        if len(self._shown) > BLOCKS_REMEMBERED:
            self._shown.popitem(last=False)
        self.floor = max(self.floor, header.number)

    def forget(self, number: int) -> bool:
        """Forget a block that no endpoint has any more, unless it was final; tell whether it is forgotten."""
        return not self.is_final(number) and self._shown.pop(number, None) is not None

    def lower(self, number: int) -> bool:
        """Take the chain to have gone back to this height; tell whether that changes anything."""
        if number >= self.floor:
            return False
        self.floor = number
        self._forget_from(number + 1)
        return True

    def _forget_from(self, number: int) -> None:
        for gone in [each for each in self._shown if each >= number]:
            del self._shown[gone]
