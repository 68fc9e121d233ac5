"""Child processes of a demo, a replay or a test: started, waited for, killed, always by pid.

None outlives the process that started it, not even where that is killed: see `scorers.parent`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from scorers import parent, ready
from scorers.errors import ScenarioError

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = parent.STOP_TIMEOUT_S
LINES_KEPT = 40


class Child:
    """A `dao-scorer` command that runs beside this process."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self.pid = process.pid
        self.where = ""
        self._process = process
        self._lines: deque[str] = deque(maxlen=LINES_KEPT)
        self._reader = asyncio.create_task(self._read())
        self._ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    @property
    def running(self) -> bool:
        """Tell whether the process has not ended yet."""
        return self._process.returncode is None

    @property
    def last_words(self) -> str:
        """What the process printed last, for an error message."""
        return " | ".join(self._lines)

    async def wait_ready(self) -> str:
        """Wait for the ready line; return what it names.

        Raises ScenarioError, with the last lines, when the process ends or stays silent instead.
        """
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                self.where = await self._ready
        except TimeoutError:
            raise ScenarioError(
                f"{self.name} was not ready in {START_TIMEOUT_S:.0f} s: {self.last_words}"
            ) from None
        return self.where

    async def kill(self) -> None:
        """End the process at once (SIGKILL), as a crash would."""
        if self.running:
            self._process.kill()
        await self._ended()

    def pause(self) -> None:
        """Freeze the process (SIGSTOP): it holds what it holds and does nothing."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen process go on."""
        self._process.send_signal(signal.SIGCONT)

    async def stop(self) -> int:
        """Ask the process to end (SIGTERM), insist after a while; return its exit code."""
        if self.running:
            self._process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(STOP_TIMEOUT_S):
                    await self._process.wait()
            except TimeoutError:
                self._process.kill()
        return await self._ended()

    async def _ended(self) -> int:
        code = await self._process.wait()
        await self._reader
        return code

    async def _read(self) -> None:
        stream = self._process.stdout
        assert stream is not None  # noqa: S101 - the process was started with a pipe
        async for raw in stream:
            line = raw.decode(errors="replace").rstrip()
            where = ready.parse(line)
            if where is None:
                self._lines.append(line)
            elif not self._ready.done():
                self._ready.set_result(where)
        if not self._ready.done():
            self._ready.set_exception(ScenarioError(f"{self.name} ended at its start: {self.last_words}"))
            self._ready.exception()


class Family:
    """The children of one scenario; all are ended when it is left."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._children: list[Child] = []

    async def start(
        self,
        name: str,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        program: Sequence[str] = ("-m", "scorers"),
    ) -> Child:
        """Start a command and wait until it is ready."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *program,
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            stdin=asyncio.subprocess.PIPE,  # held open and never written to: its end is this process's end
            cwd=self._directory,
            env={**os.environ, **parent.tied(), **(environment or {})},
        )
        child = Child(name, process)
        self._children.append(child)
        await child.wait_ready()
        return child

    async def end(self) -> None:
        """End all children, the last started first."""
        for child in reversed(self._children):
            if child.running:
                await child.stop()
            else:
                await child.kill()


@asynccontextmanager
async def family(directory: Path) -> AsyncIterator[Family]:
    """Hold the child processes of a scenario; they work in `directory`."""
    async with AsyncExitStack() as stack:
        children = Family(directory)
        stack.push_async_callback(children.end)
        yield children
