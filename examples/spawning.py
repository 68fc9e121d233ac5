"""Starting a process: afresh, as a program's user does, or as a fork of one that has imported everything.

A fork saves the second or two that a hundred tests would each spend on imports; it is a process like any
other, with files and an event loop of its own, and SIGKILL ends it.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import runpy
import signal
import sys
import threading
import warnings
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Protocol

ROOT = Path(__file__).parents[1]
LINE_LIMIT = 2**20
PRELOADED = (
    *("scorers.cli.up", "scorers.cli.promise", "orchestrator.engine", "orchestrator.store"),
    *("orchestrator.server", "orchestrator.transport.http", "orchestrator.transport.local"),
    *("fastapi", "flask", "uvicorn", "mcp", "mcp.server", "nats"),
)
"""What a fork has imported already."""
_asking = threading.Lock()
"""Held where one may learn of a fork's end: its exit code can be read once, and a start reads them all."""


class Running(Protocol):
    """A process: `output` is both what it prints and its errors."""

    @property
    def output(self) -> asyncio.StreamReader:
        """What it writes."""
        ...

    def kill(self) -> None:
        """End it (SIGKILL), if it still runs."""
        ...

    async def ended(self) -> int:
        """Wait for its end and return the exit code, or less than 0: the signal that ended it."""
        ...


Spawn = Callable[[Sequence[str], Path, Mapping[str, str]], Awaitable[Running]]
"""Starts `python COMMAND...` in a folder, with some variables more in its environment."""


class _Fresh:
    def __init__(self, process: asyncio.subprocess.Process, *, grouped: bool = False) -> None:
        self._process = process
        self._grouped = grouped
        assert process.stdout is not None  # noqa: S101 - the process was started with a pipe
        self.output = process.stdout

    def kill(self) -> None:
        if self._process.returncode is None and self._grouped:
            os.killpg(self._process.pid, signal.SIGKILL)
        elif self._process.returncode is None:
            self._process.kill()

    async def ended(self) -> int:
        return await self._process.wait()


async def afresh(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Running:
    """Start a Python process of its own."""
    return await launched([sys.executable, *command], folder, environment)


async def launched(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], *, grouped: bool = False
) -> Running:
    """Start any program. With `grouped` what it starts itself is killed with it."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=folder,
        env={**os.environ, **_variables(), **environment},
        limit=LINE_LIMIT,
        start_new_session=grouped,
    )
    return _Fresh(process, grouped=grouped)


def _variables() -> dict[str, str]:
    """Return the variables by which a program finds this project, and prints what it prints at once."""
    paths = (str(ROOT), os.environ.get("PYTHONPATH", ""))
    return {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONUNBUFFERED": "1"}


class _Fork:
    def __init__(
        self, process: ForkServerProcess, output: asyncio.StreamReader, transport: asyncio.ReadTransport
    ) -> None:
        self._process = process
        self._transport = transport
        self._ended = False
        self.output = output

    def kill(self) -> None:
        # Not by the process object, which may be asked for its end by another thread just now.
        if not self._ended and self._process.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGKILL)

    async def ended(self) -> int:
        await asyncio.to_thread(_join, self._process)
        self._ended = True
        self._transport.close()
        code = self._process.exitcode
        assert code is not None  # noqa: S101 - it was joined
        return code


async def forked(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Running:
    """Start a process as a fork. It ends with this one."""
    reading, writing = multiprocessing.Pipe(duplex=False)
    process = _forks().Process(target=_run, args=(writing, list(command), str(folder), dict(environment)))
    await asyncio.to_thread(_start, process)
    writing.close()
    output = asyncio.StreamReader(limit=LINE_LIMIT)
    pipe = os.fdopen(os.dup(reading.fileno()), "rb", buffering=0)
    reading.close()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(output), pipe
    )
    return _Fork(process, output, transport)


def _start(process: ForkServerProcess) -> None:
    with _asking:
        process.start()


def _join(process: ForkServerProcess) -> None:
    wait([process.sentinel])
    with _asking:
        process.join()


@cache
def _forks() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    return context


def _run(writing: Connection, command: list[str], folder: str, environment: dict[str, str]) -> None:
    """Be the program, in a fork."""
    for descriptor in (1, 2):
        os.dup2(writing.fileno(), descriptor)
    writing.close()
    # What these were before, a file or a terminal, is not what they are now.
    sys.stdout = open(1, "w", encoding="utf-8", buffering=1, closefd=False)  # noqa: SIM115 - for its life
    sys.stderr = open(2, "w", encoding="utf-8", buffering=1, closefd=False)  # noqa: SIM115
    warnings.filterwarnings("ignore", category=RuntimeWarning, module="runpy")
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.chdir(folder)
    os.environ.update({**_variables(), **environment})
    if command[0] == "-m":
        sys.argv = command[1:]
        runpy.run_module(command[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = command
        sys.path.insert(0, str(Path(command[0]).parent))
        runpy.run_path(command[0], run_name="__main__")


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        with suppress(OSError):
            wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGKILL)
