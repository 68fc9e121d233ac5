"""A program of an example, from its first process to its last: what it prints, and how it ends."""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import Awaitable, Callable, Sequence

from examples.spawning import Running

LOGGED = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \[")
TIMEOUT_S = 60.0


class ProgramFailed(Exception):
    """A program ended as it should not, or did not say what it should."""


Start = Callable[[], Awaitable[Running]]


class Program:
    """A program of an example. `lines` is what it has printed, both outputs together.

    It is killed after each of the seconds in `lives_s`, and started again. With `again` it is to crash in its
    first life (or may, unless `surely`), and has a second one. `killed` tells how often that was, `lived_s`
    how long the last life was.
    """

    def __init__(
        self,
        name: str,
        start: Start,
        *,
        lives_s: Sequence[float] = (),
        again: Start | None = None,
        surely: bool = True,
    ) -> None:
        self.name = name
        self.lines: list[str] = []
        self.killed = 0
        self.lived_s = 0.0
        self._start = start
        self._again = again
        self._surely = surely
        self._lives_s = list(lives_s)
        self._running: Running | None = None
        self._printed, self._begun, self._crashed = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._silent = self._over = False
        self._life = asyncio.create_task(self._live())

    @property
    def last_words(self) -> str:
        """What the program printed last, for an error message."""
        return " | ".join(self.lines[-20:])

    async def line(self, part: str) -> str:
        """Wait for a line with this text in it and return it."""
        return (await self.several(part, 1))[0]

    async def several(self, part: str, number: int) -> list[str]:
        """Wait for so many lines with this text in them and return all there are."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await self._several(part, number)
        except TimeoutError:
            raise ProgramFailed(f"{self.name} did not print {part!r}: {self.last_words}") from None

    async def end(self) -> int:
        """Wait for the end and return the exit code, or less than 0: the signal that ended it."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await asyncio.shield(self._life)
        except TimeoutError:
            raise ProgramFailed(f"{self.name} did not end: {self.last_words}") from None

    async def result(self) -> str:
        """Wait for the end and return the last line that is none of the log.

        Raises ProgramFailed unless it ended well.
        """
        said = [line for line in self.lines if not LOGGED.match(line)] if await self.end() == 0 else []
        if not said:
            raise ProgramFailed(f"{self.name} failed: {self.last_words}")
        return said[-1]

    async def kill(self) -> None:
        """End it (SIGKILL), if it still runs, for good."""
        self._over = True
        if self._running is not None:
            self._running.kill()
        await self._life

    async def begun(self) -> None:
        """Wait until its process is there. Raises what kept that from starting."""
        await self._first(self._begun)

    async def settled(self) -> None:
        """Wait until it has crashed, if it is to. Raises ProgramFailed if it ends in another way."""
        if self._again is None or not self._surely:
            return
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await self._first(self._crashed)
        except TimeoutError:
            raise ProgramFailed(f"{self.name} did not crash: {self.last_words}") from None
        if not self._crashed.is_set():
            raise ProgramFailed(f"{self.name} ended and did not crash: {self.last_words}")

    async def _first(self, event: asyncio.Event) -> None:
        waiting = asyncio.create_task(event.wait())
        await asyncio.wait((waiting, self._life), return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            waiting.cancel()
            await self._life

    async def _several(self, part: str, number: int) -> list[str]:
        while True:
            self._printed.clear()
            found = [line for line in self.lines if part in line]
            if len(found) >= number:
                return found
            if self._silent:
                raise ProgramFailed(f"{self.name} ended without {part!r}: {self.last_words}")
            await self._printed.wait()

    async def _live(self) -> int:
        while True:
            code, ended_by_us = await self._live_once()
            crashed = self._again is not None and not self._crashed.is_set() and code == -signal.SIGKILL
            if self._over or not (ended_by_us or crashed):
                break
            self.killed += 1
            if crashed and self._again is not None:
                self._start = self._again
                self._crashed.set()
        self._silent = True
        self._printed.set()
        return code

    async def _live_once(self) -> tuple[int, bool]:
        """Return the exit code, and whether it was killed because its time was over."""
        loop = asyncio.get_running_loop()
        begun, running = loop.time(), await self._start()
        self._running = running
        self._begun.set()
        due = loop.call_later(self._lives_s.pop(0), running.kill) if self._lives_s else None
        if self._over:  # it was ended meanwhile
            running.kill()
        await self._read(running.output)
        code = await running.ended()
        self.lived_s = loop.time() - begun
        if due is not None:
            due.cancel()
        return code, due is not None and code == -signal.SIGKILL

    async def _read(self, output: asyncio.StreamReader) -> None:
        async for raw in output:
            self.lines.append(raw.decode(errors="replace").rstrip())
            self._printed.set()
