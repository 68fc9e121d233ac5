"""Brings scores of one process together for a short while, and makes a durable batch of them.

Nothing here outlives the process: until the batch is durable its members repeat their step, and an item that
is gathered twice is claimed by one of the batches.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from scorers.batches.values import Batch, Item, Place

Begin = Callable[[str, Batch], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batching:
    """How scores go together: at most so many, and none waits longer for others than so many seconds."""

    size_max: int = 150
    wait_s: float = 2.0


class _Open:
    """A batch that still takes items."""

    def __init__(self) -> None:
        self.items: dict[str, Item] = {}
        self.full = asyncio.Event()
        self.ended = asyncio.Event()
        self.batch_id: str | None = None


class Gathering:
    """The open batches of a process; `begin` makes one durable."""

    def __init__(self, batching: Batching, begin: Begin) -> None:
        self._batching = batching
        self._begin = begin
        self._open: dict[Place, _Open] = {}

    async def join(self, place: Place, item: Item) -> str:
        """Return the id of the durable batch that the item is in. Raises what `begin` raises."""
        while True:
            opened = self._open.get(place)
            if opened is None:
                return await self._lead(place, item)
            opened.items[item.logical_id] = item
            if len(opened.items) >= self._batching.size_max:
                del self._open[place]
                opened.full.set()
            await opened.ended.wait()
            if opened.batch_id is not None:
                return opened.batch_id

    async def _lead(self, place: Place, item: Item) -> str:
        opened = self._open[place] = _Open()
        opened.items[item.logical_id] = item
        try:
            if self._batching.size_max > 1:
                await self._others(opened)
            self._close(place, opened)
            batch = Batch(place=place, items=tuple(opened.items[name] for name in sorted(opened.items)))
            batch_id = batch_id_of(batch)
            await self._begin(batch_id, batch)
            opened.batch_id = batch_id
        finally:
            # Whoever waits tries again by itself if this one was cancelled, or could not begin it.
            self._close(place, opened)
            opened.ended.set()
        return batch_id

    def _close(self, place: Place, opened: _Open) -> None:
        if self._open.get(place) is opened:
            del self._open[place]

    async def _others(self, opened: _Open) -> None:
        try:
            async with asyncio.timeout(self._batching.wait_s):
                await opened.full.wait()
        except TimeoutError:
            return


def batch_id_of(batch: Batch) -> str:
    """Return the id of a batch: the same for the same items in the same place."""
    place = batch.place
    names = "\n".join(item.logical_id for item in batch.items)
    digest = hashlib.sha256(names.encode()).hexdigest()[:24]
    return f"submitScores-{place.chain_id}-{place.registry}-{place.scorer}-{digest}"
