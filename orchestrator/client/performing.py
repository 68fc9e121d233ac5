"""What is done for each kind of durable call, beside the stepping of workflows.

Each function is one job of an execution: it writes, takes what the store answers as the outcome (W2), and
raises only what ends the execution.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from orchestrator.client import codec, steps
from orchestrator.client.branch import Branch
from orchestrator.client.calls import Call, StepCall
from orchestrator.client.continuing import next_round, start_over
from orchestrator.client.deciding import call_off
from orchestrator.client.outcomes import failure_value
from orchestrator.client.pending import CallT, PendingCall
from orchestrator.client.progress import Progress
from orchestrator.client.registry import RegisteredFunction
from orchestrator.client.sealing import readable
from orchestrator.client.steps import LeafRun, Settlement
from orchestrator.client.verdict import Ending, Verdict
from orchestrator.commitments.errors import ProofError
from orchestrator.commitments.proof import close_tree
from orchestrator.domain import tags as tag
from orchestrator.domain.errors import Abandoned, ApplicationError, Refused
from orchestrator.domain.ids import extends, path_of, tree_of
from orchestrator.domain.promise import PromiseState, Value
from orchestrator.protocol import commands as c
from orchestrator.protocol.paging import NO_SEARCH, every_promise
from orchestrator.protocol.records import PromiseRecord

if TYPE_CHECKING:
    from orchestrator.client.execution import Execution

_log = structlog.get_logger(__name__)
CREATE_AFTER_S = 0.1
"""A step that runs longer is written first, so that others see it."""
DEADLINE_PAUSE_S_MIN = 0.02
DEADLINE_PAUSE_S_MAX = 1.0
_NO_CALLBACK = (400, 422)


class LeafCreation:
    """Writes the promise of a running leaf: at its end in one write, or before if it takes long."""

    __slots__ = ("_begun_ms", "_call", "_execution", "_lock", "exists")

    def __init__(self, execution: Execution, call: Call, *, exists: bool) -> None:
        self._begun_ms = execution.around.clock.now_ms()
        self._execution = execution
        self._call = call
        self._lock = asyncio.Lock()
        self.exists = exists

    async def ensure(self) -> None:
        """Create the promise unless that was done."""
        async with self._lock:
            if not self.exists:
                async with taken(self._execution, self._call):
                    await self._execution.writer.create(self._call.create)
                self.exists = True

    async def finish(self, settlement: Settlement) -> PromiseRecord:
        """Write the outcome; return what the store holds then. A result that is too large fails the step."""
        try:
            return await self._write(settlement)
        except Refused as refusal:
            return await self._write(steps.not_stored(f"the result of {self._call.label}", refusal))

    async def _write(self, settlement: Settlement) -> PromiseRecord:
        writer = self._execution.writer
        async with self._lock:
            if self.exists:
                return await writer.settle(self._call.id, settlement.state, settlement.value)
            record = await writer.record(
                self._call.create, settlement.state, settlement.value, self._begun_ms
            )
            self.exists = True
            return record


async def run_leaf(execution: Execution, pending: PendingCall[StepCall]) -> None:
    """Run a leaf function as a step and record its outcome."""
    call = pending.call
    await pending.branch.creations_written()
    creation = LeafCreation(execution, call, exists=pending.record is not None)
    stop = execution.cancellations.leaf(call.id)
    if call.deadline:
        await creation.ensure()
    timer = asyncio.get_running_loop().call_later(CREATE_AFTER_S, execution.spawn, creation.ensure)
    if call.function.committer is not None:
        execution.committing.add(call.id)
    progress = _progress(execution, pending.record, call.id, creation.ensure)
    leaf = LeafRun(
        execution.around,
        call.id,
        function=call.function,
        args=call.args,
        kwargs=call.kwargs,
        retry=call.retry,
        lease=execution.writer.lease,
        limits=call.limits,
        begun_ms=pending.record.created_at if pending.record is not None else None,
        progress=progress,
        bound=call.bound(),
    )
    try:
        settlement = await stop.run(lambda: _within_deadline(execution, pending, leaf, creation))
        timer.cancel()  # however long the write takes: a creation would come too late
        record = await (creation.finish(settlement) if settlement else _timed_out(execution, call))
    except Refused as refusal:
        raise await rejected(execution, call, refusal) from refusal
    finally:
        timer.cancel()
        progress.close()
        execution.cancellations.forget(call.id)
    execution.committing.discard(call.id)
    _announce(execution, call.function, record)
    execution.observe(record)


async def _within_deadline(
    execution: Execution, pending: PendingCall[StepCall], leaf: LeafRun, creation: LeafCreation
) -> Settlement | None:
    """Return the settlement of a run, None if the step's own deadline came first."""
    call, clock = pending.call, execution.around.clock
    if not call.deadline:
        return await leaf.run(creation.ensure)
    known = pending.record if pending.record is not None else call.create
    try:
        async with asyncio.timeout(max(0.0, (known.timeout_at - clock.now_ms()) / 1000)):
            return await leaf.run(creation.ensure)
    except TimeoutError:
        return None


async def _timed_out(execution: Execution, call: Call) -> PromiseRecord:
    """Return the record of a step whose deadline has passed here; by the store's clock it may come later."""
    pause_s = DEADLINE_PAUSE_S_MIN
    while (record := await execution.writer.read(call.id)).pending:
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, DEADLINE_PAUSE_S_MAX)
    return record


async def run_root_leaf(
    execution: Execution, function: RegisteredFunction, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> None:
    """Run the leaf function that a task stands for, and settle the task's promise."""
    progress = _progress(execution, execution.promise, execution.promise.id, _nothing)
    leaf = LeafRun(
        execution.around,
        execution.promise.id,
        function=function,
        args=args,
        kwargs=kwargs,
        retry=function.retry,
        lease=execution.writer.lease,
        limits=function.limits,
        progress=progress,
    )
    stop = execution.cancellations.leaf(execution.promise.id)
    await fulfil(execution, await stop.run(lambda: leaf.run(_nothing)) or steps.CANCELLED)
    _announce(execution, function, execution.promise)


def _progress(
    execution: Execution,
    record: PromiseRecord | None,
    promise_id: str,
    ensure: Callable[[], Coroutine[Any, Any, None]],
) -> Progress:
    """Return how far a leaf has come before; what it notes is recorded, where the engine can."""
    what = f"the progress of {promise_id}"
    tree = codec.from_data(readable(record.value, what), what) if record is not None else None
    if c.EXTENSION_PROGRESS not in execution.around.extensions:
        return Progress(tree)
    return Progress(tree, lambda tree: execution.spawn(partial(_note, execution, promise_id, ensure, tree)))


async def _note(
    execution: Execution, promise_id: str, ensure: Callable[[], Coroutine[Any, Any, None]], tree: object
) -> None:
    await ensure()
    try:
        await execution.writer.note(promise_id, Value(data=codec.to_data(tree)))
    except Refused as refusal:
        _log.warning("progress not recorded", promise_id=promise_id, reason=str(refusal))


async def _nothing() -> None:
    """The promise of a task exists already."""


async def start_branch(execution: Execution, pending: PendingCall[StepCall]) -> None:
    """Create the promise of a workflow that runs as a local child, then step it."""
    call = pending.call
    await pending.branch.creations_written()
    record = await _written(execution, pending)
    if record.pending:
        execution.open(record, call.function, call.args, call.kwargs, pending.future)
    else:
        execution.observe(record)


async def settle_branch(execution: Execution, branch: Branch) -> None:
    """Record the outcome of a workflow whose body and children have ended.

    What it does not wait for (detached calls, promises) exists by then: no replay of it would make it later.
    """
    await branch.creations_written()
    execution.check_all_asked(branch.caller.id)
    await branch.creations_written()
    for timer in list(branch.timers.values()):
        await call_off(execution, timer)
    ending = next_round(branch)
    if isinstance(ending, Value):
        await start_over(execution, branch, ending)
        return
    settlement = steps.settlement(branch.caller.id, branch.function, branch.bound, ending)
    if branch.future is None:
        await fulfil(execution, settlement)
    else:
        execution.observe(await _settled(execution, branch, settlement))
    execution.closed(branch)


async def fulfil(execution: Execution, settlement: Settlement) -> None:
    """Settle the task's own promise, which ends the execution."""
    try:
        record = await execution.writer.fulfil(settlement.state, settlement.value)
    except Refused as refusal:
        failure = steps.not_stored(f"the result of {execution.promise.id}", refusal)
        record = await execution.writer.fulfil(failure.state, failure.value)
    execution.end(Verdict(ending=Ending.SETTLED, record=record))


async def _settled(execution: Execution, branch: Branch, settlement: Settlement) -> PromiseRecord:
    settle, promise_id = execution.writer.settle, branch.caller.id
    try:
        return await settle(promise_id, settlement.state, settlement.value)
    except Refused as refusal:
        failure = steps.not_stored(f"the result of {branch.function} ({promise_id})", refusal)
        return await settle(promise_id, failure.state, failure.value)


@asynccontextmanager
async def taken(execution: Execution, call: Call) -> AsyncIterator[None]:
    """Reject the whole task where a call's arguments are too large: no worker will ever get past it."""
    try:
        yield
    except Refused as refusal:
        raise await rejected(execution, call, refusal) from refusal


async def rejected(execution: Execution, call: Call, refusal: Refused) -> Abandoned:
    """Reject the whole task for a call that the server refused, and return what ends the execution."""
    await fulfil(execution, steps.not_stored(f"{call.label} ({call.position})", refusal))
    return Abandoned(f"{execution.promise.id} was rejected: {refusal}")


async def call_remote(execution: Execution, pending: PendingCall[Call]) -> None:
    """Create a promise that somebody else settles; it is awaited by suspension."""
    branch, bare = pending.branch, tag.TARGET not in pending.call.create.tags
    under_way = branch.creations
    earlier = set() if under_way is None else set(under_way.versions if bare else under_way.promises)
    written = branch.creating(promise=bare)
    try:
        if earlier:
            await asyncio.wait(earlier)
        record = await _written(execution, pending)
    finally:
        if not written.done():
            written.set_result(None)
    if not record.pending:
        execution.observe(record)
    elif pending.call.outside and execution.around.holds_outside:
        await execution.listen(pending.call.id)
    else:
        pending.future.remote = True
        execution.watch_remote()
        await execution.cancellations.end_again(pending.future)


async def suspend(execution: Execution, awaited: list[str]) -> c.SuspendAnswer | None:
    """Let the task rest until one of the awaited promises settles; None if some are listened for instead.

    Not every engine wakes a task for a promise of another origin: where it refuses, the task is held.
    """
    try:
        return await execution.writer.suspend(awaited)
    except Refused as refusal:
        outside = [one for one in awaited if not extends(one, execution.origin)]
        told = c.EXTENSION_EXTERNAL_AWAIT in execution.around.extensions
        if refusal.status not in _NO_CALLBACK or told or not outside:
            raise
        execution.around.holds_outside = True
        for one in outside:
            execution.hold_remote(one)
        return None


async def load_rest(execution: Execution) -> None:
    """Read the recorded children that one preload could not hold, so that none is executed again (W1)."""
    branch = execution.promise.tags.get(tag.BRANCH) or execution.promise.id
    async for record in every_promise(execution.writer.call_unfenced, tags={tag.BRANCH: branch}):
        execution.records.setdefault(record.id, record)


async def _written(execution: Execution, pending: PendingCall[CallT]) -> PromiseRecord:
    call = pending.call
    if pending.record is not None:
        return pending.record
    async with taken(execution, call):
        if call.outside:
            return (await execution.writer.call_unfenced(call.create)).promise
        record = await execution.writer.create(call.create)
    execution.compare(call, record)
    return record


async def close_commitments(domain: bytes, execution: Execution, pending: PendingCall[Call]) -> None:
    """Close the commitments made so far: record the closing as a step, or the reason why it cannot be."""
    call = pending.call
    try:
        records = await _tree_of(execution, call)
        closing = close_tree(domain, records, before=call.id)
        value = Value(
            headers=closing.to_headers(), data=codec.encode_value(closing, f"the closing {call.id}").data
        )
        settlement = Settlement(state=PromiseState.RESOLVED, value=value)
    except (ProofError, ApplicationError) as error:
        settlement = Settlement(state=PromiseState.REJECTED, value=failure_value(error))
    creation = LeafCreation(execution, call, exists=pending.record is not None)
    execution.observe(await creation.finish(settlement))


async def _tree_of(execution: Execution, call: Call) -> list[PromiseRecord]:
    """Return all records of the call's tree, and others. ApplicationError if a commitment may still come."""
    for promise_id in (*execution.committing, *execution.open_workflows()):
        if not extends(call.id, promise_id):
            raise _still_open(promise_id)
    try:
        records = {
            record.id: record
            async for record in every_promise(
                execution.writer.call_unfenced, tags={tag.ORIGIN: execution.origin}
            )
        }
    except Refused as refusal:
        if refusal.status not in NO_SEARCH or not _holds_whole_tree(execution):
            raise
        records = execution.records
    for record in records.values():
        if record.pending and _may_commit(record, call):
            raise _still_open(record.id)
    return list(records.values())


def _holds_whole_tree(execution: Execution) -> bool:
    """Tell whether this execution has seen every record of its tree, detached trees excepted.

    It has if it is the tree's first, forgot nothing, and called no other worker, whose steps were unknown.
    """
    if execution.continuations.any:
        return False
    calls = [one for one in execution.records.values() if one.target is not None and not one.is_timer]
    tree = tree_of(execution.promise.id)
    return execution.promise.id == tree and not any(
        one.id != tree and tree_of(one.id) == tree for one in calls
    )


def _may_commit(record: PromiseRecord, call: Call) -> bool:
    """Tell whether an open promise may bring a commitment to the closing: no ancestor, of the same tree."""
    if tree_of(record.id) != tree_of(call.id) or extends(call.id, record.id):
        return False
    return record.param.data is not None and path_of(record.id) < path_of(call.id)


def _still_open(promise_id: str) -> ApplicationError:
    return ApplicationError(
        f"the commitments cannot be closed: {promise_id} is still running; await it first",
        type_name="CommitmentsOpen",
    )


def _announce(execution: Execution, function: RegisteredFunction, record: PromiseRecord) -> None:
    for observer in execution.around.observers:
        observer.on_step_finished(record.id, function.name, record.state)
