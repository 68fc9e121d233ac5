"""The engine's own numbers, as Prometheus reads them.

Counters are read from the engine's statistics at the moment of asking; what is open in the store is counted
by a query of its own, given in by the route, since collecting is synchronous.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from orchestrator.engine import Histogram, Statistics
from orchestrator.server.gauges import shown
from orchestrator.store.port import Gauges


class EngineCollector(Collector):
    """Shows the statistics of one engine; `gauges` is what was last counted, None while unknown."""

    def __init__(self, statistics: Statistics) -> None:
        self.gauges: Gauges | None = None
        self._statistics = statistics

    def collect(self) -> Iterator[Metric]:
        """Yield everything, in a stable order."""
        statistics = self._statistics
        yield by_kind_and_status(
            "orchestrator_commands",
            "Commands carried out, also those from inside this process.",
            statistics.requests,
        )
        yield _by("orchestrator_messages", "Messages sent to connections.", "kind", statistics.messages)
        yield _by(
            "orchestrator_messages_unroutable",
            "Messages left in the outbox because no connection took them.",
            "kind",
            statistics.unroutable,
        )
        yield _by("orchestrator_pushes", "Messages posted to URLs.", "outcome", statistics.pushes)
        yield _histogram("orchestrator_batch_commands", "Commands in one commit.", statistics.batches)
        yield _histogram("orchestrator_commit_seconds", "Duration of a commit.", statistics.commits)
        yield CounterMetricFamily("orchestrator_ticks", "Timer rounds.", value=statistics.ticks)
        yield CounterMetricFamily(
            "orchestrator_schedule_runs", "Promises created by schedules.", value=statistics.scheduled
        )
        yield CounterMetricFamily(
            "orchestrator_promises_removed", "Promises removed by retention.", value=statistics.removed
        )
        yield _by(
            "orchestrator_tasks_died", "Tasks halted with their attempts spent.", "reason", statistics.died
        )
        yield CounterMetricFamily(
            "orchestrator_batches_failed",
            "Commits that failed as a whole and were taken apart.",
            value=statistics.failed_batches,
        )
        yield GaugeMetricFamily(
            "orchestrator_connections", "Members connected to this engine.", value=statistics.connections
        )
        yield GaugeMetricFamily(
            "orchestrator_queued_commands", "Commands that wait for a commit.", value=statistics.queued
        )
        if self.gauges is not None:
            yield from shown(self.gauges)


def by_kind_and_status(name: str, text: str, counts: Mapping[tuple[str, int], int]) -> Metric:
    """Return how often each kind of command came to each status."""
    family = CounterMetricFamily(name, text, labels=("kind", "status"))
    for (kind, status), count in sorted(counts.items()):
        family.add_metric((kind, str(status)), count)
    return family


def _by(name: str, text: str, label: str, counts: dict[str, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=(label,))
    for key, count in sorted(counts.items()):
        family.add_metric((key,), count)
    return family


def _histogram(name: str, text: str, histogram: Histogram) -> Metric:
    return HistogramMetricFamily(name, text, buckets=buckets_of(histogram), sum_value=histogram.total)


def buckets_of(histogram: Histogram) -> list[tuple[str, float]]:
    """Return how many values lie at or below each bound, as Prometheus wants it."""
    buckets: list[tuple[str, float]] = []
    below = 0
    for bound, count in zip((*histogram.bounds, None), histogram.counts, strict=True):
        below += count
        buckets.append(("+Inf" if bound is None else str(float(bound)), below))
    return buckets
