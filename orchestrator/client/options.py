"""What a caller may say about one call, beyond the function and its arguments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypedDict

from orchestrator.domain import tags as tag
from orchestrator.domain.address import any_of
from orchestrator.domain.group import fault_of_priority
from orchestrator.domain.retry import RetryPolicy

NO_DEADLINE_MS = 2**53 - 1
"""The `timeoutAt` of a promise without a deadline: the largest integer that every client can read."""


def _check_seconds(name: str, seconds: float | None) -> None:
    if seconds is not None and not seconds > 0:
        raise ValueError(f"{name} is {seconds}: give a number of seconds above 0, or leave it out")


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptLimits:
    """What one attempt of a leaf is bounded by, in seconds; None for nothing.

    `attempt_timeout_s` counts from its start, `heartbeat_timeout_s` from its start or its last heartbeat.
    """

    attempt_timeout_s: float | None = None
    heartbeat_timeout_s: float | None = None

    def __post_init__(self) -> None:
        """Refuse what no attempt could keep to."""
        for name in ("attempt_timeout_s", "heartbeat_timeout_s"):
            _check_seconds(name, getattr(self, name))

    def bounds_anything(self) -> bool:
        """Tell whether there is a limit at all."""
        return self.attempt_timeout_s is not None or self.heartbeat_timeout_s is not None


UNLIMITED = AttemptLimits()


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOptions:
    """Options of one call. None leaves the default.

    `target` is a group's name or a delivery address; `timeout_s` counts seconds from the call;
    `delay_until_ms` (Unix milliseconds) or `delay_s` (from the call) holds the first dispatch back;
    `priority` orders what waits for a group's workers, where the engine knows it;
    `attempt_timeout_s` bounds each attempt of a leaf that runs as a step.
    """

    id: str | None = None
    target: str | None = None
    timeout_s: float | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    version: int | None = None
    retry: RetryPolicy | None = None
    delay_until_ms: int | None = None
    delay_s: float | None = None
    priority: int | None = None
    attempt_timeout_s: float | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        _check_seconds("timeout_s", self.timeout_s)
        _check_seconds("attempt_timeout_s", self.attempt_timeout_s)
        if self.delay_s is not None and self.delay_until_ms is not None:
            raise ValueError("delay_s and delay_until_ms exclude each other: give one of them")
        if self.delay_s is not None and self.delay_s < 0:
            raise ValueError(f"delay_s is {self.delay_s}: give 0 or more seconds")
        fault = None if self.priority is None else fault_of_priority(str(self.priority))
        if fault is not None:
            raise ValueError(fault)

    @property
    def delayed(self) -> bool:
        """Tell whether the first dispatch is held back."""
        return self.delay_s is not None or self.delay_until_ms is not None

    def address(self, group: str) -> str:
        """Return where the call goes; by default to any worker of `group`."""
        target = self.target if self.target is not None else group
        return target if "://" in target else any_of(target)

    def deadline_ms(self, now_ms: int, bound_ms: int = NO_DEADLINE_MS) -> int:
        """Return when the call times out, never later than `bound_ms`."""
        if self.timeout_s is None:
            return bound_ms
        return min(now_ms + round(self.timeout_s * 1000), bound_ms)

    def dispatch_tags(self, now_ms: int) -> dict[str, str]:
        """Return the tags that say when, and before whom, a call is handed to a worker."""
        tags = {}
        if self.delay_s is not None:
            tags[tag.DELAY] = str(now_ms + round(self.delay_s * 1000))
        elif self.delay_until_ms is not None:
            tags[tag.DELAY] = str(self.delay_until_ms)
        if self.priority is not None:
            tags[tag.PRIORITY] = str(self.priority)
        return tags

    def limits(self, registered: AttemptLimits) -> AttemptLimits:
        """Return what bounds an attempt of a function that was registered with these limits."""
        if self.attempt_timeout_s is None:
            return registered
        return AttemptLimits(
            attempt_timeout_s=self.attempt_timeout_s, heartbeat_timeout_s=registered.heartbeat_timeout_s
        )


class InvocationOptions(TypedDict, total=False):
    """The options of an invocation from outside, as `app.options` takes them; see CallOptions."""

    target: str | None
    timeout_s: float | None
    tags: Mapping[str, str] | None
    version: int | None
    retry: RetryPolicy | None
    delay_until_ms: int | None
    delay_s: float | None
    priority: int | None


DEFAULTS = CallOptions()
