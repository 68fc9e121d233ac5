"""Retry policies: whether and when a failed attempt of a leaf function is followed by another.

Pure: chance comes in as a number between 0 and 1, times are seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

ATTEMPTS_MAX_DEFAULT = 31


class RetryPolicy(Protocol):
    """What decides over the next attempt."""

    @property
    def non_retryable(self) -> tuple[type[BaseException], ...]:
        """The error types after which there is no other attempt."""
        ...

    def delay_s_after(self, attempt: int, chance: float) -> float | None:
        """Return the seconds to wait after the failed `attempt` (counted from 1), None to give up.

        `chance` is a random number from 0 to 1 that spreads attempts which failed together.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Exponential:
    """Wait longer each time: `delay_s`, then `factor` times as long, up to `delay_s_max`.

    `jitter` is the share of each delay that is left to chance: 0 is exact, 0.5 waits 50 to 100 %.
    `attempts_max` None means without end. No attempt begins more than `duration_s_max` after the first.
    """

    delay_s: float = 1.0
    factor: float = 2.0
    delay_s_max: float = 30.0
    attempts_max: int | None = ATTEMPTS_MAX_DEFAULT
    jitter: float = 0.5
    duration_s_max: float | None = None
    non_retryable: tuple[type[BaseException], ...] = ()

    def delay_s_after(self, attempt: int, chance: float) -> float | None:
        """Return the seconds to wait after the failed `attempt`, None to give up."""
        if _exhausted(attempt, self.attempts_max):
            return None
        # The exponent is bounded, for a policy without end must not overflow a float.
        delay_s = min(self.delay_s * self.factor ** min(attempt - 1, 64), self.delay_s_max)
        return delay_s * (1.0 - self.jitter * chance)


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """Wait `delay_s` longer each time, up to `delay_s_max`; `attempts_max` None means without end.

    No attempt begins more than `duration_s_max` after the first.
    """

    delay_s: float = 1.0
    delay_s_max: float = 30.0
    attempts_max: int | None = ATTEMPTS_MAX_DEFAULT
    duration_s_max: float | None = None
    non_retryable: tuple[type[BaseException], ...] = ()

    def delay_s_after(self, attempt: int, chance: float) -> float | None:
        """Return the seconds to wait after the failed `attempt`, None to give up."""
        return (
            None if _exhausted(attempt, self.attempts_max) else min(self.delay_s * attempt, self.delay_s_max)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant:
    """Wait `delay_s` each time; `attempts_max` None means without end.

    No attempt begins more than `duration_s_max` after the first.
    """

    delay_s: float = 1.0
    attempts_max: int | None = ATTEMPTS_MAX_DEFAULT
    duration_s_max: float | None = None
    non_retryable: tuple[type[BaseException], ...] = ()

    def delay_s_after(self, attempt: int, chance: float) -> float | None:
        """Return the seconds to wait after the failed `attempt`, None to give up."""
        return None if _exhausted(attempt, self.attempts_max) else self.delay_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Never:
    """The first failure is final."""

    non_retryable: tuple[type[BaseException], ...] = ()

    def delay_s_after(self, attempt: int, chance: float) -> float | None:
        """Return None: there is no other attempt."""
        return None


def next_delay_s(policy: RetryPolicy, attempt: int, elapsed_s: float, chance: float) -> float | None:
    """Return the seconds to wait after the failed `attempt`, None to give up.

    `elapsed_s` is the time since the first attempt began. A policy of one's own may have a
    `duration_s_max`, and need not.
    """
    delay_s = policy.delay_s_after(attempt, chance)
    duration_s_max: float | None = getattr(policy, "duration_s_max", None)
    if delay_s is None or (duration_s_max is not None and elapsed_s + delay_s > duration_s_max):
        return None
    return delay_s


def worth_another(error: BaseException, policy: RetryPolicy) -> bool:
    """Tell whether another attempt may end otherwise: the policy decides, and the error's `retryable`.

    An error from another process has the names of its types in `type_names`.
    """
    names: tuple[str, ...] = getattr(error, "type_names", ())
    if isinstance(error, policy.non_retryable) or any(
        f"{cls.__module__}.{cls.__qualname__}" in names for cls in policy.non_retryable
    ):
        return False
    return bool(getattr(error, "retryable", True))


def _exhausted(attempt: int, attempts_max: int | None) -> bool:
    return attempts_max is not None and attempt >= attempts_max
