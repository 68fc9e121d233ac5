"""What the server counts, in a registry of its own: two servers in one process do not mix.

Labels come from closed sets: a client cannot create a time series by inventing an operation.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from orchestrator.engine import Histogram
from orchestrator.protocol.commands import COMMANDS
from orchestrator.server.engine_metrics import buckets_of, by_kind_and_status

INVALID_KIND = "invalid"
"""The label of requests whose operation could not be told."""
_DURATION_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class _Answered(Collector):
    """What was answered, as plain numbers: a counter of the library takes a lock for each."""

    def __init__(self) -> None:
        self._requests: defaultdict[tuple[str, int], int] = defaultdict(int)
        self._durations = {kind: Histogram(_DURATION_BUCKETS_S) for kind in (*COMMANDS, INVALID_KIND)}

    def count(self, kind: str, status: int, seconds: float) -> None:
        """Count one RPC."""
        if kind not in self._durations:
            kind = INVALID_KIND
        self._requests[kind, status] += 1
        self._durations[kind].observe(seconds)

    def collect(self) -> Iterator[Metric]:
        """Yield everything, in a stable order."""
        yield by_kind_and_status("orchestrator_requests", "RPCs answered.", self._requests)
        durations = HistogramMetricFamily(
            "orchestrator_request_duration_seconds",
            "Time from a parsed RPC to its answer.",
            labels=("kind",),
        )
        for kind, histogram in self._durations.items():
            durations.add_metric((kind,), buckets_of(histogram), histogram.total)
        yield durations


class ServerMetrics:
    """The counters of one server, together with the collectors that its owner registered."""

    def __init__(self, collectors: Iterable[Collector] = ()) -> None:
        self.registry = CollectorRegistry()
        answered = _Answered()
        self.answered = answered.count
        """Count one RPC: its kind, its status, and the seconds that it took."""
        self._messages = Counter(
            "orchestrator_stream_messages",
            "Messages handed to delivery streams that have ended, by outcome.",
            ("outcome",),
            registry=self.registry,
        )
        self.streams = Gauge("orchestrator_streams", "Delivery streams held open.", registry=self.registry)
        self.channels = Gauge("orchestrator_channels", "Channels held open.", registry=self.registry)
        self.sockets = Gauge("orchestrator_sockets", "Connections held open.", registry=self.registry)
        self.sockets_refused = Counter(
            "orchestrator_sockets_refused", "Connections beyond the bound.", registry=self.registry
        )
        for collector in (answered, *collectors):
            self.registry.register(collector)

    def stream_ended(self, *, received: int, dropped: int) -> None:
        """Count what a stream has carried."""
        self._messages.labels("buffered").inc(received)
        self._messages.labels("dropped").inc(dropped)

    def exposition(self) -> bytes:
        """Return everything in the text format of Prometheus."""
        return generate_latest(self.registry)
