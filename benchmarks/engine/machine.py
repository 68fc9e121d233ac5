"""Whether the machine was our own while something was measured.

On a rented machine the host gives processor time to others, in bursts of some seconds; Linux tells how much
(`steal` in /proc/stat). What two threads do suffers more from that than what one does, so that a ratio would
speak of the neighbours. A slice in such a burst is measured again, with its peer; how many were is printed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from benchmarks.engine.report import Line

T = TypeVar("T")
STOLEN_MAX = 0.05
"""So much of all processors' time may have gone to others; it is counted in hundredths of a second."""
TRIES = 6
PAUSE_S = 0.5
_STAT = Path("/proc/stat")
_STEAL = 7


class Machine:
    """Watches one part's slices."""

    def __init__(self) -> None:
        self._slices = 0
        self._again = 0

    async def undisturbed(self, measure: Callable[..., Awaitable[T]], *given: object) -> T:
        """Return what was measured while others took at most STOLEN_MAX, or least of TRIES times."""
        self._slices += 1
        found: list[tuple[float, T]] = []
        for number in range(TRIES):
            if number:
                self._again += number == 1
                await asyncio.sleep(PAUSE_S)
            before = _ticks()
            result = await measure(*given)
            found.append((_stolen(before, _ticks()), result))
            if found[-1][0] <= STOLEN_MAX:
                break
        return min(found, key=lambda each: each[0])[1]

    def line(self, part: str) -> Line:
        """Return how many slices were measured again."""
        share = 100 * self._again / max(self._slices, 1)
        return Line(part=part, shape="measured again, for others took the processors", figure=share, unit="%")


def _ticks() -> list[int]:
    """Return what Linux counts of all processors' time, by kind; nothing elsewhere."""
    if not _STAT.exists():
        return []
    first = _STAT.read_text().partition("\n")[0]
    return [int(each) for each in first.split()[1 : _STEAL + 2]]


def _stolen(before: list[int], after: list[int]) -> float:
    passed = [late - early for early, late in zip(before, after, strict=True)]
    return passed[_STEAL] / max(sum(passed), 1) if len(passed) > _STEAL else 0.0
