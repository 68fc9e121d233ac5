"""A process that runs one workflow of the corpus on a SQLite file, and may kill itself at a command.

`python -m tests.acceptance.cut_process DATABASE WORKFLOW NUMBER before|after` ends with SIGKILL before the
engine has the NUMBER-th command, or after it; with 0 it goes to the end and prints outcome and records.
Each step that begins, and each that is stored, is a line in DATABASE.journal.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from orchestrator import Orchestrator, PromiseState
from orchestrator.protocol.commands import Command
from orchestrator.protocol.transport import Receiver, Transport
from orchestrator.store.sqlite import SqliteStore
from orchestrator.testing.cuts import comparable, settled_records
from tests.integration import test_sdk_cuts as cuts

PATIENCE_S = 50


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


async def main(database: Path, name: str, number: int, *, after: bool) -> None:
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


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), after=sys.argv[4] == "after"))
