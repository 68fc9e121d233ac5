"""Waiting: pauses that grow, with jitter, and end at once when the listener is to stop."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field

_DOUBLINGS_MAX = 32


def growing(attempt: int, minimum_s: float, maximum_s: float) -> float:
    """Return the longest pause before retry `attempt` (counted from 1): doubling, bounded."""
    return min(maximum_s, minimum_s * 2.0 ** min(attempt - 1, _DOUBLINGS_MAX))


@dataclass(slots=True, kw_only=True)
class Backoff:
    """Pauses of one loop, in seconds. `chance` makes the jitter: many listeners must not return in step."""

    minimum_s: float
    maximum_s: float
    chance: random.Random = field(default_factory=random.Random)
    attempts: int = 0

    def next_s(self, asked_s: float | None = None) -> float:
        """Return the next pause: half certain, half by chance, never shorter than the node asked for."""
        self.attempts += 1
        longest = growing(self.attempts, self.minimum_s, self.maximum_s)
        pause_s = longest / 2 + self.chance.random() * longest / 2
        return max(pause_s, min(asked_s or 0.0, self.maximum_s))

    def reset(self) -> None:
        """Begin anew after a success."""
        self.attempts = 0


async def pause(stop: asyncio.Event, seconds: float, wake: asyncio.Event | None = None) -> None:
    """Wait that long, or until `stop` or `wake` is set; `wake` is cleared."""
    if wake is None:
        await _within(seconds, stop)
        return
    waiting = [asyncio.create_task(_within(seconds, each)) for each in (stop, wake)]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        wake.clear()
        for each in waiting:
            each.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def _within(seconds: float, event: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
