"""Time, as a parameter: the only place from which a decision of the engine learns what time it is."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

CHECK_MS = 5_000
"""How long the machine's clock is believed not to be changed, or the machine not to be suspended."""


class Clock(Protocol):
    """Where the engine learns what time it is."""

    def now_ms(self) -> int:
        """Return the present in Unix milliseconds."""
        ...

    async def sleep_until(self, moment_ms: int) -> None:
        """Return once the present is `moment_ms` (Unix milliseconds) or later."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now_ms(self) -> int:
        """Return the present in Unix milliseconds."""
        return time.time_ns() // 1_000_000

    async def sleep_until(self, moment_ms: int) -> None:
        """Sleep, for a while at a time, so that a changed clock is noticed."""
        while (left_ms := moment_ms - self.now_ms()) > 0:  # noqa: ASYNC110  # there is no event for time
            await asyncio.sleep(min(left_ms, CHECK_MS) / 1000)


class ManualClock:
    """A clock that stands still until it is moved; for tests."""

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self._now_ms = now_ms
        self._moved = asyncio.Event()

    def now_ms(self) -> int:
        """Return the moment to which it was last moved."""
        return self._now_ms

    def advance(self, milliseconds: int) -> int:
        """Move it forwards, wake whoever slept until then, and return the new present."""
        self._now_ms += milliseconds
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()
        return self._now_ms

    async def sleep_until(self, moment_ms: int) -> None:
        """Return once it has been moved to `moment_ms` or later."""
        while self._now_ms < moment_ms:
            await self._moved.wait()
