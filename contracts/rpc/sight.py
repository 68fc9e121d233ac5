"""What one reader has been shown of the chain, so that no other endpoint shows it less, or another chain.

Pure. Blocks are remembered by number with their hash, and each tag by the highest number it has had.
"""

from __future__ import annotations

from collections import OrderedDict

from contracts.rpc.records import BlockHeader

BLOCKS_REMEMBERED = 4096
MOVING_TAGS = frozenset({"latest", "safe", "finalized"})


class Sight:
    """The memory of one pool's reader. `floor` is the highest block that it has been shown."""

    def __init__(self) -> None:
        self._hashes: OrderedDict[int, bytes] = OrderedDict()
        self._tags: dict[str, int] = {}
        self.floor = 0

    def hash_at(self, number: int) -> bytes | None:
        """Return the hash that was shown for a number, None if none was."""
        return self._hashes.get(number)

    def tag(self, tag: str) -> int:
        """Return the highest number that a tag was shown to have, 0 if it never was shown."""
        return self._tags.get(tag, 0)

    def is_final(self, number: int) -> bool:
        """Tell whether a block of this number was shown to be final."""
        return "finalized" in self._tags and number <= self._tags["finalized"]

    def show(self, header: BlockHeader, tag: str | None = None) -> None:
        """Remember what is about to be shown. A block of another hash takes those above it with it."""
        known = self._hashes.get(header.number)
        if known is not None and known != header.hash:
            for number in [each for each in self._hashes if each >= header.number]:
                del self._hashes[number]
        self._hashes[header.number] = header.hash
        self._hashes.move_to_end(header.number)
        if len(self._hashes) > BLOCKS_REMEMBERED:
            self._hashes.popitem(last=False)
        self.floor = max(self.floor, header.number)
        if tag in MOVING_TAGS:
            self._tags[tag] = header.number

    def forget(self, number: int) -> bool:
        """Forget a block that no endpoint has any more, unless it was final; tell whether it is forgotten."""
        return not self.is_final(number) and self._hashes.pop(number, None) is not None

    def lower(self, number: int) -> bool:
        """Take the chain to have gone back to this height; tell whether that changes anything."""
        if number >= self.floor:
            return False
        self.floor = number
        for gone in [each for each in self._hashes if each > number]:
            del self._hashes[gone]
        return True
