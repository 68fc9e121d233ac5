"""The numbers of a process's sources, as Prometheus and a health check read them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from listener.progress import Progress
from listener.supervisor import Listeners, Phase, SourceStatus


def _lag(progress: Progress) -> int:
    return max(progress.finalized - (-1 if progress.cursor is None else progress.cursor), 0)


LABELS = ("source", "chain")
_GAUGES: tuple[tuple[str, str, Callable[[Progress], float]], ...] = (
    ("listener_head_block", "Newest block of the chain.", lambda each: each.head),
    ("listener_finalized_block", "Last final block of the chain.", lambda each: each.finalized),
    ("listener_lag_blocks", "Final blocks that are not dispatched yet.", _lag),
    ("listener_unfinalised_blocks", "Blocks that are watched for a reorg.", lambda each: each.unfinalised),
    ("listener_open_proposals", "Proposals whose vote is open.", lambda each: each.open_proposals),
    ("listener_parked_proposals", "Proposals that cannot be read.", lambda each: each.parked_proposals),
    ("listener_deepest_reorg_blocks", "Blocks of the deepest reorg.", lambda each: each.deepest_reorg),
    ("listener_range_blocks", "Width of the next range.", lambda each: each.range_blocks),
    ("listener_node_behind", "1 while the node is behind the cursor.", lambda each: each.behind),
    (
        "listener_finality_stalled",
        "1 while the chain grows and its finality does not.",
        lambda each: each.finality_stalled,
    ),
    ("listener_clock_ahead_seconds", "Chain time ahead of this clock.", lambda each: each.clock_ahead_s),
)
_COUNTERS: tuple[tuple[str, str, Callable[[Progress], float]], ...] = (
    ("listener_dispatched", "Logs that were dispatched.", lambda each: each.dispatched),
    ("listener_votes_ended", "Votes whose end was told.", lambda each: each.ended),
    ("listener_reorgs", "Reorganisations of unfinalised blocks.", lambda each: each.reorgs),
    ("listener_reverted_blocks", "Unfinalised blocks reverted.", lambda each: each.reverted_blocks),
    (
        "listener_hidden_logs",
        "Logs that a node left out and their blocks have.",
        lambda each: each.hidden_logs,
    ),
    (
        "listener_implementation_changes",
        "Changes of what stands at the contract's address.",
        lambda each: each.implementation_changes,
    ),
)


class SourcesCollector(Collector):
    """Shows the sources. `now_s` is Unix time."""

    def __init__(self, listeners: Listeners, now_s: Callable[[], float]) -> None:
        self._listeners = listeners
        self._now_s = now_s

    def collect(self) -> Iterator[Metric]:
        """Yield everything, in a stable order."""
        moving = [each for each in self._listeners.statuses if each.progress is not None]
        for name, text, read in _GAUGES:
            gauge = GaugeMetricFamily(name, text, labels=LABELS)
            for each in moving:
                assert each.progress is not None  # noqa: S101 - chosen above
                gauge.add_metric(_labels(each), float(read(each.progress)))
            yield gauge
        for name, text, read in _COUNTERS:
            counter = CounterMetricFamily(name, text, labels=LABELS)
            for each in moving:
                assert each.progress is not None  # noqa: S101 - chosen above
                counter.add_metric(_labels(each), float(read(each.progress)))
            yield counter
        yield from self._states(moving)

    def _states(self, moving: list[SourceStatus]) -> Iterator[Metric]:
        cursor = GaugeMetricFamily("listener_cursor_block", "Last block dispatched.", labels=LABELS)
        lag = GaugeMetricFamily(
            "listener_lag_seconds", "Age of the last final block that is known.", labels=LABELS
        )
        for each in moving:
            assert each.progress is not None  # noqa: S101 - the caller has chosen
            if each.progress.cursor is not None:
                cursor.add_metric(_labels(each), each.progress.cursor)
            lag.add_metric(_labels(each), max(self._now_s() - each.progress.finalized_time, 0.0))
        state = GaugeMetricFamily(
            "listener_source_state", "1 for the state that a source is in.", labels=(*LABELS, "state")
        )
        incidents = GaugeMetricFamily("listener_incidents_open", "Incidents to decide.", labels=LABELS)
        parked = CounterMetricFamily("listener_parked", "Times that a source was parked.", labels=LABELS)
        for each in self._listeners.statuses:
            for phase in Phase:
                state.add_metric((*_labels(each), phase), float(each.phase is phase))
            incidents.add_metric(_labels(each), len(each.incidents))
            parked.add_metric(_labels(each), each.parked)
        yield from (cursor, lag, state, incidents, parked)


def _labels(status: SourceStatus) -> tuple[str, str]:
    return status.name, str(status.settings.chain_id)


def health_of(listeners: Listeners, now_s: float) -> dict[str, Any]:
    """Return what a health check shows: whether all sources work, and where each of them stands."""
    return {"ok": listeners.ready, "sources": [_shown(each, now_s) for each in listeners.statuses]}


def _shown(status: SourceStatus, now_s: float) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "name": status.name,
        "chain_id": status.settings.chain_id,
        "contract": status.settings.dao,
        "state": status.phase,
        "reason": status.reason,
        "incidents": [each.id for each in status.incidents],
    }
    if (progress := status.progress) is not None:
        shown |= {
            "head": progress.head,
            "finalized": progress.finalized,
            "cursor": progress.cursor,
            "lag_blocks": _lag(progress),
            "lag_s": max(round(now_s - progress.finalized_time), 0),
            "reorgs": progress.reorgs,
            "open_proposals": progress.open_proposals,
            "parked_proposals": progress.parked_proposals,
            "finality_stalled": progress.finality_stalled,
            "behind": progress.behind,
        }
    return shown
