"""A process that runs one workflow of the corpus on a SQLite file, and may kill itself at a command.

It ends with SIGKILL before the engine has that command, or after it; without one it goes to the end and
writes outcome and records. Each step that begins, and each that is stored, is a line in DATABASE.journal.
Processes are forked from one that has imported everything and done nothing.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import sys
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator import Orchestrator, PromiseState
from orchestrator.protocol.commands import Command
from orchestrator.protocol.transport import Receiver, Transport
from orchestrator.store.sqlite import SqliteStore
from orchestrator.testing.cuts import comparable, settled_records
from tests.integration import test_sdk_cuts as cuts

PATIENCE_S = 110.0
TIMEOUT_S = 120.0


class Killing:
    """A transport whose process ends with SIGKILL at one command."""

    def __init__(self, inner: Transport, number: int, *, after: bool) -> None:
        self._inner = inner
        self._left = number
        self._after = after

    async def call(self, command: Command[Any]) -> Any:
        self._left -= 1
        if self._left:
            return await self._inner.call(command)
        if self._after:
            await self._inner.call(command)
        os.kill(os.getpid(), signal.SIGKILL)

    def connect(self, group: str, pid: str, receive: Receiver) -> AbstractAsyncContextManager[None]:
        return self._inner.connect(group, pid, receive)

    async def close(self) -> None: ...


class Journal:
    """Writes each step down at once: what was written survives the process."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def on_step_started(self, promise_id: str, name: str, attempt: int) -> None:
        os.write(self._descriptor, f"started {promise_id} {attempt}\n".encode())

    def on_step_finished(self, promise_id: str, name: str, state: PromiseState) -> None:
        os.write(self._descriptor, f"stored {promise_id}\n".encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a process ended: its exit code, negative for a signal, and what it wrote."""

    code: int
    said: str


def run(database: Path, name: str, number: int = 0, *, after: bool = False) -> Ended:
    """Run a workflow in a process of its own to its end; `number` is the command to die at, 0 for none."""
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload([__name__])
    said = database.with_suffix(".said")
    process = processes.Process(target=_live, args=(database, name, number, after, said))
    process.start()
    process.join(TIMEOUT_S)
    if process.exitcode is None:
        process.kill()
        process.join()
        raise TimeoutError(f"{name} still runs after {TIMEOUT_S:g} s: {said.read_text()}")
    return Ended(code=process.exitcode, said=said.read_text())


def _live(database: Path, name: str, number: int, after: bool, said: Path) -> None:
    descriptor = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for standard in (1, 2):
        os.dup2(descriptor, standard)
    asyncio.run(_main(database, name, number, after=after))


async def _main(database: Path, name: str, number: int, *, after: bool) -> None:
    workflow = next(one for one in cuts.WORKFLOWS if one.__name__ == name)
    async with cuts.engine_on(SqliteStore(database)) as transport, asyncio.timeout(PATIENCE_S):
        async with Orchestrator(transport=transport, group="hands", worker=False) as hand:
            await cuts.approve_first(hand)
        app = cuts.with_functions(
            Orchestrator(transport=Killing(transport, number, after=after), ttl_ms=600, grace_s=2.0)
        )
        app.observe(Journal(database.with_suffix(".journal")))
        async with app:
            outcome = await cuts.outcome_of(app, workflow)
            records = comparable(await settled_records(transport))
    sys.stdout.write(f"{(outcome, sorted(records.items()))!r}\n")
    sys.stdout.flush()
