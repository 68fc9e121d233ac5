"""Requests made within one turn of the loop, sent as one: most of what a small request costs is HTTP.

Only to a server that announces the extension `bundle`. A request that is alone goes as it always did, so does
each of a bundle that the server, or what stands before it, does not take: repeating is safe (P2, T2).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from orchestrator.domain.errors import Unavailable
from orchestrator.protocol.lines import portions

OK = 200
CLOSED = "the transport was closed before there was an answer"
Exchanged = tuple[int, bytes]
"""The HTTP status of an answer, and its body."""


class _Asked(msgspec.Struct, frozen=True):
    body: bytes
    answered: asyncio.Future[Exchanged]


class Bundles:
    """Gathers requests, and sends them: one by `alone`, several, one a line, by `together`.

    Both are given a body and the bearer token; what they raise is raised to everyone who asked.
    """

    def __init__(
        self,
        alone: Callable[[bytes, str | None], Awaitable[Exchanged]],
        together: Callable[[bytes, str | None], Awaitable[Exchanged]],
    ) -> None:
        self._alone = alone
        self._together = together
        self._asked: dict[str | None, list[_Asked]] = {}
        self._sending: set[asyncio.Task[None]] = set()

    async def exchange(self, body: bytes, token: str | None) -> Exchanged:
        """Send a request with what else is asked in this turn of the loop, and return its answer."""
        loop = asyncio.get_running_loop()
        if not self._asked:
            loop.call_soon(self._send)
        asked = _Asked(body, loop.create_future())
        self._asked.setdefault(token, []).append(asked)
        return await asked.answered

    async def close(self) -> None:
        """Give up what is under way: who waits is told that there was no answer."""
        for task in self._sending:
            task.cancel()
        if self._sending:
            await asyncio.wait(self._sending)

    def _send(self) -> None:
        gathered, self._asked = self._asked, {}
        for token, asked in gathered.items():
            for some in portions(asked, lambda each: len(each.body)):
                task = asyncio.create_task(self._carry(some, token))
                self._sending.add(task)
                task.add_done_callback(self._sending.discard)

    async def _carry(self, asked: Sequence[_Asked], token: str | None) -> None:
        try:
            if len(asked) == 1:
                _answer(asked[0], await self._alone(asked[0].body, token))
                return
            status, payload = await self._together(b"\n".join(each.body for each in asked), token)
            lines = payload.split(b"\n")
            if status == OK and len(lines) == len(asked):
                for each, line in zip(asked, lines, strict=True):
                    _answer(each, (OK, line))
                return
            async with asyncio.TaskGroup() as group:
                for each in asked:
                    group.create_task(self._carry([each], token))
        except asyncio.CancelledError:
            _fail(asked, Unavailable(CLOSED))
            raise
        except Exception as error:
            _fail(asked, error)


def _answer(asked: _Asked, exchanged: Exchanged) -> None:
    if not asked.answered.done():  # else its caller has gone
        asked.answered.set_result(exchanged)


def _fail(asked: Sequence[_Asked], error: Exception) -> None:
    for each in asked:
        if not each.answered.done():
            each.answered.set_exception(error)
