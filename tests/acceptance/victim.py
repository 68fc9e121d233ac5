"""The real `dao-scorer` command in a process that writes a journal and may have a place to die.

`victim.main([JOURNAL, KILL, COMMAND...])`, with the text of a `KillPoint` or "" for KILL. It wraps, from the
outside, what every durable step must pass: the transports (a listener's and a worker's commands), the node's
connection, the cursor store, and the server's batches with their transaction. The product has no place for
any of this. Operations are named so that a kill point reads like the boundary that it stands for:

    promise.create scoreProposal-…      the listener's dispatch
    record read_proposal …              the outcome of a step is written
    create send_transaction …           a detached workflow is started
    fulfill score_proposal …            a workflow's own outcome is written
    rpc eth_sendRawTransaction          a request to the node
    store advance                       the listener's cursor
    commit [record read_proposal …]     the server's transaction with these commands
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

# Whatever a child will need is imported here, once, before children are forked.
import hardhat_free_chain  # noqa: F401
from contracts.rpc.connection import Connection
from listener import SqliteCursorStore
from orchestrator import Orchestrator
from orchestrator.client.invocation import read_invocation
from orchestrator.domain.errors import OrchestratorError
from orchestrator.domain.promise import PromiseState
from orchestrator.engine.batch import BatchResult, Work
from orchestrator.engine.committer import Committer
from orchestrator.protocol import commands as c
from orchestrator.store import sqlite
from orchestrator.transport.http import HttpTransport
from orchestrator.transport.local import LocalTransport
from scorers.cli import listen, serve, up, worker  # noqa: F401
from scorers.cli import main as dao_scorer
from tests.acceptance.journal import Journal
from tests.acceptance.killing import Killer, KillPoint, operation_of

Method = Callable[..., Awaitable[Any]]
CURSOR_METHODS = ("advance", "record", "open_incident", "decide")


class Names:
    """Names operations, and remembers the functions of steps that are written in two commands.

    A step that takes long is created first and settled later, perhaps by another process.
    """

    def __init__(self) -> None:
        self._functions: dict[str, str] = {}

    def of(self, command: c.Command[Any]) -> str:
        """Return a command's name."""
        match command:
            case c.TaskFence(action=c.PromiseCreate() as action):
                return f"create {self._learn(action)} {action.id}"
            case c.TaskFence(action=c.PromiseRecordStep() as action):
                return f"record {self._learn(action)} {action.id}"
            case c.TaskFence(action=c.PromiseSettle(id=promise_id)):
                return f"record {self._functions.get(promise_id, 'unknown')} {promise_id}"
            case c.TaskFulfill(id=promise_id):
                return f"fulfill {_workflow(promise_id)} {promise_id}"
            case _:
                return operation_of(command)

    def on_step_started(self, promise_id: str, name: str, attempt: int) -> None:
        """Learn the name of a step that another process has created: here it is only settled."""
        self._functions[promise_id] = name

    def on_step_finished(self, promise_id: str, name: str, state: PromiseState) -> None: ...

    def _learn(self, action: c.PromiseCreate | c.PromiseRecordStep) -> str:
        name = (action.param.headers or {}).get("func") or _invoked(action) or "promise"
        self._functions[action.id] = name
        return name


def _workflow(promise_id: str) -> str:
    if ":d" in promise_id:
        return "send_transaction"
    return "send_batch" if promise_id.startswith("submitScores-") else "score_proposal"


def _invoked(action: c.PromiseCreate | c.PromiseRecordStep) -> str | None:
    try:
        return read_invocation(action).function  # type: ignore[arg-type] - it has id and param
    except OrchestratorError:
        return None


class Harness:
    """Wraps the methods of classes; every instance made later in this process is wrapped with them."""

    def __init__(self, killer: Killer, journal: Journal) -> None:
        self._killer = killer
        self._journal = journal
        self._names = Names()

    def install(self) -> None:
        """Wrap everything."""
        for transport in (HttpTransport, LocalTransport):
            self._wrap(transport, "call", lambda _, command: self._names.of(command))
        self._wrap(Connection, "request", lambda _, method, params: self._asked([method]))
        self._wrap(Connection, "batch", lambda _, requests: self._asked([each for each, _ in requests]))
        for method in CURSOR_METHODS:
            self._wrap(SqliteCursorStore, method, lambda *_, method=method: f"store {method}")
        self._wrap(Committer, "_run", lambda _, batch, *__: self._batch(work for work, _ in batch))
        self._wrap_commits_at_once()
        self._open_transactions()
        self._observe_steps()

    def _wrap(self, kind: type, name: str, operation: Callable[..., str]) -> None:
        original: Method = getattr(kind, name)

        async def wrapped(*args: Any, **named: Any) -> Any:
            return await self._killer.around(operation(*args), lambda: original(*args, **named))

        setattr(kind, name, wrapped)

    def _asked(self, methods: list[str]) -> str:
        for method in methods:
            self._journal.asked(method)
        return f"rpc {' '.join(sorted(set(methods)))}"

    def _batch(self, works: Iterable[Work]) -> str:
        return f"commit [{'; '.join(self._names.of(work.command) for work in works)}]"

    def _wrap_commits_at_once(self) -> None:
        commit = Committer._commit_at_once

        def committed(committer: Committer, work: Work) -> BatchResult | None:
            return self._killer.at_once(self._batch([work]), lambda: commit(committer, work))

        Committer._commit_at_once = committed  # type: ignore[method-assign]

    def _open_transactions(self) -> None:
        """Let the store die in its own thread with everything written and nothing committed."""
        drive, insert = sqlite._drive, sqlite.insert

        def driven(*args: Any) -> Any:
            result = drive(*args)
            self._killer.inside()
            return result

        def inserted(connection: sqlite3.Connection, *args: Any) -> Any:
            if self._killer.dies_inside:
                connection.execute("BEGIN IMMEDIATE")  # what is one statement has no inside otherwise
            result = insert(connection, *args)
            self._killer.inside()
            return result

        sqlite._drive, sqlite.insert = driven, inserted

    def _observe_steps(self) -> None:
        start: Method = Orchestrator.start

        async def started(app: Orchestrator) -> None:
            app.observe(self._journal)
            app.observe(self._names)
            app.observe_executions(self._journal)
            await start(app)

        Orchestrator.start = started  # type: ignore[method-assign]


def main(arguments: list[str]) -> None:
    """Run a command of `dao-scorer` in this process."""
    journal, kill, *command = arguments
    Harness(Killer(KillPoint.parse(kill) if kill else None), Journal(journal)).install()
    sys.argv = ["dao-scorer", *command]
    dao_scorer()


if __name__ == "__main__":
    main(sys.argv[1:])
