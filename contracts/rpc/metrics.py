"""The numbers of pools' endpoints, as Prometheus reads them; names of endpoints hold no secrets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from contracts.rpc.circuit import CircuitState
from contracts.rpc.endpoint import Endpoint
from contracts.rpc.numbers import LATENCY_BUCKETS_S
from contracts.rpc.pool import Pool

LABELS = ("endpoint", "chain")


class PoolsCollector(Collector):
    """Shows the pools that are open when it is asked, for a process that opens them one after the other."""

    def __init__(self, pools: Callable[[], Iterable[Pool]]) -> None:
        self._pools = pools

    def collect(self) -> Iterator[Metric]:
        """Yield everything, in a stable order."""
        yield from PoolCollector(*self._pools()).collect()


class PoolCollector(Collector):
    """Shows the endpoints of pools, one collector for all of a process. Give it to a server's registry."""

    def __init__(self, *pools: Pool) -> None:
        self._pools = pools
        self._endpoints = [endpoint for pool in pools for endpoint in pool.endpoints]

    def collect(self) -> Iterator[Metric]:
        """Yield everything, in a stable order."""
        yield self._by("rpc_requests", "Requests that a chain endpoint answered.", "method")
        yield self._by("rpc_errors", "Requests that a chain endpoint failed or refused, by class.", "error")
        yield self._latencies()
        yield from self._counters()
        yield self._together()
        yield from self._gauges()

    def _by(self, name: str, help_text: str, label: str) -> Metric:
        family = CounterMetricFamily(name, help_text, labels=(*LABELS, label))
        for each in self._endpoints:
            counts = each.numbers.requests if label == "method" else each.numbers.errors
            for key, count in sorted(counts.items()):
                family.add_metric((*_of(each), key), count)
        return family

    def _latencies(self) -> Metric:
        family = HistogramMetricFamily(
            "rpc_request_duration_seconds", "Time until a chain endpoint answered.", labels=LABELS
        )
        for each in self._endpoints:
            bounds = [*(str(bound) for bound in LATENCY_BUCKETS_S), "+Inf"]
            counts = accumulate(each.numbers.latencies)
            buckets = [(bound, float(count)) for bound, count in zip(bounds, counts, strict=True)]
            family.add_metric(_of(each), buckets, each.numbers.latency_sum_s)
        return family

    def _counters(self) -> Iterator[Metric]:
        rested = CounterMetricFamily(
            "rpc_rate_limited_seconds",
            "Time that rates and 429s kept an endpoint away.",
            labels=LABELS,
        )
        opened = CounterMetricFamily("rpc_circuit_opened", "Times that a circuit opened.", labels=LABELS)
        against = CounterMetricFamily(
            "rpc_contradictions", "Answers that other endpoints contradicted.", labels=LABELS
        )
        passed = CounterMetricFamily(
            "rpc_failovers", "Reads that went on to another endpoint because this one failed.", labels=LABELS
        )
        unmet = CounterMetricFamily(
            "rpc_disagreements",
            "Quorums that an endpoint answered to and that were not reached.",
            labels=LABELS,
        )
        for each in self._endpoints:
            passed.add_metric(_of(each), each.numbers.passed_on)
            unmet.add_metric(_of(each), each.numbers.disagreements)
            rested.add_metric(_of(each), each.numbers.rested_s)
            opened.add_metric(_of(each), each.circuit.opened)
            against.add_metric(_of(each), each.numbers.contradictions)
        yield from (rested, opened, against, passed, unmet)

    def _together(self) -> Metric:
        family = CounterMetricFamily(
            "rpc_calls_together", "Calls that were read many at once, by the way.", labels=("chain", "way")
        )
        sums: Counter[tuple[str, str]] = Counter()
        for pool in self._pools:
            for way, count in pool.calls_together.items():
                sums[_of(pool.endpoints[0])[1], way] += count
        for labels, count in sorted(sums.items()):
            family.add_metric(labels, count)
        return family

    def _gauges(self) -> Iterator[Metric]:
        head = GaugeMetricFamily("rpc_head_block", "Newest block of an endpoint.", labels=LABELS)
        state = GaugeMetricFamily(
            "rpc_circuit_state", "1 for the state that a circuit is in.", labels=(*LABELS, "state")
        )
        for each in self._endpoints:
            if each.head is not None:
                head.add_metric(_of(each), each.head)
            for known in CircuitState:
                state.add_metric((*_of(each), known), float(each.circuit.state is known))
        yield from (head, state)


def _of(endpoint: Endpoint) -> tuple[str, str]:
    """Return the labels of an endpoint: one host may serve several chains, told apart by its path alone."""
    return endpoint.name, "" if endpoint.chain_id is None else str(endpoint.chain_id)
