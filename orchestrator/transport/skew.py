"""How far this machine's clock is from the server's, by the Date header of its answers (to the second).

Deadlines and sleeps are reckoned by the worker's clock and kept by the server's: a difference lengthens or
shortens each of them by as much, which is worth an alarm and no more.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime

import structlog

TOLERANCE_S = 5.0
AGAIN_S = 300.0
_log = structlog.get_logger(__name__)


class ClockWatch:
    """Looks at one answer every few minutes."""

    def __init__(self, url: str, now_s: Callable[[], float] = time.time) -> None:
        self._url = url
        self._now_s = now_s
        self._next_at = 0.0

    @property
    def due(self) -> bool:
        """Tell whether the next answer should be looked at."""
        return not 0 <= self._next_at - self._now_s() <= AGAIN_S

    def look(self, date: str | None) -> None:
        """Take an answer's Date header; warn if the clocks differ by more than five seconds."""
        now_s = self._now_s()
        if date is None or not self.due:
            return
        self._next_at = now_s + AGAIN_S
        try:
            ahead_s = now_s - parsedate_to_datetime(date).timestamp()
        except ValueError:
            return
        if abs(ahead_s) > TOLERANCE_S:
            _log.warning("clock_differs", url=self._url, ahead_s=round(ahead_s), advice="set both by NTP")
