"""What a caller may say about one call, beyond the function and its arguments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestrator.domain.address import any_of
from orchestrator.domain.retry import RetryPolicy

NO_DEADLINE_MS = 2**53 - 1
"""The `timeoutAt` of a promise without a deadline: the largest integer that every client can read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOptions:
    """Options of one call. None leaves the default.

    `target` is a group's name or a delivery address; `timeout_s` counts seconds from the call;
    `delay_until_ms` (Unix milliseconds) holds the first dispatch back.
    """

    id: str | None = None
    target: str | None = None
    timeout_s: float | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    version: int | None = None
    retry: RetryPolicy | None = None
    delay_until_ms: int | None = None

    def address(self, group: str) -> str:
        """Return where the call goes; by default to any worker of `group`."""
        target = self.target if self.target is not None else group
        return target if "://" in target else any_of(target)

    def deadline_ms(self, now_ms: int, bound_ms: int = NO_DEADLINE_MS) -> int:
        """Return when the call times out, never later than `bound_ms`."""
        if self.timeout_s is None:
            return bound_ms
        if self.timeout_s <= 0:
            raise ValueError(
                f"timeout_s is {self.timeout_s}: give a number of seconds above 0, or leave it out"
            )
        return min(now_ms + round(self.timeout_s * 1000), bound_ms)


DEFAULTS = CallOptions()
