"""A process that runs one workflow of the corpus, and may kill itself at a command.

Its engine is its own, on a SQLite file or a PostgreSQL database, or that of a server process. It ends with
SIGKILL before the engine has that command, or after it; without one it goes to the end and writes outcome and
records. Each step that begins, and each that is stored, is a line in its journal. Processes are forked from
one that has imported everything and done nothing.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

from orchestrator import Orchestrator, PromiseState
from orchestrator.engine import Engine, EngineSettings
from orchestrator.protocol.commands import Command, PromiseRecordStep, PromiseSettle
from orchestrator.protocol.transport import Receiver, Transport
from orchestrator.store import open_store
from orchestrator.testing.cuts import comparable, settled_records
from orchestrator.transport.http import HttpTransport
from tests.integration import test_sdk_cuts as cuts
from tests.integration.server_support import served
from tests.workflow_programs import Program, approvals_in, deal, interpret, register_programs

PATIENCE_S = 110.0
TIMEOUT_S = 120.0
DEALT = "dealt-"
"""Before its number this names a generated workflow."""


class Journal:
    """Writes each step down at once: what was written survives the process."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def on_step_started(self, promise_id: str, name: str, attempt: int) -> None:
        os.write(self._descriptor, f"started {promise_id} {attempt}\n".encode())

    def on_step_finished(self, promise_id: str, name: str, state: PromiseState) -> None:
        self.stored(promise_id)

    def stored(self, promise_id: str) -> None:
        os.write(self._descriptor, f"stored {promise_id}\n".encode())


class Killing:
    """A transport whose process ends with SIGKILL at one command."""

    def __init__(self, inner: Transport, journal: Journal, number: int, *, after: bool) -> None:
        self._inner = inner
        self._journal = journal
        self._left = number
        self._after = after

    async def call(self, command: Command[Any]) -> Any:
        self._left -= 1
        if self._left:
            return await self._inner.call(command)
        if self._after:
            await self._inner.call(command)
            action = getattr(command, "action", command)
            if isinstance(action, (PromiseSettle, PromiseRecordStep)):
                self._journal.stored(action.id)  # nobody here will come to say so
        os.kill(os.getpid(), signal.SIGKILL)

    def connect(self, group: str, pid: str, receive: Receiver) -> AbstractAsyncContextManager[None]:
        return self._inner.connect(group, pid, receive)

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a process ended: its exit code, negative for a signal, and what it wrote."""

    code: int
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A workflow, what it needs, and what somebody outside does before it begins."""

    workflow: Callable[..., Any]
    args: tuple[Any, ...]
    needs: Callable[[Orchestrator], Orchestrator]
    hand: Callable[[Orchestrator], Awaitable[None]]


def subject(name: str) -> Subject:
    """Return a workflow of the corpus, or `dealt-N`, a generated one."""
    if name.startswith(DEALT):
        program = deal(int(name.removeprefix(DEALT)), cuts.DEALT, without=cuts.LONG_WAITS)
        return Subject(
            workflow=interpret,
            args=(program,),
            needs=lambda app: register_programs(app, cuts.ask_nobody),
            hand=lambda app: _approve(app, program),
        )
    workflow = next(one for one in cuts.WORKFLOWS if one.__name__ == name)
    return Subject(workflow=workflow, args=(), needs=cuts.with_functions, hand=cuts.approve_first)


async def _approve(app: Orchestrator, program: Program) -> None:
    for number in approvals_in(program):
        await app.promises.create(f"approval-{number}")
        await app.promises.resolve(f"approval-{number}", number)


def run(url: str, base: Path, name: str, number: int = 0, *, after: bool = False) -> Ended:
    """Run a workflow on a store or a server, in a process of its own, to its end.

    `number` is the command to die at, 0 for none. The journal is `base` with the suffix `.journal`.
    """
    process = _forks().Process(target=_live, args=(url, base, name, number, after))
    process.start()
    process.join(TIMEOUT_S)
    said = base.with_suffix(".said")
    if process.exitcode is None:
        process.kill()
        process.join()
        raise TimeoutError(f"{name} still runs after {TIMEOUT_S:g} s: {said.read_text()}")
    return Ended(code=process.exitcode, said=said.read_text())


@contextmanager
def serving(database: Path) -> Iterator[str]:
    """Run a server process on a SQLite file and yield its URL. It ends with this process at the latest."""
    reading, writing = multiprocessing.Pipe(duplex=False)
    process = _forks().Process(target=_serve, args=(database, writing))
    process.start()
    writing.close()
    try:
        yield reading.recv_bytes().decode()
    finally:
        process.kill()
        process.join()


def _forks() -> ForkServerContext:
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload([__name__])
    return processes


def _serve(database: Path, writing: Connection) -> None:
    asyncio.run(_serving(database, writing))


async def _serving(database: Path, writing: Connection) -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(parent.sentinel, ended.set)
    store = open_store(f"sqlite:///{database}")
    async with Engine(store, settings=EngineSettings(retry_timeout_ms=50)) as engine, served(engine) as url:
        writing.send_bytes(url.encode())
        await ended.wait()


def _live(url: str, base: Path, name: str, number: int, after: bool) -> None:
    descriptor = os.open(base.with_suffix(".said"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for standard in (1, 2):
        os.dup2(descriptor, standard)
    asyncio.run(_main(url, base, subject(name), number, after=after))


async def _main(url: str, base: Path, one: Subject, number: int, *, after: bool) -> None:
    journal = Journal(base.with_suffix(".journal"))
    async with _reached(url) as transport, asyncio.timeout(PATIENCE_S):
        async with Orchestrator(transport=transport, group="hands", worker=False) as hand:
            await one.hand(hand)
        killing = Killing(transport, journal, number, after=after)
        app = one.needs(Orchestrator(transport=killing, ttl_ms=600, grace_s=2.0))
        app.observe(journal)
        async with app:
            outcome = await cuts.outcome_of(app, one.workflow, *one.args)
            records = comparable(await settled_records(transport))
    sys.stdout.write(f"{(outcome, sorted(records.items()))!r}\n")
    sys.stdout.flush()


@asynccontextmanager
async def _reached(url: str) -> AsyncIterator[Transport]:
    if not url.startswith("http"):
        async with cuts.engine_on(open_store(url)) as transport:
            yield transport
        return
    remote = HttpTransport(url)
    try:
        yield remote
    finally:
        await remote.close()
