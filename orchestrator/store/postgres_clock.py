"""The database's time, as an engine's clock: so that a server whose own clock is wrong sleeps rightly."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Literal

SLEEP_MAX_S = 1.0
TimeSource = Literal["database", "caller"]
"""Whose time a transaction is given: the database's, or that which `run` was called with (for tests)."""


@dataclass(slots=True)
class DatabaseClock:
    """Tells the database's time by what was last read from it; the machine's own until then."""

    _read_ms: int | None = None
    _read_at_s: float = 0.0

    def observe(self, now_ms: int) -> None:
        """Take in the database's present (Unix milliseconds)."""
        self._read_ms, self._read_at_s = now_ms, time.monotonic()

    @property
    def observed(self) -> bool:
        """Tell whether the database's time has been read at all."""
        return self._read_ms is not None

    def now_ms(self) -> int:
        """Return the database's present in Unix milliseconds, as far as it is known here."""
        if self._read_ms is None:
            return time.time_ns() // 1_000_000
        return self._read_ms + int((time.monotonic() - self._read_at_s) * 1000)

    async def sleep_until(self, moment_ms: int) -> None:
        """Sleep, a second at most at a time, so that what is observed meanwhile counts."""
        while (left_ms := moment_ms - self.now_ms()) > 0:  # noqa: ASYNC110  # there is no event for time
            await asyncio.sleep(min(left_ms / 1000, SLEEP_MAX_S))
