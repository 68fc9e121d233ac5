"""What the comparison with other scorers tells monitoring. Labels come from closed sets."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import Metric
from prometheus_client.registry import Collector


class AgreementMetrics(Collector):
    """The counters of one worker, as a collector for whoever serves metrics."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self.compared = Counter(
            "scores_compared",
            "Submissions of other scorers, by whether they say what this one computed.",
            ("result",),
            registry=registry,
        )
        self.final = Counter(
            "scores_final",
            "Final verdicts, by whether they are what this scorer computed.",
            ("result",),
            registry=registry,
        )
        for counter in (self.compared, self.final):
            for result in ("agrees", "differs"):
                counter.labels(result)

    def compare(self, *, agrees: bool) -> None:
        """Count the submission of another scorer."""
        self.compared.labels("agrees" if agrees else "differs").inc()

    def finish(self, *, agrees: bool) -> None:
        """Count a final verdict."""
        self.final.labels("agrees" if agrees else "differs").inc()

    def collect(self) -> Iterable[Metric]:
        """Return all of it."""
        return self._registry.collect()
