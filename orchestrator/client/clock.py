"""The client's clock: what time it is for deadlines, and how to wait.

It has the shape of the engine's clock, so that an embedded application lives in one time. Leases are timed
by the loop's own monotonic clock.
"""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Tells and passes time."""

    def now_ms(self) -> int:
        """Return Unix milliseconds."""
        ...

    async def sleep_until(self, moment_ms: int) -> None:
        """Return once it is `moment_ms` (Unix milliseconds) or later."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        """Return Unix milliseconds."""
        return time.time_ns() // 1_000_000

    async def sleep_until(self, moment_ms: int) -> None:
        """Sleep until then."""
        while (left_ms := moment_ms - self.now_ms()) > 0:  # noqa: ASYNC110 - the moment is the wall clock's
            await asyncio.sleep(left_ms / 1000)
