"""The chain's own time, in whole seconds.

The clock runs with the wall clock at an offset. A timestamp chosen for the next block moves the offset once
that block is mined, so that time runs on from there, as on Hardhat and anvil.

T1 the timestamp of a block is strictly greater than its parent's.
"""

from collections.abc import Callable
from dataclasses import dataclass

from hardhat_free_chain.errors import InvalidParams


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockState:
    """What a snapshot keeps of the clock."""

    offset_s: int
    chosen: int | None
    interval_s: int | None = None


class ChainClock:
    """Decides the timestamp of the next block."""

    def __init__(self, wall: Callable[[], float], genesis_timestamp: int | None) -> None:
        self._wall = wall
        now = int(wall())
        self.genesis_timestamp = now if genesis_timestamp is None else genesis_timestamp
        self._offset_s = self.genesis_timestamp - now
        self._chosen: int | None = None
        self._interval_s: int | None = None

    @property
    def offset_s(self) -> int:
        """How far the chain's time is ahead of the wall clock, in seconds."""
        return self._offset_s

    def next_timestamp(self, parent_timestamp: int) -> int:
        """The timestamp that a block mined now on that parent would carry (T1)."""
        if self._chosen is not None:
            return max(self._chosen, parent_timestamp + 1)
        if self._interval_s is not None:
            return parent_timestamp + self._interval_s
        return max(int(self._wall()) + self._offset_s, parent_timestamp + 1)

    def check_is_later(self, timestamp: int, parent_timestamp: int) -> None:
        """Refuse a timestamp that breaks T1."""
        if timestamp <= parent_timestamp:
            raise InvalidParams(
                f"Timestamp {timestamp} is lower than or equal to previous block's timestamp "
                f"{parent_timestamp}"
            )

    def choose(self, timestamp: int, parent_timestamp: int) -> None:
        """Fix the next block's timestamp."""
        self.check_is_later(timestamp, parent_timestamp)
        self._chosen = timestamp

    def increase(self, seconds: int) -> int:
        """Move the clock forward; returns the whole offset in seconds."""
        self._offset_s += seconds
        return self._offset_s

    def set_now(self, timestamp: int) -> int:
        """Let it be this time now; returns by how many seconds the clock moved."""
        before = self._offset_s
        self._offset_s = timestamp - int(self._wall())
        return self._offset_s - before

    def set_interval(self, seconds: int | None) -> None:
        """Let each block be so many seconds later than its parent; None lets the clock decide again."""
        if seconds is not None and seconds < 1:
            raise InvalidParams(f"interval is {seconds}; give at least 1 second")
        self._interval_s = seconds

    def mined(self, timestamp: int) -> None:
        """A block with this timestamp is the head now; time runs on from it."""
        if self._chosen is not None:
            self._offset_s = timestamp - int(self._wall())
        self._chosen = None

    def state(self) -> ClockState:
        """The state for a snapshot."""
        return ClockState(offset_s=self._offset_s, chosen=self._chosen, interval_s=self._interval_s)

    def restore(self, state: ClockState) -> None:
        """Return to a snapshot's state."""
        self._offset_s, self._chosen = state.offset_s, state.chosen
        self._interval_s = state.interval_s
