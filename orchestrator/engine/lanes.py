"""Additions that are under way beside one another, where a store gains by that (`Flushes`).

Only batches that are additions and nothing else go in lanes: there is nothing to decide, so that the loop
has time for the next. SQLite carries them out in their order, PostgreSQL as if they came from two servers;
whatever else is asked waits for them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from orchestrator.store.flushes import Flushes

T = TypeVar("T")
LANE_MIN = 32
"""So many commands make a lane; where fewer wait, they wait for one to end."""


class Lanes(Generic[T]):
    """The lanes of one committer; `failed` is told what waited in one that failed, `ended` of every end."""

    def __init__(
        self, flushes: Flushes, failed: Callable[[list[T], Exception], None], ended: Callable[[], None]
    ) -> None:
        self._flushes = flushes
        self._failed = failed
        self._ended = ended
        self._lanes: dict[asyncio.Task[None], list[T]] = {}

    def __bool__(self) -> bool:
        """Tell whether any is under way."""
        return bool(self._lanes)

    def full(self, queued: int) -> bool:
        """Tell whether so many queued commands should wait for a lane to end."""
        if not self._lanes:
            return False
        commands = sum(map(len, self._lanes.values())) + queued
        return queued < LANE_MIN or len(self._lanes) >= self._flushes.parts(commands)

    def shares_of(self, batch: list[T]) -> list[list[T]]:
        """Return the parts of a batch that should go by lanes of their own."""
        if self._lanes or len(batch) < 2 * LANE_MIN or self._flushes.parts(len(batch)) == 1:
            return [batch]
        half = (len(batch) + 1) // 2
        return [batch[:half], batch[half:]]

    def open(self, batch: list[T], adding: Coroutine[Any, Any, None]) -> None:
        """Let a batch go by a lane."""
        lane = asyncio.create_task(adding, name="engine-lane")
        self._lanes[lane] = batch
        lane.add_done_callback(self._close)

    def _close(self, lane: asyncio.Task[None]) -> None:
        batch = self._lanes.pop(lane)
        if not lane.cancelled() and isinstance(error := lane.exception(), Exception):
            self._failed(batch, error)
        self._ended()

    async def wait(self) -> None:
        """Return once none is under way."""
        while self._lanes:
            await asyncio.wait(self._lanes)

    def cut_off(self) -> list[T]:
        """End all lanes; return what waited in them."""
        for lane in self._lanes:
            lane.cancel()
        return [each for batch in self._lanes.values() for each in batch]
