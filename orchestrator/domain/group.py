"""A worker group and its limits: how many of its tasks may be acquired, how often, with how many attempts.

The rate is a token bucket. It holds `rate` tokens and starts full; an acquisition takes one, and each
millisecond brings rate / period of one back. Its level is kept in units of 1/period token, so that everything
is an exact integer: level(t) = min(rate * period, level + (t - leveled_at) * rate), an acquisition costs
`period` of it. In any span of w milliseconds at most rate * (1 + w / period) acquisitions fit.

Time may seem to go back a little, between transactions that wait for one another or after a clock was set:
what it has brought once it brings no second time. A clock that was set back by more than a period fills the
bucket, or a group would stand still until that clock has caught up.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from orchestrator.domain import tags as tag
from orchestrator.domain.address import Address, PollAddress
from orchestrator.domain.promise import PromiseRecord

PRIORITY_MAX = 1_000
"""Priorities reach from its negative to this; 0 where none is named."""
ATTEMPTS_MAX = 1_000_000
_PRIORITY_DIGITS = 4


class Group(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What an operator has set about a group; None is no limit. `period` is milliseconds.

    `attempts` caps how often in a row a task may be acquired without progress.
    """

    id: str
    concurrency: int | None = None
    rate: int | None = None
    period: int | None = None
    attempts: int | None = None
    paused: bool = False

    @property
    def limited(self) -> bool:
        """Tell whether its tasks may have to wait for one another."""
        return self.paused or self.concurrency is not None or self.rate is not None

    @property
    def blank(self) -> bool:
        """Tell whether nothing is set."""
        return not self.limited and self.attempts is None


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """How much of its limits a group uses: acquired tasks, and its bucket's level at a moment."""

    acquired: int = 0
    level: int = 0
    leveled_at: int = 0


class DeathReason(StrEnum):
    """How the last attempt of a task ended."""

    LEASE_ENDED = "lease_ended"
    RELEASED = "released"


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A task that was halted because its attempts are spent. `group` is that of its target."""

    id: str
    group: str
    version: int
    attempts: int
    reason: DeathReason
    died_at: int


def full(group: Group, now_ms: int) -> Usage:
    """Return a usage with a full bucket."""
    return Usage(level=(group.rate or 0) * (group.period or 0), leveled_at=now_ms)


def level_at(group: Group, usage: Usage, now_ms: int) -> int:
    """Return the bucket's level in units of 1/period token."""
    if group.rate is None or group.period is None:
        return 0
    if usage.leveled_at > now_ms + group.period:
        return group.rate * group.period
    gained = max(now_ms - usage.leveled_at, 0) * group.rate
    return min(group.rate * group.period, usage.level + gained)


def taken(group: Group, usage: Usage, now_ms: int) -> Usage:
    """Return the usage after one more acquisition."""
    level = level_at(group, usage, now_ms) - (group.period or 0)
    ahead = now_ms < usage.leveled_at <= now_ms + (group.period or 0)
    return Usage(acquired=usage.acquired + 1, level=level, leveled_at=usage.leveled_at if ahead else now_ms)


def room(group: Group, usage: Usage, now_ms: int, unbounded: int) -> int:
    """Return how many more tasks may be acquired now, `unbounded` where nothing limits them."""
    if group.paused:
        return 0
    places = unbounded if group.concurrency is None else group.concurrency - usage.acquired
    if group.rate is not None and group.period is not None:
        places = min(places, level_at(group, usage, now_ms) // group.period)
    return max(places, 0)


def next_token_at(group: Group, usage: Usage, now_ms: int) -> int | None:
    """Return when time alone brings the next place (Unix milliseconds), None where it brings none."""
    if group.paused or group.rate is None or group.period is None:
        return None
    level = level_at(group, usage, now_ms)
    tokens = level // group.period
    if tokens >= group.rate:
        return None
    if group.concurrency is not None and group.concurrency - usage.acquired <= tokens:
        return None
    lacking = (tokens + 1) * group.period - level
    return max(now_ms, usage.leveled_at) + -(-lacking // group.rate)


def name_of(address: Address) -> str:
    """Return the group of an address: that of a poll address, of a push its URL as it stands."""
    return address.group if isinstance(address, PollAddress) else address.url


def priority_of(promise: PromiseRecord) -> int:
    """Return the priority of a task by its promise's tag; 0 for what was stored before it was checked."""
    text = promise.tags.get(tag.PRIORITY)
    return 0 if text is None or fault_of_priority(text) else int(text)


def fault_of_priority(text: str) -> str | None:
    """Return what is wrong with a priority tag, or None."""
    digits = text.removeprefix("-")
    whole = digits.isascii() and digits.isdigit() and len(digits) <= _PRIORITY_DIGITS
    if whole and -PRIORITY_MAX <= int(text) <= PRIORITY_MAX:
        return None
    return f"{tag.PRIORITY} must be a whole number from -{PRIORITY_MAX} to {PRIORITY_MAX}, not {text[:64]!r}"


def fault_of_attempts(text: str) -> str | None:
    """Return what is wrong with a tag that caps the attempts, or None."""
    whole = text.isascii() and text.isdigit() and len(text) <= len(str(ATTEMPTS_MAX))
    if whole and 1 <= int(text) <= ATTEMPTS_MAX:
        return None
    return f"{tag.ATTEMPTS} must be a whole number from 1 to {ATTEMPTS_MAX}, not {text[:64]!r}"


def attempts_allowed(promise: PromiseRecord | None, group: Group | None) -> int | None:
    """Return how many attempts a task has: its own tag's, else its group's; None without a cap."""
    own = promise.tags.get(tag.ATTEMPTS) if promise is not None else None
    if own is not None and fault_of_attempts(own) is None:
        return int(own)
    return group.attempts if group is not None else None
