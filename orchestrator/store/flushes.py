"""What a flush costs, and so in how many additions that are under way at once commands should go.

In two of them the database writes one while the loop makes the next ready and answers the one before, so
that two processors are busy; but each carries half of what is asked, and pays for a flush of its own. Where
N commands are asked again and again, a flush takes F seconds, and a command ROW_S of the loop's time and as
much of the database's, one addition after another takes F + 2 N ROW_S, and two at once 2 F + N ROW_S: less
where a flush takes less than N ROW_S.
"""

from __future__ import annotations

ROW_S = 25e-6
"""About what a row costs the database, and its command the loop, in a batch on a processor of 2020."""
WEIGHT = 0.2
"""How much the newest addition counts in the moving average."""


class Flushes:
    """Watches how long additions take."""

    def __init__(self) -> None:
        self._flush_s = 0.0

    def observe(self, rows: int, elapsed_s: float) -> None:
        """Take in how long the database took to add so many rows."""
        self._flush_s += WEIGHT * (max(elapsed_s - rows * ROW_S, 0.0) - self._flush_s)

    def parts(self, commands: int) -> int:
        """Return in how many additions at once so many commands should go: one or two."""
        return 2 if self._flush_s < commands * ROW_S else 1
