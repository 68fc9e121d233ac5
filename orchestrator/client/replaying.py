"""Replays a recorded execution on the code of this process: no server, and no function is executed.

Every workflow of the tree is stepped over its record, those that ran as local children included. Where the
record of an unfinished execution ends, so does its replay. W2 replay sees the recorded outcome.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import msgspec

from orchestrator.client.codec import DecodingError
from orchestrator.client.execution import Execution
from orchestrator.client.history import History
from orchestrator.client.invocation import label_of, read_invocation
from orchestrator.client.lease import Lease
from orchestrator.client.registry import FunctionKind
from orchestrator.client.surroundings import Surroundings
from orchestrator.domain import tags as tag
from orchestrator.domain.errors import (
    Abandoned,
    NondeterminismError,
    NotRegistered,
    OrchestratorError,
    Refused,
)
from orchestrator.domain.ids import same_origin
from orchestrator.domain.promise import EMPTY, PromiseRecord, PromiseState, Value
from orchestrator.protocol import commands as c
from orchestrator.protocol.records import TaskRecord, TaskState
from orchestrator.protocol.transport import Receiver, Transport

LEASE_S = 1e9
STEPPED_AGAIN = (PromiseState.RESOLVED, PromiseState.REJECTED)


class RecordEnds(Abandoned):
    """The replay has come to what is not recorded."""


class OutcomeDiffers(OrchestratorError):
    """A replayed workflow comes to another end than its record. `recorded` and `found` are in words."""

    def __init__(self, promise_id: str, recorded: str, found: str) -> None:
        super().__init__(f"{promise_id} ended with {recorded}, the code now ends with {found}")
        self.promise_id = promise_id
        self.recorded = recorded
        self.found = found


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """How one workflow's replay ended: `fault` is the difference, None for a repetition of the record.

    `complete` tells whether it came to the recorded end; if not, `reached` says where the record ends.
    """

    promise_id: str
    function: str
    complete: bool
    reached: str = ""
    fault: Exception | None = None


async def replay(
    around: Callable[[Transport], Surroundings], history: History, records: Mapping[str, PromiseRecord]
) -> list[Replay]:
    """Replay every workflow of a history that is registered here, in order of id.

    `records` are the promises of the history, opened. `around` gives functions, dependencies and clock on a
    transport. Raises NotRegistered where the root's function is none of them.
    """
    registry = around(Recorded(records[history.id], records)).registry
    replays = []
    for record in records.values():
        if record.target is None or record.is_timer:
            continue
        try:
            invocation = read_invocation(record)
            function = registry.named(invocation.function, invocation.version)
        except (DecodingError, NotRegistered):
            if record.id == history.id:
                raise
            continue  # it runs in another group, or is no invocation
        if function.kind is FunctionKind.WORKFLOW:
            replays.append(await _replay_one(around, record, str(function), records))
    return replays


async def _replay_one(
    around: Callable[[Transport], Surroundings],
    root: PromiseRecord,
    function: str,
    records: Mapping[str, PromiseRecord],
) -> Replay:
    recorded = Recorded(root, records)
    lease = Lease(root.id, 1, LEASE_S, asyncio.get_running_loop().time())
    settings = replace(
        around(recorded),
        observers=[recorded],
        execution_observers=[],
        extensions=frozenset(c.EXTENSIONS),
    )
    task = TaskRecord(id=root.id, state=TaskState.ACQUIRED, version=1, resumes=0)
    claim = c.TaskClaim(task=task, promise=_opened(root), preload=recorded.preload())
    async with asyncio.TaskGroup() as group:
        verdict = await Execution(settings, lease, claim).run(group)
    fault = verdict.fault
    difference = recorded.fault or (fault if isinstance(fault, Exception) else None)
    complete = difference is None and not root.pending and not recorded.reached
    return Replay(
        promise_id=root.id, function=function, complete=complete, reached=recorded.reached, fault=difference
    )


class Recorded:
    """The transport of a replay: answers from a record, and stops where the record has no answer.

    It is a step observer, too: an attempt that begins is one that was not recorded.
    """

    def __init__(self, root: PromiseRecord, records: Mapping[str, PromiseRecord]) -> None:
        self._root = root
        self._records = records
        self._parents = {record.tags.get(tag.PARENT) for record in records.values()}
        self.fault: Exception | None = None
        self.reached = ""

    def preload(self) -> list[PromiseRecord]:
        """Return what a worker would be sent with the task, local workflows as if they were still open."""
        branch = self._root.tags.get(tag.BRANCH, self._root.id)
        return [
            self._shown(record)
            for record in self._records.values()
            if record.id != self._root.id
            and (record.tags.get(tag.BRANCH) == branch or record.tags.get(tag.PARENT) == self._root.id)
        ]

    async def call(self, command: c.Command[Any]) -> Any:
        """Answer from the record."""
        match command:
            case c.TaskFence(action=c.PromiseSettle() as settle):
                return c.FenceAnswer(promise=self._settled(settle), preload=[])
            case c.TaskFence(action=action):
                return c.FenceAnswer(promise=self._known(action.id, action), preload=[])
            case c.TaskFulfill(action=settle):
                return c.PromiseAnswer(promise=self._settled(settle))
            case c.TaskSuspend():
                return self._suspended(command)
            case c.PromiseSearch():
                found = [one for one in self._records.values() if command.tags.items() <= one.tags.items()]
                return c.PromisePage(promises=found, cursor=None)
        return c.PromiseAnswer(promise=self._named(command))

    def _named(self, command: c.Command[Any]) -> PromiseRecord:
        """Return the promise that a command outside of the task is about."""
        match command:
            case c.PromiseCreate():
                return self._known(command.id, command)
            case c.PromiseGet() | c.PromiseCancel():
                return self._known(command.id)
            case c.PromiseRegisterListener():
                return self._known(command.awaited)
        raise Refused(400, f"a replay does not know {command.KIND}")

    def connect(self, group: str, pid: str, receive: Receiver) -> AbstractAsyncContextManager[None]:
        """A replay is told nothing."""
        return self._silence()

    @asynccontextmanager
    async def _silence(self) -> AsyncIterator[None]:
        yield

    async def close(self) -> None:
        """Nothing is held."""

    def on_step_started(self, promise_id: str, name: str, attempt: int) -> None:
        """Stop before a function is executed that has no recorded outcome."""
        self._ends(promise_id, f"step {name}")

    def on_step_finished(self, promise_id: str, name: str, state: PromiseState) -> None:
        """No step is executed, so none ends."""

    def _shown(self, record: PromiseRecord) -> PromiseRecord:
        local_workflow = (
            record.tags.get(tag.SCOPE) == tag.SCOPE_LOCAL
            and record.id in self._parents
            and record.state in STEPPED_AGAIN
        )
        return _opened(record) if local_workflow else record

    def _known(self, promise_id: str, action: Any = None) -> PromiseRecord:
        record = self._records.get(promise_id)
        if record is None:
            self._ends(promise_id, _label(action))
        return self._shown(record)

    def _settled(self, settle: c.PromiseSettle) -> PromiseRecord:
        record = self._records.get(settle.id)
        if record is None or record.pending:
            self._ends(settle.id, "the end of a workflow")
        if not _same(record, settle):
            self.fault = OutcomeDiffers(
                settle.id, _told(record.state, record.value), _told(settle.state, settle.value)
            )
            raise RecordEnds(str(self.fault))
        return record

    def _suspended(self, command: c.TaskSuspend) -> c.SuspendAnswer:
        awaited = [action.awaited for action in command.actions]
        ready = [self._records[one] for one in awaited if not self._records[one].pending]
        if not ready:
            self.reached = f"waits for {', '.join(awaited)}"
        return c.SuspendAnswer(suspended=not ready, preload=ready)

    def _ends(self, promise_id: str, label: str) -> NoReturn:
        outside = not same_origin(promise_id, self._root.id)
        if self._root.pending or outside:
            where = f"{promise_id} ({label})"
            self.reached = f"{where} is outside of this tree and not in the file" if outside else where
        else:
            self.fault = NondeterminismError(
                promise_id, f"nothing: {self._root.id} had settled without it", label
            )
        raise RecordEnds(f"{promise_id} is not recorded")


def _opened(record: PromiseRecord) -> PromiseRecord:
    return msgspec.structs.replace(record, state=PromiseState.PENDING, value=EMPTY, settled_at=None)


def _label(action: Any) -> str:
    if action is None:
        return "a promise"
    record = PromiseRecord(
        id=action.id,
        state=PromiseState.PENDING,
        param=action.param,
        value=EMPTY,
        tags=action.tags,
        timeout_at=action.timeout_at,
        created_at=0,
    )
    return label_of(record) or "a call"


def _same(record: PromiseRecord, settle: c.PromiseSettle) -> bool:
    return (record.state, record.value.data) == (settle.state, settle.value.data)


def _told(state: PromiseState, value: Value) -> str:
    return f"{state} {_text(value)}".strip()


def _text(value: Value) -> str:
    if value.data is None:
        return ""
    try:
        return msgspec.json.decode(b'"' + value.data.encode() + b'"', type=bytes).decode()
    except (msgspec.DecodeError, UnicodeDecodeError):
        return value.data
