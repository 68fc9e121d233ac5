"""The durable promise: its states, its value and its record.

Invariants: P1 a settled promise never changes. P2 an id is created once; a repeat returns what exists.
P3 a promise past its deadline is settled for every reader.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from orchestrator.domain import tags as tag


class PromiseState(StrEnum):
    """Where a promise stands; everything but `PENDING` is final."""

    PENDING = "pending"
    RESOLVED = "resolved"
    REJECTED = "rejected"
    REJECTED_CANCELED = "rejected_canceled"
    REJECTED_TIMEDOUT = "rejected_timedout"

    __hash__ = str.__hash__  # an enum's own runs in Python, and tables are asked for every command


_PENDING = PromiseState.PENDING
"""Asked for ten times as fast as the member of its class."""

ENCRYPTION_HEADER = "encryption"
"""Names the key under which a value's data is encrypted; headers themselves are plain."""

PROGRESS_HEADER = "progress"
"""Marks the value of an open promise: how far it has come, no outcome."""


class Value(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What a promise carries: opaque text `data` and plain `headers`."""

    headers: dict[str, str] | None = None
    data: str | None = None

    @property
    def key_id(self) -> str | None:
        """The key that opens the data, None if it is plain."""
        return self.headers.get(ENCRYPTION_HEADER) if self.headers else None


EMPTY = Value()


class PromiseRecord(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True, gc=False):
    """A promise as every reader sees it. Times are Unix milliseconds."""

    id: str
    state: PromiseState
    param: Value
    value: Value
    tags: dict[str, str]
    timeout_at: int
    created_at: int
    settled_at: int | None = None

    @property
    def pending(self) -> bool:
        """Tell whether the promise is still open."""
        return self.state is _PENDING

    @property
    def is_timer(self) -> bool:
        """Tell whether the deadline resolves this promise."""
        return self.tags.get(tag.TIMER) == tag.TRUE

    @property
    def target(self) -> str | None:
        """The delivery address of the promise's task, or None if it has none."""
        return self.tags.get(tag.TARGET)

    def expired(self, now_ms: int) -> bool:
        """Tell whether the promise is open although its deadline has passed."""
        return now_ms >= self.timeout_at and self.state is _PENDING

    def settled(self, state: PromiseState, value: Value, settled_at: int) -> PromiseRecord:
        """Return this promise in a final state; the caller has checked that it is pending (P1)."""
        return msgspec.structs.replace(self, state=state, value=value, settled_at=settled_at)

    def timed_out(self) -> PromiseRecord:
        """Return this promise as its deadline leaves it: resolved for a timer, else timed out (P3)."""
        state = PromiseState.RESOLVED if self.is_timer else PromiseState.REJECTED_TIMEDOUT
        return self.settled(state, EMPTY, self.timeout_at)
