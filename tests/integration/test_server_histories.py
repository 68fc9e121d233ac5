"""Many clients over HTTP on few tasks: what they were answered, and when, keeps T1 and T2.

Leases are short, so that tasks change hands under their holders; calls are cancelled in the middle and not
asked after. A refused write leaves nothing, an answered one is found, and no stale write is answered with
success after its successor was told that it holds the task.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

from orchestrator.domain.errors import Refused, Unavailable
from orchestrator.domain.promise import PromiseState
from orchestrator.engine import Engine
from orchestrator.protocol import commands as c
from orchestrator.server.app import create_app
from orchestrator.server.serving import listening
from orchestrator.server.settings import ServerSettings
from orchestrator.store import SqliteStore
from orchestrator.transport.http import HttpTransport
from tests.engine_world import FAR, TARGET

CLIENTS, TASKS, SECONDS = 16, 8, 3.0
TTL_MS = 25


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One answered call: what, at which version, between which moments."""

    kind: str
    version: int
    started: float
    ended: float
    who: int


@dataclass(slots=True)
class Histories:
    """All that the clients saw: successes by task, and what became of each child they tried to create."""

    by_task: defaultdict[str, list[Seen]] = field(default_factory=lambda: defaultdict(list))
    written: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)


class Client:
    """Takes tasks, writes under them for longer than its lease lasts, finishes some."""

    def __init__(self, number: int, url: str, chance: random.Random, histories: Histories) -> None:
        self.number, self.chance, self.histories = number, chance, histories
        self.transport = HttpTransport(url)

    async def ask(self, task_id: str, version: int, command: c.Command[Any]) -> Any | None:
        """Ask; None for a refusal, or a call whose outcome nobody knows."""
        started, kind = perf_counter(), command.KIND
        try:
            patience_s = 0.002 if self.chance.random() < 0.05 else 10.0
            async with asyncio.timeout(patience_s):
                answer = await self.transport.call(command)
        except Refused as refusal:
            self.histories.counts[kind, str(refusal.status)] += 1
            if isinstance(command, c.TaskFence):
                self.histories.refused.add(command.action.id)
            return None
        except (TimeoutError, Unavailable):
            self.histories.counts[kind, "unknown"] += 1
            return None
        self.histories.counts[kind, "200"] += 1
        if isinstance(command, c.TaskGet):
            return answer
        seen = Seen(kind=kind, version=version, started=started, ended=perf_counter(), who=self.number)
        self.histories.by_task[task_id].append(seen)
        if isinstance(command, c.TaskFence):
            self.histories.written.add(command.action.id)
        return answer

    async def run(self, until: float) -> None:
        """Go on until a moment has come; every other client by a channel."""
        if self.number % 2:
            await self.transport.call(c.Describe())
        turn = 0
        while perf_counter() < until:
            turn += 1
            task_id = f"t{self.chance.randrange(TASKS)}"
            look = await self.ask(task_id, 0, c.TaskGet(id=task_id))
            if look is None:
                continue
            pid, version = f"w{self.number}", look.task.version
            take = c.TaskAcquire(id=task_id, version=version, pid=pid, ttl=TTL_MS)
            if await self.ask(task_id, version + 1, take) is not None:
                await self.work(task_id, version + 1, turn)
        await self.transport.close()

    async def work(self, task_id: str, version: int, turn: int) -> None:
        """Write children under a version until refused, then fulfil, release, or simply leave."""
        for step in range(self.chance.choice([1, 3, 12])):
            child = c.PromiseCreate(id=f"{task_id}:{version}-{self.number}-{turn}-{step}", timeout_at=FAR)
            await self.ask(task_id, version, c.TaskFence(id=task_id, version=version, action=child))
            await asyncio.sleep(self.chance.choice([0, 0, 0.005]))
        ending = self.chance.random()
        if ending < 0.03:
            settle = c.PromiseSettle(id=task_id, state=PromiseState.RESOLVED)
            await self.ask(task_id, version, c.TaskFulfill(id=task_id, version=version, action=settle))
        elif ending < 0.5:
            await self.ask(task_id, version, c.TaskRelease(id=task_id, version=version))


def _check(task_id: str, history: list[Seen]) -> None:
    claims = {}
    for seen in history:
        if seen.kind == c.TaskAcquire.KIND:
            assert seen.version not in claims, f"T1: {claims[seen.version]} and {seen}"
            claims[seen.version] = seen
    endings = [seen for seen in history if seen.kind in (c.TaskFulfill.KIND, c.TaskRelease.KIND)]
    for seen in history:
        for claim in claims.values():
            stale = claim.version > seen.version and claim.ended < seen.started
            assert not stale, f"T2: {seen} although {claim}"
        for ending in endings:
            over = ending.version == seen.version and ending.ended < seen.started
            assert not over, f"T2: {seen} although {ending}"
    assert sum(seen.kind == c.TaskFulfill.KIND for seen in history) <= 1, f"P1: {task_id} was fulfilled twice"


async def test_histories_of_many_clients_keep_the_leases(tmp_path: Path) -> None:
    seed = int(os.environ.get("SERVER_SEED", random.randrange(2**32)))  # noqa: S311
    print("seed", seed, "(set SERVER_SEED for the same choices; their interleaving is the machine's)")  # noqa: T201
    histories = Histories()
    app_settings = ServerSettings(port=0)
    async with Engine(SqliteStore(tmp_path / "h.db")) as engine:
        for number in range(TASKS):
            tags = {"resonate:target": TARGET}
            await engine.handle(c.PromiseCreate(id=f"t{number}", timeout_at=FAR, tags=tags))
        async with listening(create_app(engine, app_settings)) as url:
            until = perf_counter() + SECONDS
            chances = (random.Random(f"{seed}/{number}") for number in range(CLIENTS))  # noqa: S311
            clients = [Client(number, url, chance, histories) for number, chance in enumerate(chances)]
            await asyncio.gather(*(client.run(until) for client in clients))
        stored = set()
        cursor = None
        while True:
            page = await engine.handle(c.PromiseSearch(limit=1000, cursor=cursor))
            stored |= {promise.id for promise in page.promises}
            if (cursor := page.cursor) is None:
                break
    for task_id, history in histories.by_task.items():
        _check(task_id, history)
    assert histories.written <= stored, "an answered write is lost"
    assert not histories.refused & stored, "a refused write has left something"
    for kind, status in (("acquire", "200"), ("acquire", "409"), ("fence", "200"), ("fence", "409")):
        assert histories.counts[f"task.{kind}", status], histories.counts
    print(histories.counts)  # noqa: T201
