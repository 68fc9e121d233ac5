"""The watch: looks at the whole store after every commit, and at every answer and every step.

P1 a settled promise never changes. P2 an id is created once. P3 a promise past its deadline is settled for
every reader. T1 one acquired lease a task and version. T2 a stale version writes nothing. T3 the task of a
settled promise is fulfilled. T4 a suspended task has an unsettled awaited promise. T5 no task rests for
ever. W1 a step that has settled is never executed again. W2 replay sees the recorded outcome.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from orchestrator.domain.promise import PromiseRecord, PromiseState
from orchestrator.domain.task import Task, TaskState
from orchestrator.protocol import commands as c
from orchestrator.store.memory import MemoryStore
from orchestrator.store.port import Changes

TIMED = (TaskState.PENDING, TaskState.ACQUIRED)
FENCED = (c.TaskFence, c.TaskFulfill, c.TaskSuspend, c.TaskRelease)


class Violation(AssertionError):
    """An invariant does not hold."""


class Watch:
    """What was seen so far; `trace` is what happened, a line an event."""

    def __init__(self, store: MemoryStore, now_ms: Callable[[], int]) -> None:
        self._tables = store._tables
        self._now_ms = now_ms
        self._promises: dict[str, PromiseRecord] = {}
        self._tasks: dict[str, Task] = {}
        self._holders: dict[tuple[str, int], str | None] = {}
        self._witnessed: dict[str, object] = {}
        self.violations: list[str] = []
        self.trace: list[str] = []
        self.commits = 0
        self.executed: dict[str, int] = {}

    def note(self, event: str) -> None:
        """Write down what happens."""
        self.trace.append(f"{self._now_ms()} {event}")

    def digest(self) -> str:
        """Return the whole trace in short."""
        return hashlib.sha256("\n".join(self.trace).encode()).hexdigest()

    def broken(self, invariant: str, what: str) -> None:
        """Write a violation down; the run goes on to its end, where it is reported."""
        self.violations.append(f"{invariant}: {what}")
        self.note(f"VIOLATED {invariant}: {what}")

    # -- after each commit

    def committed(self, changes: Changes) -> None:
        """Look at the store as a commit has left it."""
        self.commits += 1
        promises = [each.id for each in (*changes.promises_created, *changes.promises_settled)]
        tasks = [each.id for each in changes.tasks]
        for key in dict.fromkeys(promises):
            self._look_at_promise(self._tables.promises[key])
        for key in dict.fromkeys([*promises, *tasks]):
            task = self._tables.tasks.get(key)
            if task is not None:
                self._look_at_task(task)
        self._look_at_open_tasks()
        if promises or tasks:
            self.note(f"commit {self._shown(promises)} | {self._shown_tasks(tasks)}")

    def _look_at_promise(self, promise: PromiseRecord) -> None:
        before = self._promises.get(promise.id)
        if before is not None:
            if not before.pending and before != promise:
                self.broken("P1", f"{promise.id} was {before.state}, is {promise.state}")
            if (before.param, before.tags, before.timeout_at) != (
                promise.param,
                promise.tags,
                promise.timeout_at,
            ):
                self.broken("P2", f"{promise.id} was created again")
        self._promises[promise.id] = promise

    def _look_at_task(self, task: Task) -> None:
        before = self._tasks.get(task.id)
        if before is not None and task.version < before.version:
            self.broken("T2", f"the version of {task.id} fell from {before.version} to {task.version}")
        if task.state is TaskState.ACQUIRED:
            holder = self._holders.setdefault((task.id, task.version), task.pid)
            if holder != task.pid:
                self.broken("T1", f"{task.id} at {task.version} is held by {holder} and by {task.pid}")
        settled = not self._tables.promises[task.id].pending
        if settled != (task.state is TaskState.FULFILLED):
            self.broken("T3", f"the task of {task.id} is {task.state}, its promise settled: {settled}")
        self._tasks[task.id] = task

    def _look_at_open_tasks(self) -> None:
        tables = self._tables
        for task in tables.tasks.values():
            if task.state in TIMED and task.timer_at is None:
                self.broken("T5", f"{task.id} is {task.state} without a timer")
            if task.state is TaskState.SUSPENDED:
                awaited = [key for key, _ in tables.awaiting.get(task.id, ())]
                if not any(tables.promises[key].pending for key in awaited):
                    self.broken("T4", f"{task.id} is suspended on {awaited}, none of which is open")

    def _shown(self, ids: list[str]) -> str:
        return " ".join(f"{key}={self._tables.promises[key].state}" for key in ids)

    def _shown_tasks(self, ids: list[str]) -> str:
        tasks = (self._tables.tasks[key] for key in ids)
        return " ".join(f"{task.id}={task.state}@{task.version}" for task in tasks)

    # -- at each answer

    def before(self, command: c.Command[Any]) -> int | None:
        """Return the version at which a command's task stood when the command arrived."""
        if not isinstance(command, FENCED):
            return None
        task = self._tables.tasks.get(command.id)
        return task.version if task is not None else None

    def answered(
        self, command: c.Command[Any], arrived_ms: int, version: int | None, answer: c.Answer
    ) -> None:
        """Look at what a command was granted."""
        if isinstance(command, FENCED) and version is not None and command.version < version:
            self.broken("T2", f"{command.KIND} {command.id} at {command.version}, stood at {version}")
        promise = getattr(answer, "promise", None)
        if isinstance(promise, PromiseRecord) and promise.pending and promise.timeout_at <= arrived_ms:
            self.broken("P3", f"{promise.id} is told to be open after its deadline")

    # -- at each step (an observer of the workers)

    def on_step_started(self, promise_id: str, name: str, attempt: int) -> None:
        """Look whether the step has an outcome already."""
        stored = self._tables.promises.get(promise_id)
        if stored is not None and stored.state in (PromiseState.RESOLVED, PromiseState.REJECTED):
            self.broken("W1", f"{promise_id} is executed again, it is {stored.state}")
        self.executed[promise_id] = self.executed.get(promise_id, 0) + 1
        self.note(f"step {promise_id} {name} {attempt}")

    def on_step_finished(self, promise_id: str, name: str, state: PromiseState) -> None:
        """Note an outcome that is stored."""

    def witness(self, place: str, seen: object) -> None:
        """Compare what a workflow sees with what it saw before at this place."""
        if place not in self._witnessed:
            self._witnessed[place] = seen
        elif self._witnessed[place] != seen:
            self.broken("W2", f"{place} saw {self._witnessed[place]!r}, then {seen!r}")
