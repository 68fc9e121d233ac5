"""How far a leaf function has come: kept for its next attempt, in this process or, recorded, in another.

Recorded progress stands in the open promise's value until the outcome replaces it, so that the settled record
never depends on it (W3). It is written at most once in `INTERVAL_S`; only the latest counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

INTERVAL_S = 1.0


class Progress:
    """The latest progress of one call, as a JSON tree; `write` has it recorded, where the engine can."""

    __slots__ = ("_closed", "_loop", "_next_at", "_timer", "_write", "tree")

    def __init__(self, tree: object = None, write: Callable[[object], None] | None = None) -> None:
        self.tree = tree
        self._write = write
        self._loop = asyncio.get_running_loop()
        self._next_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def note(self, tree: object) -> None:
        """Take progress, from any thread."""
        self.tree = tree
        if self._write is not None:
            self._loop.call_soon_threadsafe(self._schedule)

    def close(self) -> None:
        """Write nothing any more: the outcome is known."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()

    def _schedule(self) -> None:
        if self._timer is None and not self._closed:
            self._timer = self._loop.call_at(max(self._next_at, self._loop.time()), self._flush)

    def _flush(self) -> None:
        self._timer = None
        self._next_at = self._loop.time() + INTERVAL_S
        if self._write is not None and not self._closed:
            self._write(self.tree)
