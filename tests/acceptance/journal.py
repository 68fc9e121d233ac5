"""What processes did, one JSON object a line in a file that all of one scenario append to.

A line is one `write` to a file opened for appending, so that it is there, whole, whatever becomes of its
writer, and the order of the lines is the order of the writes. A node's requests are put down to the step that
made them.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Collection, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from orchestrator.client.verdict import Ending, Verdict
from orchestrator.domain.ids import extends
from orchestrator.domain.promise import PromiseRecord, PromiseState

STARTED, FINISHED, ASKED, LOST = "started", "finished", "asked", "lost"
_step: ContextVar[tuple[str, str]] = ContextVar("_step", default=("", ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A step began an attempt or finished, a node was asked, or the lease of a task was lost.

    `step` is the promise of the step or task, "" outside of any.
    """

    pid: int
    what: str
    step: str
    name: str
    detail: str


class Journal:
    """The writing side; a `StepObserver` and an `ExecutionObserver`."""

    def __init__(self, path: str) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def on_step_started(self, promise_id: str, name: str, attempt: int) -> None:
        _step.set((promise_id, name))
        self._write(STARTED, promise_id, name, str(attempt))

    def on_step_finished(self, promise_id: str, name: str, state: PromiseState) -> None:
        self._write(FINISHED, promise_id, name, state)

    def tags_for(self, promise_id: str) -> Mapping[str, str]:
        return {}

    def on_execution_started(self, promise: PromiseRecord, version: int) -> None: ...

    def on_execution_ended(self, promise: PromiseRecord, version: int, verdict: Verdict) -> None:
        if verdict.ending is Ending.LOST:
            self._write(LOST, promise.id, "", str(version))

    def asked(self, method: str) -> None:
        """Note a request to a node, made by the step that runs."""
        self._write(ASKED, *_step.get(), method)

    def _write(self, what: str, step: str, name: str, detail: str) -> None:
        line = json.dumps({"pid": os.getpid(), "what": what, "step": step, "name": name, "detail": detail})
        os.write(self._descriptor, line.encode() + b"\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What all processes of a scenario did, in order."""

    entries: list[Entry]

    @classmethod
    def read(cls, path: Path) -> History:
        """Read a journal; a scenario in which nothing happened has none."""
        lines = path.read_text().splitlines() if path.exists() else []
        return cls(entries=[Entry(**json.loads(line)) for line in lines])

    def executions(self) -> Counter[str]:
        """How often each step was executed, by promise; retries within one execution count once."""
        return Counter(entry.step for entry in self.entries if entry.what == STARTED and entry.detail == "1")

    def names(self) -> dict[str, str]:
        """The function of each step, by promise."""
        return {entry.step: entry.name for entry in self.entries if entry.what == STARTED}

    def retries(self) -> list[Entry]:
        """Attempts after the first."""
        return [entry for entry in self.entries if entry.what == STARTED and entry.detail != "1"]

    def requests(self, step: str) -> Counter[str]:
        """What a step asked of nodes in all its executions, by method."""
        return Counter(entry.detail for entry in self.entries if entry.what == ASKED and entry.step == step)

    def begun_by(self, pid: int) -> frozenset[str]:
        """The steps that a process has begun."""
        return frozenset(entry.step for entry in self.entries if entry.what == STARTED and entry.pid == pid)

    def cut_short(self, step: str, but_by: Collection[int]) -> int:
        """How often a process lost the lease under which it was executing a step; `but_by` are not counted.

        On a busy machine a process has no processor for longer than its lease now and then.
        """
        executing, times = set[int](), 0
        for entry in self.entries:
            if entry.step == step and entry.what == STARTED:
                executing.add(entry.pid)
            elif entry.step == step and entry.what == FINISHED:
                executing.discard(entry.pid)
            elif entry.what == LOST and entry.pid in executing and extends(step, entry.step):
                executing.discard(entry.pid)
                times += entry.pid not in but_by
        return times

    def restarted(self) -> list[str]:
        """Steps that began again after their outcome was known to be stored (W1 forbids it)."""
        finished: set[str] = set()
        again = []
        for entry in self.entries:
            if entry.what == FINISHED:
                finished.add(entry.step)
            elif entry.what == STARTED and entry.step in finished:
                again.append(entry.step)
        return again
