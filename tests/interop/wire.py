"""The protocol by hand: what a test asks the server itself, past every SDK."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import aiohttp

VERSION = "2026-04-01"
TIMEOUT_S = 10.0
LOOK_S = 0.02

Record = dict[str, Any]
T = TypeVar("T")


class Wire:
    """Sends commands to one server."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._session = session

    async def call(self, kind: str, **data: Any) -> tuple[int, Any]:
        """Send a command; return status and data of its answer."""
        envelope = {"kind": kind, "head": {"corrId": "w", "version": VERSION}, "data": data}
        async with self._session.post(f"{self._url}/", json=envelope) as response:
            answer = await response.json()
        assert answer["head"]["status"] == response.status
        return response.status, answer["data"]

    async def promise(self, promise_id: str) -> Record:
        """Return the record of a promise that exists."""
        status, data = await self.call("promise.get", id=promise_id)
        assert status == 200, data
        return dict(data["promise"])

    async def task(self, task_id: str) -> Record:
        """Return the record of a task that exists."""
        status, data = await self.call("task.get", id=task_id)
        assert status == 200, data
        return dict(data["task"])

    async def until(self, look: Callable[[], Awaitable[T]], wanted: Callable[[T], bool]) -> T:
        """Look again and again until what is seen is as wanted; return it."""
        end = time.monotonic() + TIMEOUT_S
        while not wanted(record := await look()):
            assert time.monotonic() < end, f"it stayed {record}"
            await asyncio.sleep(LOOK_S)
        return record

    async def until_exists(self, promise_id: str) -> None:
        """Wait until a promise has been created."""
        end = time.monotonic() + TIMEOUT_S
        while (await self.call("promise.get", id=promise_id))[0] != 200:
            assert time.monotonic() < end, f"{promise_id} does not exist"
            await asyncio.sleep(LOOK_S)

    async def until_acquired(self, task_id: str, times: int) -> None:
        """Wait until a task has been acquired that often."""
        await self.until(lambda: self.task(task_id), lambda task: task["version"] >= times)

    async def knows(self, kind: str, **data: Any) -> bool:
        """Tell whether the server knows an operation at all."""
        status, answer = await self.call(kind, **data)
        return not (status == 400 and str(answer).startswith("Unknown operation"))
