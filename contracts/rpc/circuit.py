"""When an endpoint may be asked: its circuit breaker, and its own rate of requests.

Pure: time is a parameter, in seconds of any clock that only goes forward. The circuit's states are a table:

    closed     --failures in a row-->  open
    open       --its time is over, one probe begins-->  half_open
    half_open  --probe answered-->  closed      --probe failed-->  open, for twice as long
               --probe given up-->  open, to be probed at once
"""

from __future__ import annotations

from enum import StrEnum

from contracts.rpc.settings import PoolSettings


class CircuitState(StrEnum):
    """Where a circuit stands."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Circuit:
    """The breaker of one endpoint. Whoever calls `enter` calls one of the three that end what it began."""

    def __init__(self, settings: PoolSettings) -> None:
        self._settings = settings
        self._failures = 0
        self._open_s = settings.open_s_min
        self._until = 0.0
        self.state = CircuitState.CLOSED
        self.opened = 0

    def wait_s(self, now: float) -> float:
        """Return how long nobody may be let through: 0 while closed, or when a probe may begin."""
        if self.state is CircuitState.CLOSED:
            return 0.0
        if self.state is CircuitState.HALF_OPEN:
            return self._settings.open_s_min  # The probe under way will tell.
        return max(0.0, self._until - now)

    def enter(self) -> None:
        """Begin a request that `wait_s` allowed: the first one after an open circuit is its probe."""
        if self.state is CircuitState.OPEN:
            self.state = CircuitState.HALF_OPEN

    def succeeded(self) -> None:
        """End a request that was answered."""
        self._failures, self._open_s = 0, self._settings.open_s_min
        self.state = CircuitState.CLOSED

    def failed(self, now: float) -> None:
        """End a request that was not; a failed probe keeps the circuit open for twice as long."""
        self._failures += 1
        if self.state is CircuitState.HALF_OPEN:
            self._open_s = min(2 * self._open_s, self._settings.open_s_max)
            self._open(now, self._open_s)
        elif self.state is CircuitState.CLOSED and self._failures >= self._settings.failures_max:
            self._open(now, self._open_s)

    def abandoned(self) -> None:
        """End a request of which nobody knows how it would have ended: a probe is to be made again."""
        if self.state is CircuitState.HALF_OPEN:
            self.state, self._until = CircuitState.OPEN, 0.0

    def trip(self, now: float) -> None:
        """Open at once, for as long as ever: what the endpoint is, not how it is, is wrong."""
        self._open_s = self._settings.open_s_max
        self._open(now, self._open_s)

    def _open(self, now: float, seconds: float) -> None:
        self.state, self._until = CircuitState.OPEN, now + seconds
        self.opened += 1


class TokenBucket:
    """A rate that may be exceeded for one second: `take` says how long to wait before asking."""

    def __init__(self, per_s: float | None) -> None:
        self._per_s = per_s
        self._tokens = per_s or 0.0
        self._at: float | None = None

    def wait_s(self, now: float, count: int = 1) -> float:
        """Return how long `count` requests would have to wait."""
        if self._per_s is None:
            return 0.0
        self._refill(now, self._per_s)
        # More than a second's worth is let through once the bucket is full, and paid for afterwards.
        return max(0.0, (min(count, self._per_s) - self._tokens) / self._per_s)

    def take(self, now: float, count: int = 1) -> float:
        """Take the tokens of `count` requests, on credit if need be; return the pause that they cost."""
        wait_s = self.wait_s(now, count)
        if self._per_s is not None:
            self._tokens -= count
        return wait_s

    def _refill(self, now: float, per_s: float) -> None:
        if self._at is not None:
            self._tokens = min(max(per_s, 1.0), self._tokens + (now - self._at) * per_s)
        self._at = now
