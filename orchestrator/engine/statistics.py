"""What an engine counts about itself, as plain numbers for whoever publishes them."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Sized
from dataclasses import dataclass, field

from orchestrator.domain.group import DeadLetter

BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
SECONDS_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


@dataclass(slots=True)
class Histogram:
    """How often a value fell at or below each bound; `counts` has one more for what lies above them all."""

    bounds: tuple[float, ...]
    counts: list[int] = field(default_factory=list)
    total: float = 0.0
    count: int = 0

    def __post_init__(self) -> None:
        """Start at zero."""
        self.counts = [0] * (len(self.bounds) + 1)

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value
        self.count += 1


@dataclass(slots=True)
class Statistics:
    """Counters since the engine was made. Statuses are the protocol's.

    503 stands for Unavailable, 499 for a caller that did not wait for its answer.

    `requests` by (kind, status), `messages` sent by kind, `unroutable` messages left in the outbox by kind,
    `pushes` by outcome, `batches` in commands, `commits` in seconds, `scheduled` promises that schedules have
    created, `removed` those that retention has removed, `died` tasks whose attempts were spent by reason.
    """

    requests: defaultdict[tuple[str, int], int] = field(default_factory=lambda: defaultdict(int))
    messages: Counter[str] = field(default_factory=Counter)
    unroutable: Counter[str] = field(default_factory=Counter)
    pushes: Counter[str] = field(default_factory=Counter)
    batches: Histogram = field(default_factory=lambda: Histogram(BATCH_BUCKETS))
    commits: Histogram = field(default_factory=lambda: Histogram(SECONDS_BUCKETS))
    ticks: int = 0
    scheduled: int = 0
    removed: int = 0
    failed_batches: int = 0
    died: Counter[str] = field(default_factory=Counter)
    connections: int = 0
    queue: Sized = ()
    """The commands that wait for a commit."""

    @property
    def queued(self) -> int:
        """How many commands wait for a commit."""
        return len(self.queue)

    def count_dead(self, letters: Iterable[DeadLetter]) -> None:
        """Count tasks whose attempts were spent."""
        self.died.update(letter.reason.value for letter in letters)
