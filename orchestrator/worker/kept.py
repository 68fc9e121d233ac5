"""Suspended workflows that a worker keeps in memory, so that a wait costs no replay.

What is kept is worth nothing but time: it is used only for the very next version of its task in this
process, and whatever is dropped is replayed from its record (W2).
"""

from __future__ import annotations

from collections import OrderedDict

from orchestrator.client.execution import Execution
from orchestrator.client.resting import READS_MAX


class Kept:
    """At most `capacity` suspended executions, those that rested last."""

    __slots__ = ("_capacity", "_executions")

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._executions: OrderedDict[str, Execution] = OrderedDict()

    def __len__(self) -> int:
        """Return how many are kept."""
        return len(self._executions)

    def keep(self, execution: Execution) -> None:
        """Keep an execution that has been suspended, in place of the one that rested longest."""
        self.drop(execution.promise.id)
        self._executions[execution.promise.id] = execution
        while len(self._executions) > self._capacity:
            self._executions.popitem(last=False)[1].close()

    def take(self, task_id: str, version: int) -> Execution | None:
        """Return the execution that was suspended at this version of the task, and keep it no longer."""
        execution = self._executions.pop(task_id, None)
        if execution is not None and execution.writer.lease.version != version:
            execution.close()
            return None
        return execution

    def drop(self, task_id: str) -> None:
        """Forget what is kept of a task."""
        execution = self._executions.pop(task_id, None)
        if execution is not None:
            execution.close()

    def clear(self) -> None:
        """Forget everything."""
        for task_id in list(self._executions):
            self.drop(task_id)


def needs_no_preload(execution: Execution | None) -> bool:
    """Tell whether what an execution awaits is read more cheaply than all of its children."""
    return execution is not None and len(execution.rested_on) <= READS_MAX
