"""Running an example as its user would: programs as processes, a server beside them, a crash in between."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from scorers.processes import Family, family

EXAMPLES = Path(__file__).parent
TIMEOUT_S = 60.0
LINE_LIMIT = 2**20


def free_port() -> int:
    """Return a port of this machine that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class ProgramFailed(Exception):
    """A program ended as it should not, or did not say what it should."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Crash:
    """End the process when the function `step` is about to be executed for the `number`-th time."""

    step: str
    number: int = 1


class Program:
    """A running program of an example. `lines` is what it has printed, both outputs together."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self.lines: list[str] = []
        self._process = process
        self._printed = asyncio.Event()
        self._silent = False
        self._reader = asyncio.create_task(self._read())

    @property
    def last_words(self) -> str:
        """What the program printed last, for an error message."""
        return " | ".join(self.lines[-20:])

    async def line(self, part: str) -> str:
        """Wait for a line with this text in it and return it."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await self._line(part)
        except TimeoutError:
            raise ProgramFailed(f"{self.name} did not print {part!r}: {self.last_words}") from None

    async def end(self) -> int:
        """Wait for the end and return the exit code, or less than 0: the signal that ended it."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await self._ended()
        except TimeoutError:
            raise ProgramFailed(f"{self.name} did not end: {self.last_words}") from None

    async def result(self) -> str:
        """Wait for the end and return the last line. Raises ProgramFailed unless it ended well."""
        if await self.end() != 0 or not self.lines:
            raise ProgramFailed(f"{self.name} failed: {self.last_words}")
        return self.lines[-1]

    async def kill(self) -> None:
        """End it (SIGKILL), if it still runs."""
        if self._process.returncode is None:
            self._process.kill()
        await self._ended()

    async def _line(self, part: str) -> str:
        seen = 0
        while True:
            self._printed.clear()
            for line in self.lines[seen:]:
                if part in line:
                    return line
            seen = len(self.lines)
            if self._silent:
                raise ProgramFailed(f"{self.name} ended without {part!r}: {self.last_words}")
            await self._printed.wait()

    async def _ended(self) -> int:
        code = await self._process.wait()
        await self._reader
        return code

    async def _read(self) -> None:
        stream = self._process.stdout
        assert stream is not None  # noqa: S101 - the process was started with a pipe
        async for raw in stream:
            self.lines.append(raw.decode(errors="replace").rstrip())
            self._printed.set()
        self._silent = True
        self._printed.set()


class Stage:
    """One example's folder, server and programs; `crashing` says whether a crash is to be injected."""

    def __init__(self, folder: Path, stack: AsyncExitStack, children: Family, *, crashing: bool) -> None:
        self.folder = folder
        self.crashing = crashing
        self.printed: list[str] = []
        self._stack = stack
        self._children = children
        self._again: list[asyncio.Task[None]] = []

    async def start(self, program: str, *arguments: str, crash: Crash | None = None) -> Program:
        """Start a program of an example (`folder/file.py`), to be crashed if this stage crashes."""
        command = [str(EXAMPLES / program), *arguments]
        if crash is not None and self.crashing:
            command = ["-m", "examples.crash", crash.step, str(crash.number), *command]
        return await self._launched([sys.executable, *command], f"{program} {' '.join(arguments)}")

    async def _launched(self, command: Sequence[str], name: str) -> Program:
        paths = (str(EXAMPLES.parent), os.environ.get("PYTHONPATH", ""))
        process = await asyncio.create_subprocess_exec(
            *command,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
            limit=LINE_LIMIT,
        )
        started = Program(name, process)
        self._stack.push_async_callback(self._finish, started)
        return started

    async def run(self, program: str, *arguments: str, crash: Crash) -> str:
        """Run a program to its end and return its last line; where it crashes, run it again."""
        first = await self.start(program, *arguments, crash=crash)
        if self.crashing:
            await self.crashed(first)
            first = await self.start(program, *arguments)
        return await first.result()

    async def keep(self, program: str, *arguments: str, crash: Crash) -> None:
        """Keep a program running until the end of the stage; one that crashes is started again."""
        first = await self.start(program, *arguments, crash=crash)
        if self.crashing:
            self._again.append(asyncio.create_task(self._start_again(first, program, *arguments)))
            self._stack.callback(self._again[-1].cancel)

    async def crashed(self, program: Program) -> None:
        """Wait for a crash. Raises ProgramFailed if the program ends in another way."""
        if (code := await program.end()) != -signal.SIGKILL:
            raise ProgramFailed(f"{program.name} ended with {code} and did not crash: {program.last_words}")

    async def settled(self) -> None:
        """Make sure that what was to crash has crashed, and was started again."""
        await asyncio.gather(*self._again)

    async def server(self, *arguments: str) -> str:
        """Start a server on a SQLite file of its own and return its URL; `arguments` go to the command."""
        store = f"sqlite:///{self.folder / 'server.db'}"
        command = ["serve", "--store", store, "--port", "0", *arguments]
        return (await self._children.start("server", command)).where

    async def broker(self) -> str:
        """Start a nats-server with JetStream, which keeps its queues in this folder, and return its URL."""
        port = str(free_port())
        where = ("--addr", "127.0.0.1", "--port", port, "--store_dir", str(self.folder / "queue"))
        beside = Path(sys.executable).parent / "nats-server"
        binary = str(beside) if beside.exists() else "nats-server"
        started = await self._launched([binary, "--jetstream", *where], "nats-server")
        await started.line("Server is ready")
        started.lines.clear()
        return f"nats://127.0.0.1:{port}"

    async def _start_again(self, first: Program, program: str, *arguments: str) -> None:
        await self.crashed(first)
        await self.start(program, *arguments)

    async def _finish(self, program: Program) -> None:
        await program.kill()
        self.printed.extend(program.lines)


@asynccontextmanager
async def stage(folder: Path, *, crashing: bool) -> AsyncIterator[Stage]:
    """Hold a stage; all its processes are ended when it is left."""
    async with family(folder) as children, AsyncExitStack() as stack:
        made = Stage(folder, stack, children, crashing=crashing)
        yield made
        await made.settled()
