"""A network with seeded faults between an application and its engine: requests, answers and messages.

What was sent travels on although its sender has gone: a request may be carried out long after the lease under
which it was made has ended (T2), or twice (P2).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Any, TypeVar

from orchestrator.domain.errors import OrchestratorError, Unavailable
from orchestrator.protocol.commands import Answer, Command
from orchestrator.protocol.messages import Message
from orchestrator.protocol.transport import Receiver, Transport

AnswerT = TypeVar("AnswerT", bound=Answer)
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """How bad a network is: `lost`, `doubled` and `late` are the shares of what is sent, 0 to 1.

    Everything takes up to `delay_s` seconds, what is late up to `late_s`. A caller waits `timeout_s` for an
    answer that does not come.
    """

    lost: float = 0.0
    doubled: float = 0.0
    late: float = 0.0
    delay_s: float = 0.0
    late_s: float = 5.0
    timeout_s: float = 2.0

    def __post_init__(self) -> None:
        """Refuse shares that are none. Raises ValueError."""
        for name in ("lost", "doubled", "late"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a share from 0 to 1, not {getattr(self, name)}")


CALM = Weather()


class FaultyTransport:
    """A transport in bad weather, the same for the same `chance` on a loop under virtual time.

    `weather` may be changed at any time. While `severed` nothing gets through in either direction. Closing
    it drops what is under way and leaves the inner transport to its owner.
    """

    def __init__(self, inner: Transport, weather: Weather, chance: Random) -> None:
        self._inner = inner
        self._chance = chance
        self._carrying: dict[asyncio.Task[Any], None] = {}
        self.weather = weather
        self.severed = False

    async def call(self, command: Command[AnswerT]) -> AnswerT:
        """Send a command and wait for its answer. Raises Unavailable for one that does not come."""
        loop = asyncio.get_running_loop()
        gives_up_at = loop.time() + self.weather.timeout_s
        carried = self._send(lambda: self._there_and_back(command))
        if self._chance.random() < self.weather.doubled:
            self._send(lambda: self._there_and_back(command))
        await asyncio.wait((carried,), timeout=self.weather.timeout_s)
        answer = carried.result() if carried.done() and not carried.cancelled() else None
        if answer is None:
            await asyncio.sleep(gives_up_at - loop.time())
            raise Unavailable(f"no answer to {command.KIND} within {self.weather.timeout_s} s")
        return answer

    def connect(self, group: str, pid: str, receive: Receiver) -> AbstractAsyncContextManager[None]:
        """Take messages in this weather."""
        return self._connected(group, pid, receive)

    @asynccontextmanager
    async def _connected(self, group: str, pid: str, receive: Receiver) -> AsyncIterator[None]:
        open_ear = True

        async def arrive(message: Message) -> None:
            if await self._arrives() and open_ear:
                receive(message)

        def take(message: Message) -> None:
            self._send(lambda: arrive(message))
            if self._chance.random() < self.weather.doubled:
                self._send(lambda: arrive(message))

        async with self._inner.connect(group, pid, take):
            try:
                yield
            finally:
                open_ear = False

    async def close(self) -> None:
        """Drop what is under way."""
        for task in self._carrying:
            task.cancel()
        await asyncio.gather(*self._carrying, return_exceptions=True)

    async def _there_and_back(self, command: Command[AnswerT]) -> AnswerT | None:
        """Return the answer, None if it or the request was lost."""
        if not await self._arrives():
            return None
        try:
            answer = await self._inner.call(command)
        except OrchestratorError:
            if await self._arrives():
                raise
            return None
        return answer if await self._arrives() else None

    async def _arrives(self) -> bool:
        weather, chance = self.weather, self._chance
        lost = self.severed or chance.random() < weather.lost
        late = chance.random() < weather.late
        await asyncio.sleep(chance.random() * (weather.late_s if late else weather.delay_s))
        return not lost and not self.severed

    def _send(self, journey: Callable[[], Awaitable[T]]) -> asyncio.Task[T]:
        async def carry() -> T:
            return await journey()

        # Not in the sender's task: what is under way does not end with its sender.
        task = asyncio.get_running_loop().create_task(carry())
        self._carrying[task] = None
        task.add_done_callback(self._arrived)
        return task

    def _arrived(self, task: asyncio.Task[Any]) -> None:
        self._carrying.pop(task, None)
        if not task.cancelled():
            # An outcome for which nobody waits any more is no fault.
            task.exception()
