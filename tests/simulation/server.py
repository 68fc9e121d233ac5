"""The simulated server: an engine that crashes, on a store whose disk takes its time, behind a door.

The store outlives its servers. A server that has crashed writes nothing more and tells nobody anything more.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from random import Random
from typing import Any, TypeVar

from orchestrator.domain.errors import Unavailable
from orchestrator.engine import Engine, EngineSettings
from orchestrator.protocol.commands import Answer, Command
from orchestrator.protocol.messages import Message
from orchestrator.protocol.transport import Receiver
from orchestrator.store.errors import StoreError
from orchestrator.store.memory import MemoryStore
from orchestrator.store.port import Changes, Program, Write
from orchestrator.testing import VirtualClock
from tests.simulation.watch import Watch

T = TypeVar("T")
AnswerT = TypeVar("AnswerT", bound=Answer)
RECONNECT_S = 1.0


class Disk:
    """One server's hold on the store: each commit takes a while, and one at a time is under way."""

    def __init__(self, store: MemoryStore, watch: Watch, chance: Random, commit_s: float) -> None:
        self._store = store
        self._watch = watch
        self._chance = chance
        self._commit_s = commit_s
        self._turn = asyncio.Lock()
        self._held = True

    def lose(self) -> None:
        """End with the server: what is not committed never will be."""
        self._held = False

    async def open(self) -> None:
        await self._store.open()

    async def close(self) -> None:
        self.lose()

    async def run(self, make_program: Callable[[int], Program[T]], now_ms: int) -> T:
        async with self._turn:
            await self._work()
            written: list[Changes] = []
            result = await self._store.run(lambda now: _overheard(make_program(now), written), now_ms)
            for changes in written:
                self._watch.committed(changes)
            await self._work()
            return result

    async def _work(self) -> None:
        await asyncio.sleep(self._chance.random() * self._commit_s)
        if not self._held:
            raise StoreError("the server has crashed", connection_lost=True)


def _overheard(program: Program[T], written: list[Changes]) -> Generator[Any, Any, T]:
    rows: Any = None
    try:
        while True:
            query = program.send(rows)
            if isinstance(query, Write):
                written.append(query.changes)
            rows = yield query
    except StopIteration as stop:
        result: T = stop.value
        return result


class Server:
    """Starts engines one after another; the door that nodes reach them by is a Transport."""

    def __init__(
        self,
        store: MemoryStore,
        *,
        watch: Watch,
        clock: VirtualClock,
        chance: Random,
        commit_s: float,
        settings: EngineSettings,
    ) -> None:
        self._store = store
        self._watch = watch
        self._clock = clock
        self._chance = chance
        self._commit_s = commit_s
        self._settings = settings
        self._engine: Engine | None = None
        self._disk: Disk | None = None
        self._up = asyncio.Event()
        self._down = asyncio.Event()

    async def start(self) -> None:
        """Start an engine where the last one has left the store."""
        self._disk = Disk(self._store, self._watch, self._chance, self._commit_s)
        self._engine = self.engine(self._disk)
        await self._engine.__aenter__()
        self._down = asyncio.Event()
        self._up.set()

    def engine(self, disk: Disk) -> Engine:
        """Return the engine of this server; a test may put in a broken one."""
        return Engine(disk, self._clock, self._settings)

    async def crash(self) -> None:
        """End the engine as SIGKILL would."""
        engine, disk = self._engine, self._disk
        if engine is None or disk is None:
            return
        self._engine = None
        self._up.clear()
        self._down.set()
        disk.lose()
        await engine.stop()

    # -- the door

    async def call(self, command: Command[AnswerT]) -> AnswerT:
        engine = self._engine
        if engine is None:
            raise Unavailable("connection refused")
        arrived_ms, version = self._clock.now_ms(), self._watch.before(command)
        answer = await engine.handle(command)
        if self._engine is not engine:
            raise Unavailable("connection reset")
        self._watch.answered(command, arrived_ms, version, answer)
        return answer

    def connect(self, group: str, pid: str, receive: Receiver) -> AbstractAsyncContextManager[None]:
        return self._connected(group, pid, receive)

    @asynccontextmanager
    async def _connected(self, group: str, pid: str, receive: Receiver) -> AsyncIterator[None]:
        holding = asyncio.get_running_loop().create_task(self._hold(group, pid, receive))
        try:
            yield
        finally:
            holding.cancel()
            await asyncio.gather(holding, return_exceptions=True)

    async def _hold(self, group: str, pid: str, receive: Receiver) -> None:
        while True:
            await self._up.wait()
            engine, down = self._engine, self._down
            if engine is None:
                continue

            def alive(message: Message, engine: Engine = engine) -> None:
                if self._engine is engine:
                    receive(message)

            connection = engine.connect(group, pid, alive)
            try:
                await down.wait()
            finally:
                connection.close()
            await asyncio.sleep(RECONNECT_S * self._chance.random())

    async def close(self) -> None:
        """Stop in good order."""
        if self._engine is not None:
            engine, self._engine = self._engine, None
            await engine.stop()
