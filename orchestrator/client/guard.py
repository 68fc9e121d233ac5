"""Whether a replayed workflow repeats what is recorded of it: each call in its place, and none left out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from orchestrator.client.calls import Call
from orchestrator.client.invocation import label_of, recorded_calls
from orchestrator.domain import tags as tag
from orchestrator.domain.errors import NondeterminismError
from orchestrator.protocol.records import PromiseRecord

BEFORE_MAX = 3
"""How many earlier calls a report names."""
LATEST_MAX = 64
"""Of how many calls the labels are kept, for a report."""


class ReplayGuard:
    """Compares the calls of one execution's workflows with the `records` that it began with.

    `recorded` are the numbered calls among them by workflow, in order. Without any, nothing is noted.
    """

    __slots__ = ("_asked", "_latest", "_met", "_records", "recorded")

    def __init__(self, records: Mapping[str, PromiseRecord]) -> None:
        self._records = records
        self.recorded: dict[str, list[str]] = {}
        self._asked: set[str] = set()
        self._latest: dict[str, str] = {}
        self._met: dict[str, int] = {}

    def load(self) -> None:
        """Learn which calls each workflow has made, once all records are there."""
        self.recorded = recorded_calls(self._records.values())

    def note(self, promise_id: str, label: str = "") -> None:
        """Note that a recorded call has been made again, or a new one was made."""
        if not self.recorded:
            return
        self._asked.add(promise_id)
        self._latest[promise_id] = label
        if len(self._latest) > LATEST_MAX:
            del self._latest[next(iter(self._latest))]

    def forget(self, workflow_id: str, promise_ids: Iterable[str]) -> None:
        """Forget the calls of a workflow that starts over."""
        self._asked.difference_update(promise_ids)
        self.recorded.pop(workflow_id, None)
        self._met.pop(workflow_id, None)

    def at_frontier(self, workflow_id: str) -> bool:
        """Tell whether a workflow has met again all that is recorded of it."""
        return self._first_missing(workflow_id) is None

    def difference(self, call: Call, record: PromiseRecord) -> NondeterminismError | None:
        """Return what is wrong if a call is not the one that was recorded in its place."""
        recorded = label_of(record)
        if call.outside or recorded is None or recorded == call.label:
            return None
        caller = record.tags.get(tag.PARENT, "")
        return NondeterminismError(
            call.id, recorded, call.label, position=call.position, before=self.before(caller, call.id)
        )

    def omission(self, workflow_id: str) -> NondeterminismError | None:
        """Return what is wrong if a workflow that has ended did not make a call which it once had made."""
        missing = self._first_missing(workflow_id)
        if missing is None:
            return None
        label = label_of(self._records[missing]) or "a call"
        return NondeterminismError(
            missing,
            label,
            f"nothing: {workflow_id} ends before",
            before=self.before(workflow_id, missing),
        )

    def before(self, workflow_id: str, promise_id: str | None = None) -> tuple[str, ...]:
        """Name the last recorded calls of a workflow before one of them, the oldest first."""
        recorded = self.recorded.get(workflow_id, [])
        end = recorded.index(promise_id) if promise_id in recorded else len(recorded)
        named = recorded[max(0, end - BEFORE_MAX) : end]
        return tuple(f"{one} {self._label(one)}" for one in named)

    def _label(self, promise_id: str) -> str:
        # What has been met again may be forgotten: its call has told its label.
        record = self._records.get(promise_id)
        known = label_of(record) if record is not None else self._latest.get(promise_id)
        return known or "a call"

    def _first_missing(self, workflow_id: str) -> str | None:
        """Return the first recorded call that was not made again; walked once, however often it is asked."""
        if not self.recorded:
            return None
        recorded = self.recorded.get(workflow_id, [])
        met = self._met.get(workflow_id, 0)
        while met < len(recorded) and recorded[met] in self._asked:
            met += 1
        self._met[workflow_id] = met
        return recorded[met] if met < len(recorded) else None


NOTHING_RECORDED = ReplayGuard({})
"""The guard of all executions that begin without records: there is nothing to compare with."""
