"""The lease of one task in this process, timed by the loop's monotonic clock, never by the wall."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from orchestrator.domain.errors import Abandoned


class Lease:
    """The right to write for a task, until it ends or is lost (T1, T2)."""

    __slots__ = (
        "_tell",
        "_tell_lost",
        "_time",
        "cancelled",
        "ends_at",
        "leaving",
        "lost",
        "reason",
        "task_id",
        "ttl_s",
        "version",
    )

    def __init__(self, task_id: str, version: int, ttl_s: float, acquired_at: float) -> None:
        """`acquired_at` is the loop's time just before the acquiring request was sent.

        `leaving` says that the task is being given back, or settled; `lost` that it is no longer ours, and
        `reason` why. At the loop's time `ends_at` it certainly is not.
        """
        self.task_id = task_id
        self.version = version
        self.ttl_s = ttl_s
        self.lost = self.cancelled = self.leaving = False
        self.reason = ""
        self._tell: Callable[[], None] | None = None
        self._tell_lost: Callable[[], object] | None = None
        self._time = asyncio.get_running_loop().time
        self.ends_at = acquired_at + ttl_s

    def renew(self, sent_at: float) -> None:
        """Take a heartbeat that was sent at the loop's time `sent_at` and answered."""
        self.ends_at = max(self.ends_at, sent_at + self.ttl_s)

    def remaining_s(self, now: float) -> float:
        """Return the seconds for which the lease is certainly ours, less than 0 after its end."""
        return self.ends_at - now

    def check(self) -> None:
        """Raise Abandoned unless the lease is certainly ours still.

        A process that was frozen wakes with its clock ahead of its timers: nothing may begin before they ran.
        """
        if self.lost or self._time() >= self.ends_at:
            self.lose("it ended without being renewed in time")
            raise Abandoned(f"the lease of {self.task_id} at version {self.version} has ended")

    def cancel(self) -> None:
        """Note that the invocation is to end; what executes it is told, once."""
        if not self.cancelled:
            self.cancelled = True
            if self._tell is not None:
                self._tell()

    def on_cancel(self, tell: Callable[[], None]) -> None:
        """Have `tell` called when the invocation is to end; at once if it is known already."""
        self._tell = tell
        if self.cancelled:
            tell()

    def lose(self, reason: str) -> None:
        """Note that the task is no longer ours, and why; who keeps the lease is told, once."""
        if not self.lost:
            self.lost, self.reason = True, reason
            if self._tell_lost is not None:
                self._tell_lost()

    def close(self) -> None:
        """Tell nobody any more: what executed under it has ended."""
        self._tell = self._tell_lost = None

    def on_lost(self, tell: Callable[[], object]) -> None:
        """Have `tell` called when the task is no longer ours."""
        self._tell_lost = tell
