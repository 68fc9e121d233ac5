"""However many clients acquire at once, never more tasks of a group are held than its limit allows.

On SQLite, and with two servers on one PostgreSQL. Clients take what they are told of, as workers do, count
themselves in and out, and give tasks back at random; others try what they were not told of. Nobody lets go
before as many are held as the limit allows, so that a place that is not given to the next ends the test.
GROUPS_SEED repeats the choices of a run.
"""

from __future__ import annotations

import asyncio
import os
import random
from contextlib import AsyncExitStack
from pathlib import Path

from orchestrator.domain.errors import Refused
from orchestrator.engine import Engine, EngineSettings
from orchestrator.protocol import commands as c
from orchestrator.protocol import groups as g
from orchestrator.protocol.messages import Execute, Message
from orchestrator.store import open_store
from tests.engine_world import GROUP, TARGET, acquire, create, fulfill
from tests.postgres_server import Server

TASKS, CLIENTS, LIMIT = 60, 8, 3
TIMEOUT_S = 60


class Crowd:
    """What all clients together hold."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)  # noqa: S311
        self.held: set[str] = set()
        self.most = 0
        self.done: set[str] = set()
        self.refused = 0
        self.over = asyncio.Event()
        self.full = asyncio.Event()

    def take(self, task_id: str) -> None:
        self.held.add(task_id)
        self.most = max(self.most, len(self.held))
        self._look()

    def _look(self) -> None:
        if len(self.held) >= min(LIMIT, TASKS - len(self.done)):
            self.full.set()

    def let_go(self, task_id: str) -> None:
        self.held.discard(task_id)
        if TASKS - len(self.done) > LIMIT:
            self.full.clear()

    def finish(self, task_id: str) -> None:
        self.done.add(task_id)
        self._look()
        if len(self.done) == TASKS:
            self.over.set()


async def _client(engine: Engine, name: str, crowd: Crowd) -> None:
    told: asyncio.Queue[Message] = asyncio.Queue()
    connection = engine.connect(GROUP, name, told.put_nowait)
    try:
        async with asyncio.TaskGroup() as works:  # a worker carries out at once all that it is told of
            while True:
                message = await told.get()
                if isinstance(message, Execute):
                    works.create_task(_work(engine, name, crowd, message.task.id, message.task.version))
    finally:
        connection.close()


async def _work(engine: Engine, name: str, crowd: Crowd, task_id: str, version: int) -> None:
    try:
        await engine.handle(acquire(task_id, version, name, 30_000))
    except Refused as refusal:
        if refusal.status != 409:
            raise
        crowd.refused += 1
        return
    crowd.take(task_id)
    await crowd.full.wait()
    crowd.let_go(task_id)  # before: another may have the place as soon as the store has freed it
    if crowd.chance.random() < 0.8:
        await engine.handle(fulfill(task_id, version + 1))
        crowd.finish(task_id)
    else:
        await engine.handle(c.TaskRelease(id=task_id, version=version + 1))


async def _intruder(engine: Engine, crowd: Crowd) -> None:
    """Acquire what it has not been told of."""
    while True:
        number = crowd.chance.randrange(TASKS)
        await _work(engine, "intruder", crowd, f"t{number}", crowd.chance.choice([0, 0, 1, 2]))
        await asyncio.sleep(0.002)


async def _crowd(urls: list[str], seed: int) -> Crowd:
    crowd = Crowd(seed)
    settings = EngineSettings(release_backoff_ms=10)
    async with AsyncExitStack() as stack:
        engines = [
            await stack.enter_async_context(Engine(open_store(url), settings=settings)) for url in urls
        ]
        await engines[0].handle(g.GroupSet(id=GROUP, concurrency=LIMIT))
        for number in range(TASKS):
            await engines[number % len(engines)].handle(create(f"t{number}", target=TARGET))
        async with asyncio.timeout(TIMEOUT_S), asyncio.TaskGroup() as group:
            working = [
                group.create_task(_client(engines[number % len(engines)], f"w{number}", crowd))
                for number in range(CLIENTS)
            ]
            working += [group.create_task(_intruder(engine, crowd)) for engine in engines]
            await crowd.over.wait()
            for each in working:
                each.cancel()
        found = (await engines[-1].handle(g.GroupGet(id=GROUP))).group
        assert (found.acquired, found.waiting) == (0, 0)
    return crowd


def _seed() -> int:
    seed = int(os.environ.get("GROUPS_SEED", random.randrange(2**32)))  # noqa: S311
    print("seed", seed, "(set GROUPS_SEED to repeat)")  # noqa: T201
    return seed


async def test_a_limit_holds_under_many_clients(tmp_path: Path) -> None:
    crowd = await _crowd([f"sqlite:///{tmp_path}/s.db"], _seed())
    assert crowd.most == LIMIT
    assert crowd.refused


async def test_a_limit_holds_across_two_servers(postgres: Server) -> None:
    url = postgres.fresh("groups_crowd")
    crowd = await _crowd([url, url], _seed())
    assert crowd.most == LIMIT
    assert crowd.refused
