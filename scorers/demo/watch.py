"""Watching the pool at work: who holds which proposal, and the moment at which a worker is killed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from listener import score_promise_id
from orchestrator.domain import tags
from orchestrator.domain.errors import Refused
from orchestrator.domain.ids import origin_of
from orchestrator.protocol.commands import PromiseGet, PromiseSearch, TaskSearch
from orchestrator.protocol.records import PromiseRecord, TaskRecord, TaskState
from scorers.demo.stage import CHAIN_ID, WORKERS, Stage
from scorers.errors import ScenarioError

LOOK_INTERVAL_S = 0.03
STALL_S = 90.0
HALF_WAY_STEPS = 3
VICTIM, SURVIVOR = WORKERS


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """What the victim held when it was killed: task ids with the versions of its leases."""

    pid: int
    held: dict[str, int]


@dataclass(slots=True)
class Watch:
    """What has been seen so far. Proposals are counted from 1."""

    stage: Stage
    count: int
    workers_of: dict[int, list[str]] = field(default_factory=dict)
    settled: dict[int, PromiseRecord] = field(default_factory=dict)
    kill: Kill | None = None
    taken_over: dict[str, str] = field(default_factory=dict)

    def promise_id(self, number: int) -> str:
        """The id of a proposal's scoring."""
        return score_promise_id(CHAIN_ID, self.stage.deployed.dao, number)

    def number_of(self, task_id: str) -> int:
        """The proposal that a task works for."""
        return int(origin_of(task_id).rpartition("-")[2])

    async def look(self) -> None:
        """Look once: note holders and outcomes; kill the victim when it is half-way through something."""
        acquired = (await self.stage.transport.call(TaskSearch(state=TaskState.ACQUIRED))).tasks
        for task in acquired:
            self._note(task)
        if self.kill is None:
            await self._perhaps_kill([task for task in acquired if task.pid == VICTIM])
        for number in range(1, self.count + 1):
            if number not in self.settled:
                await self._note_outcome(number)

    def _note(self, task: TaskRecord) -> None:
        holders = self.workers_of.setdefault(self.number_of(task.id), [])
        if task.pid is not None and task.pid not in holders:
            holders.append(task.pid)
        if self.kill is not None and task.version > self.kill.held.get(task.id, task.version):
            self.taken_over[task.id] = task.pid or SURVIVOR

    async def _perhaps_kill(self, held: list[TaskRecord]) -> None:
        """Kill the victim while it holds a proposal of which some steps are done and some are not."""
        if not any([await self._half_way(task) for task in held]):
            return
        victim = self.stage.workers[VICTIM]
        victim.pause()  # It must not finish between the look and the kill.
        still_held = await self._held_by_victim()
        if not still_held:
            victim.resume()
            return
        await victim.kill()
        self.kill = Kill(pid=victim.pid, held=still_held)

    async def _half_way(self, task: TaskRecord) -> bool:
        page = await self.stage.transport.call(PromiseSearch(tags={tags.PARENT: task.id}))
        return sum(not promise.pending for promise in page.promises) >= HALF_WAY_STEPS

    async def _held_by_victim(self) -> dict[str, int]:
        acquired = (await self.stage.transport.call(TaskSearch(state=TaskState.ACQUIRED))).tasks
        return {task.id: task.version for task in acquired if task.pid == VICTIM}

    async def _note_outcome(self, number: int) -> None:
        try:
            promise = (await self.stage.transport.call(PromiseGet(id=self.promise_id(number)))).promise
        except Refused:
            return  # Not dispatched yet.
        if not promise.pending:
            self.settled[number] = promise

    async def until_settled(self, watched: Callable[[Watch], None]) -> None:
        """Look until every proposal has its outcome; `watched` is called after each look.

        Raises ScenarioError when nothing moves for long.
        """
        moved_at, before = time.monotonic(), 0
        while len(self.settled) < self.count:
            await self.look()
            watched(self)
            if len(self.settled) != before:
                moved_at, before = time.monotonic(), len(self.settled)
            if time.monotonic() - moved_at > STALL_S:
                raise ScenarioError(f"{before} of {self.count} proposals were scored, then nothing moved")
            await asyncio.sleep(LOOK_INTERVAL_S)
