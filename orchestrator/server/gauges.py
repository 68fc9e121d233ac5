"""What is open in the store, counted as seldom as it is costly.

Counting reads an entry of an index for each open task. However often somebody scrapes, it takes at most
SHARE_MAX of the time: what was counted before is shown until the next count is due.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from time import monotonic

import structlog
from prometheus_client.core import GaugeMetricFamily, Metric

from orchestrator.domain.address import PollAddress
from orchestrator.domain.errors import OrchestratorError
from orchestrator.engine.validation import address_of
from orchestrator.server.port import ServedEngine
from orchestrator.store.port import Gauges

_log = structlog.get_logger(__name__)
SHARE_MAX = 0.02
PAUSE_S_MAX = 60.0
TIMEOUT_S = 5.0
GROUPS_MAX = 100
"""Groups with a label of their own; anybody who may create a promise may invent one."""
URL, OTHERS = "(url)", "(others)"


class OpenWork:
    """Counts, and remembers for a while."""

    def __init__(self, engine: ServedEngine) -> None:
        self._engine = engine
        self._counted: Gauges | None = None
        self._due_s = 0.0
        self._counting = asyncio.Lock()

    async def gauges(self) -> Gauges | None:
        """Return what is open, None while the store does not answer: the other numbers must not miss."""
        async with self._counting:
            if monotonic() < self._due_s:
                return self._counted
            began = monotonic()
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    self._counted = await self._engine.gauges()
            except (OrchestratorError, TimeoutError) as error:
                _log.warning("gauges_unavailable", reason=str(error) or type(error).__name__)
                self._counted = None
            ended = monotonic()
            self._due_s = ended + min((ended - began) / SHARE_MAX, PAUSE_S_MAX)
            return self._counted


def shown(gauges: Gauges) -> Iterator[Metric]:
    """Yield what is open as Prometheus reads it."""
    counts: Counter[tuple[str, str]] = Counter()
    oldest: dict[str, int] = {}
    labels = _labels(gauges)
    for (state, target), count in gauges.tasks.items():
        counts[state, labels[target]] += count
    for target, since_ms in gauges.waiting_since.items():
        group = labels[target]
        oldest[group] = min(since_ms, oldest.get(group, since_ms))
    tasks = GaugeMetricFamily("orchestrator_tasks", "Tasks not yet fulfilled.", labels=("state", "group"))
    for labelled, count in sorted(counts.items()):
        tasks.add_metric(labelled, count)
    yield tasks
    waiting = GaugeMetricFamily(
        "orchestrator_oldest_pending_seconds",
        "Age of the oldest task that is due and that no worker has ever taken.",
        labels=("group",),
    )
    for group, since_ms in sorted(oldest.items()):
        waiting.add_metric((group,), max(0, gauges.counted_at - since_ms) / 1000)
    yield waiting
    outbox = GaugeMetricFamily("orchestrator_outbox", "Messages in the outbox.", labels=("kind",))
    outbox.add_metric(("execute",), gauges.outbox_executes)
    outbox.add_metric(("unblock",), gauges.outbox_unblocks)
    yield outbox
    yield _dead(gauges)
    yield _places(gauges)
    yield GaugeMetricFamily("orchestrator_promises_pending", "Open promises.", value=gauges.promises_pending)


def _dead(gauges: Gauges) -> Metric:
    """Return the dead letters by group; the groups with the most keep their names."""
    names = _names(Counter(gauges.dead))
    counts: Counter[str] = Counter()
    for group, count in gauges.dead.items():
        counts[names[group]] += count
    family = GaugeMetricFamily(
        "orchestrator_dead_letters", "Tasks that rest because their attempts are spent.", labels=("group",)
    )
    for group, count in sorted(counts.items()):
        family.add_metric((group,), count)
    return family


def _places(gauges: Gauges) -> Metric:
    """Return where the tasks of limited groups stand; the groups with the most keep their names."""
    sizes: Counter[str] = Counter()
    for (group, _), count in gauges.places.items():
        sizes[group] += count
    names = _names(sizes)
    counts: Counter[tuple[str, str]] = Counter()
    for (group, place), count in gauges.places.items():
        counts[names[group], place.name.lower()] += count
    family = GaugeMetricFamily(
        "orchestrator_group_tasks", "Tasks of limited groups by their place.", labels=("group", "place")
    )
    for labelled, count in sorted(counts.items()):
        family.add_metric(labelled, count)
    return family


def _names(sizes: Counter[str]) -> dict[str, str]:
    """Return the label of each group by how much there is of it."""
    largest = {group for group, _ in sizes.most_common(GROUPS_MAX)}
    return {
        group: (URL if group.startswith(("http://", "https://")) else group) if group in largest else OTHERS
        for group in sizes
    }


def _labels(gauges: Gauges) -> dict[str, str]:
    """Return the label of each target; the groups with the most tasks keep their names."""
    sizes: Counter[str] = Counter()
    groups: dict[str, str] = {}
    for (_, target), count in gauges.tasks.items():
        address = address_of(target)
        groups[target] = address.group if isinstance(address, PollAddress) else URL
        sizes[groups[target]] += count
    named = {group for group, _ in sizes.most_common(GROUPS_MAX)}
    return {target: group if group in named else OTHERS for target, group in groups.items()}
