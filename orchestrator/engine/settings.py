"""What can be set about an engine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """Times are milliseconds.

    `retry_timeout_ms`: after it a pending task is announced again. `retry_unheard_ms`: the same while nobody
    of its group listens, growing with the task's age up to `retry_unheard_ms_max`; whoever connects is sent
    everything at once. `reserve_ms`: how long a place in a limited group is kept for a task that was
    announced. `batch_max`: commands in one commit.
    `queue_max`: commands that may wait; more are refused as Unavailable. `tick_page`: promises and tasks
    that one tick's transaction looks at. `release_backoff_ms` and `release_backoff_ms_max`: the wait before
    a task that was released twice in a row is announced again, doubling up to the maximum; a member that
    connects is told of it at once.
    `announce_again_max`: timers that a starting engine looks at, for tasks whose announcement died with an
    engine and its worker. `preload_max`: promises in one preload.
    `search_scan_max`: candidates that one search reads.
    `unblock_keep_ms`: how long the news of a settlement waits for its listener to connect.
    `schedule_grace_ms`: how late a schedule's run may be if what was missed is not caught up. `debug` lets
    callers steer the engine by the debug operations.
    `retain_children_ms`: how long after its end the children of a root stay, None: for ever.
    `unnamed_renewal_ms`: how long after the last write of a task's holder (acquire, fence, a heartbeat that
    names it) empty heartbeats still renew it.
    `flush_page`: outbox rows read at once. `push_queue_max` and `push_concurrency` bound the pushes.
    """

    retry_timeout_ms: int = 30_000
    retry_unheard_ms: int = 600_000
    retry_unheard_ms_max: int = 86_400_000
    reserve_ms: int = 1_000
    batch_max: int = 256
    queue_max: int = 10_000
    tick_page: int = 500
    release_backoff_ms: int = 250
    release_backoff_ms_max: int = 300_000
    announce_again_max: int = 10_000
    preload_max: int = 1_000
    search_scan_max: int = 10_000
    unblock_keep_ms: int = 600_000
    unnamed_renewal_ms: int = 3_600_000
    flush_page: int = 500
    push_queue_max: int = 10_000
    push_concurrency: int = 64
    schedule_grace_ms: int = 60_000
    debug: bool = False
    retain_children_ms: int | None = None

    @property
    def touch_ms(self) -> int:
        """How exactly the last write of a holder is known."""
        return self.unnamed_renewal_ms // 60

    def __post_init__(self) -> None:
        """Refuse what would make the engine spin or stand still. Raises ValueError."""
        for name in self.__slots__:
            value = getattr(self, name)
            if value is None or isinstance(value, bool):
                continue
            least = 0 if name.startswith("release_backoff") else 1
            if value < least:
                raise ValueError(f"{name} must be at least {least}, not {value}")
