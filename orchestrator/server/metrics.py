"""What the server counts, in a registry of its own: two servers in one process do not mix.

Labels come from closed sets: a client cannot create a time series by inventing an operation.
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.registry import Collector

from orchestrator.protocol.commands import COMMANDS

INVALID_KIND = "invalid"
"""The label of requests whose operation could not be told."""
_DURATION_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class ServerMetrics:
    """The counters of one server, together with the collectors that its owner registered."""

    def __init__(self, collectors: Iterable[Collector] = ()) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "orchestrator_requests", "RPCs answered.", ("kind", "status"), registry=self.registry
        )
        self._durations = Histogram(
            "orchestrator_request_duration_seconds",
            "Time from a parsed RPC to its answer.",
            ("kind",),
            buckets=_DURATION_BUCKETS_S,
            registry=self.registry,
        )
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
        self._by_status: dict[tuple[str, int], Counter] = {}
        self._by_kind = {kind: self._durations.labels(kind) for kind in (*COMMANDS, INVALID_KIND)}
        for collector in collectors:
            self.registry.register(collector)

    def answered(self, kind: str, status: int, seconds: float) -> None:
        """Count one RPC."""
        key = (kind if kind in self._by_kind else INVALID_KIND, status)
        counter = self._by_status.get(key)
        if counter is None:
            counter = self._by_status[key] = self._requests.labels(key[0], str(status))
        counter.inc()
        self._by_kind[key[0]].observe(seconds)

    def stream_ended(self, *, received: int, dropped: int) -> None:
        """Count what a stream has carried."""
        self._messages.labels("buffered").inc(received)
        self._messages.labels("dropped").inc(dropped)

    def exposition(self) -> bytes:
        """Return everything in the text format of Prometheus."""
        return generate_latest(self.registry)
