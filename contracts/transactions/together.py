"""Reads of many workflows of a process, put together into few requests."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from contracts.rpc import Call, Node, RpcError

CALLS_MAX = 1_000


class _Reading:
    """The calls of one reader, and what came of them."""

    __slots__ = ("answers", "calls")

    def __init__(self, calls: Sequence[Call]) -> None:
        self.calls = calls
        self.answers: Sequence[bytes | RpcError] | RpcError | None = None


class CallsTogether:
    """Calls at one block by whoever asks at about the same time: while a request is away, others gather."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._waiting: dict[int, list[_Reading]] = {}
        self._locks: dict[int, asyncio.Lock] = {}

    async def call_many(self, calls: Sequence[Call], block: int) -> list[bytes]:
        """Return the answers of calls at a block, as `Node.call_many` does; the first failure is raised."""
        reading = _Reading(calls)
        self._waiting.setdefault(block, []).append(reading)
        lock = self._locks.setdefault(block, asyncio.Lock())
        try:
            # Whoever else is ready to run asks first, and goes along.
            await asyncio.sleep(0)
            async with lock:
                while reading.answers is None:
                    await self._ask(block)
        finally:
            self._forget(block, reading, lock)
        return _told(reading.answers)

    async def _ask(self, block: int) -> None:
        waiting = self._waiting[block]
        together: list[_Reading] = []
        while waiting and (not together or sum(len(each.calls) for each in together) < CALLS_MAX):
            together.append(waiting.pop(0))
        try:
            calls = [call for each in together for call in each.calls]
            answers = iter(await self._node.call_each(calls, block))
        except RpcError as error:
            for each in together:
                each.answers = error
        except BaseException:
            waiting[:0] = together
            raise
        else:
            for each in together:
                each.answers = [next(answers) for _ in each.calls]

    def _forget(self, block: int, reading: _Reading, lock: asyncio.Lock) -> None:
        waiting = self._waiting.get(block, [])
        if reading in waiting:
            waiting.remove(reading)
        if not waiting and not lock.locked():
            self._waiting.pop(block, None)
            self._locks.pop(block, None)


def _told(answers: Sequence[bytes | RpcError] | RpcError) -> list[bytes]:
    if isinstance(answers, RpcError):
        raise answers
    told: list[bytes] = []
    for answer in answers:
        if isinstance(answer, RpcError):
            raise answer
        told.append(answer)
    return told
