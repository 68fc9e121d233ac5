"""The numbers of a pool's endpoints, as Prometheus reads them; names of endpoints hold no secrets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from contracts.rpc.circuit import CircuitState
from contracts.rpc.endpoint import Endpoint
from contracts.rpc.numbers import LATENCY_BUCKETS_S
from contracts.rpc.pool import Pool


class PoolCollector(Collector):
    """Shows the endpoints of one pool. Give it to a server's registry or register it in one's own."""

    def __init__(self, pool: Pool) -> None:
        self._endpoints: Sequence[Endpoint] = pool.endpoints

    def collect(self) -> Iterator[Metric]:
        """Yield everything, in a stable order."""
        yield self._by("rpc_requests", "Requests that a chain endpoint answered.", "method")
        yield self._by("rpc_errors", "Requests that a chain endpoint failed or refused, by class.", "error")
        yield self._latencies()
        yield from self._counters()
        yield from self._gauges()

    def _by(self, name: str, help_text: str, label: str) -> Metric:
        family = CounterMetricFamily(name, help_text, labels=("endpoint", label))
        for each in self._endpoints:
            counts = each.numbers.requests if label == "method" else each.numbers.errors
            for key, count in sorted(counts.items()):
                family.add_metric((each.name, key), count)
        return family

    def _latencies(self) -> Metric:
        family = HistogramMetricFamily(
            "rpc_request_duration_seconds", "Time until a chain endpoint answered.", labels=("endpoint",)
        )
        for each in self._endpoints:
            bounds = [*(str(bound) for bound in LATENCY_BUCKETS_S), "+Inf"]
            counts = accumulate(each.numbers.latencies)
            buckets = [(bound, float(count)) for bound, count in zip(bounds, counts, strict=True)]
            family.add_metric((each.name,), buckets, each.numbers.latency_sum_s)
        return family

    def _counters(self) -> Iterator[Metric]:
        rested = CounterMetricFamily(
            "rpc_rate_limited_seconds",
            "Time that rates and 429s kept an endpoint away.",
            labels=("endpoint",),
        )
        opened = CounterMetricFamily(
            "rpc_circuit_opened", "Times that a circuit opened.", labels=("endpoint",)
        )
        against = CounterMetricFamily(
            "rpc_contradictions", "Answers that other endpoints contradicted.", labels=("endpoint",)
        )
        for each in self._endpoints:
            rested.add_metric((each.name,), each.numbers.rested_s)
            opened.add_metric((each.name,), each.circuit.opened)
            against.add_metric((each.name,), each.numbers.contradictions)
        yield from (rested, opened, against)

    def _gauges(self) -> Iterator[Metric]:
        head = GaugeMetricFamily("rpc_head_block", "Newest block of an endpoint.", labels=("endpoint",))
        state = GaugeMetricFamily(
            "rpc_circuit_state", "1 for the state that a circuit is in.", labels=("endpoint", "state")
        )
        for each in self._endpoints:
            if each.head is not None:
                head.add_metric((each.name,), each.head)
            for known in CircuitState:
                state.add_metric((each.name, known), float(each.circuit.state is known))
        yield from (head, state)
