"""Ending what an execution has under way: calls that are to end early, and Cancelled in workflows.

A workflow that is asked to end meets `Cancelled` at its next await that has to wait. Where that is gets
recorded as a child step of its own before anything sees it, with the calls that end for it: a repetition
raises at the same await, and never runs again what was ended there (W2, W3). What a workflow calls
afterwards, to clean up, is not touched.

`Cancellations.end(future)` is the one way to end a single open call of an execution: a leaf in this
process, a workflow as a local child, a call of a worker group.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from orchestrator.client import calls
from orchestrator.client.branch import Branch
from orchestrator.client.calls import Call, StepCall
from orchestrator.client.choices import Choice
from orchestrator.client.endings import ended_by, ending_value
from orchestrator.client.future import Durable, DurableFuture, Raised
from orchestrator.client.invocation import FUNCTION_HEADER
from orchestrator.client.promises import cancel
from orchestrator.client.steps import CANCELLED, Settlement
from orchestrator.domain import tags as tag
from orchestrator.domain.errors import Cancelled, PromiseCanceled, Refused
from orchestrator.domain.promise import EMPTY, PromiseRecord, PromiseState
from orchestrator.protocol import commands as c
from orchestrator.protocol.paging import NO_SEARCH, every_promise

if TYPE_CHECKING:
    from orchestrator.client.execution import Execution

_log = structlog.get_logger(__name__)
FIRM_EVERY = 7
"""At every so many awaits of a workflow that is asked to end, nothing comes before its end. A prime, so that
the loops of a workflow come to each of their awaits with it.
"""


class LeafStop:
    """One leaf call in this process that may be told to end.

    `doomed`: what its function gives is not used any more; the outcome waits until it is told to end, and
    a function that has not begun does not begin.
    `writing`: its outcome is on its way to the store, where it counts.
    """

    __slots__ = ("_settled", "_task", "_told", "_waiting", "doomed", "writing")

    def __init__(self) -> None:
        self.doomed = False
        self.writing = False
        # Made when somebody waits: most leaves settle without.
        self._settled: asyncio.Event | None = None
        self._waiting: asyncio.Event | None = None
        self._told = False
        self._task: asyncio.Task[Any] | None = None

    def end(self) -> None:
        """Stop the function: an async one is cancelled, one in a thread sees `info.cancelled`."""
        if self.writing or self._told:
            return
        self.doomed = self._told = True
        if self._waiting is not None:
            self._waiting.set()
        if self._task is not None:
            self._task.cancel()

    async def _until_told(self) -> None:
        if not self._told:
            self._waiting = asyncio.Event()
            await self._waiting.wait()

    async def until_settled(self) -> None:
        """Wait for `settle`."""
        if self._settled is None:
            self._settled = asyncio.Event()
        await self._settled.wait()

    def settle(self) -> None:
        """Note that the outcome is stored, or will not be here."""
        if self._settled is not None:
            self._settled.set()

    async def run(self, start: Callable[[], Coroutine[Any, Any, Settlement | None]]) -> Settlement | None:
        """Return what a leaf's run gives, or CANCELLED if it was told to end before."""
        if self._told:
            self.writing = True
            return CANCELLED
        task = self._task = asyncio.current_task()
        settlement: Settlement | None = None
        try:
            if not self.doomed:
                settlement = await start()
            if self.doomed:
                await self._until_told()
        except asyncio.CancelledError:
            if not self._told or task is None or task.cancelling() > 1:
                raise  # the whole execution ends
        finally:
            self._task, self.writing = None, True
        if self._told and task is not None and task.cancelling():
            task.uncancel()
        return CANCELLED if self.doomed else settlement


class Cancellations:
    """What of one execution is to end early.

    `quiet` until anything is. `writing` are the inline steps whose outcome is on its way to the store, where
    it counts.
    """

    __slots__ = ("_asked", "_doomed", "_execution", "_records", "_stops", "quiet", "writing")

    def __init__(self, execution: Execution) -> None:
        self._execution = execution
        self.quiet = True
        self.writing: set[str] = set()
        self._asked: set[str] = set()
        self._doomed: set[str] = set()
        self._stops: dict[str, LeafStop] = {}
        self._records: dict[str, PromiseRecord] = {}

    async def load(self, records: Iterable[PromiseRecord]) -> None:
        """Learn from what is recorded which calls have ended early, and where workflows were cancelled."""
        canceled = []
        for record in records:
            self._asked.update(ended_by(record))
            name = (record.param.headers or {}).get(FUNCTION_HEADER)
            if name == calls.CANCELLED_NAME:
                self._records[record.id] = record
            elif name is not None and record.state is PromiseState.REJECTED_CANCELED:
                canceled.append(record.id)
        self.quiet = not (self._asked or self._records)
        for promise_id in canceled:
            if promise_id not in self._asked:
                await self._end_left_open(promise_id)

    async def _end_left_open(self, promise_id: str) -> None:
        """End what a local workflow called whose promise somebody settled as canceled while it was open.

        Nothing but that promise was reached, and nothing executes the workflow any more.
        """
        call = self._execution.writer.call_unfenced
        try:
            children = every_promise(call, tags={tag.PARENT: promise_id}, state=PromiseState.PENDING)
            left = [child async for child in children if child.tags.get(tag.DETACHED) != tag.TRUE]
        except Refused as refusal:
            if refusal.status not in NO_SEARCH:
                raise
            return
        for child in left:
            if c.EXTENSION_CANCEL in self._execution.around.extensions:
                await cancel(call, child.id)
                continue
            await call(c.PromiseSettle(id=child.id, state=PromiseState.REJECTED_CANCELED))
            await self._end_left_open(child.id)

    def leave(self) -> None:
        """Let go of an execution that has ended: what refers to itself is collected late."""
        del self._execution

    # -- single calls

    def end(self, future: DurableFuture[Any]) -> None:
        """Have an open call end; its future settles as rejected_canceled, or as the callee's clean-up has it.

        Returns at once, and does nothing to what has settled, or cannot be called off: a detached
        invocation, a promise that others settle, a timer. A repetition must ask again: whoever decides
        that a call ends, records that (`ending_value`) before.
        """
        if isinstance(future, Choice):
            self._ask(future.id)  # it may not have begun to decide
            if future.give_up is not None:
                future.give_up()
            return
        call = future.call
        if call is None or future.pending() is None or future.id in self._asked:
            return
        if not isinstance(call, StepCall) and (call.detached or tag.TARGET not in call.create.tags):
            return
        self._ask(future.id)
        branch = self._execution.branch(future.id)
        if branch is not None:
            self._execution.wake(branch)
        elif future.id in self._stops:
            self._stops[future.id].end()
        elif future.remote:
            self._execution.spawn(partial(self.end_remote, future, self._outlives_caller(call)))

    def _ask(self, promise_id: str) -> None:
        self._asked.add(promise_id)
        self.quiet = False

    def doom(self, futures: Iterable[DurableFuture[Any]]) -> None:
        """Let nothing that these calls give from now on be used: they are about to be ended, by a record."""
        self.quiet = False
        for future in futures:
            self._doomed.add(future.id)
            if isinstance(future, Choice):
                future.doomed = True
            stop = self._stops.get(future.id)
            if stop is not None and not stop.writing:
                stop.doomed = True

    async def written(self, futures: Iterable[DurableFuture[Any]]) -> None:
        """Wait until those of the calls have settled whose outcome is on its way to the store."""
        for future in list(futures):
            stop = self._stops.get(future.id)
            if stop is not None and stop.writing:
                await stop.until_settled()
            elif future.record is None and (
                future.id in self.writing or (isinstance(future, Choice) and future.over)
            ):
                settled = asyncio.Event()
                future.watch(settled.set)
                await settled.wait()

    def asked(self, promise_id: str) -> bool:
        """Tell whether a call is to end."""
        return promise_id in self._asked

    def leaf(self, promise_id: str) -> LeafStop:
        """Return how a leaf call that starts now is told to end; `forget` it afterwards."""
        stop = self._stops[promise_id] = LeafStop()
        stop.doomed = promise_id in self._doomed
        if promise_id in self._asked:
            stop.end()
        return stop

    def concerns(self, promise_id: str) -> bool:
        """Tell whether a call is to end, or nothing that it gives is to be used."""
        return promise_id in self._asked or promise_id in self._doomed

    def forget(self, promise_id: str) -> None:
        """Note that a leaf call has settled, or will not here."""
        stop = self._stops.pop(promise_id, None)
        if stop is not None:
            stop.settle()

    async def end_remote(self, future: DurableFuture[Any], outlives: bool = False) -> None:
        """Ask a called workflow to end; where the engine cannot pass that on, its promise is settled.

        With `outlives` its caller settles without it, once that is asked for durably: the workers of its
        group may be away.
        """
        await self._ask_durably(future.id)
        caller = self._execution.branch(future.call.create.tags.get(tag.PARENT, "")) if future.call else None
        if caller is not None and outlives:
            caller.let_go(future.id)
            self._execution.wake(caller)

    async def end_again(self, future: DurableFuture[Any]) -> None:
        """Repeat for a call that has been made again what is recorded: that it was asked to end."""
        if future.call is not None and self.asked(future.id):
            await self.end_remote(future, self._outlives_caller(future.call))

    def _outlives_caller(self, call: Call) -> bool:
        # A local workflow that lost a choice does not keep it waiting. Where the whole task is to end, its
        # tree ends from the leaves to the root.
        caller = self._execution.branch(call.create.tags.get(tag.PARENT, ""))
        return caller is not None and caller.future is not None and not self.asked(self._execution.promise.id)

    async def _ask_durably(self, promise_id: str) -> None:
        writer = self._execution.writer
        if c.EXTENSION_CANCEL not in self._execution.around.extensions:
            self._execution.observe(await writer.settle(promise_id, PromiseState.REJECTED_CANCELED, EMPTY))
            return
        try:
            self._execution.observe((await writer.call_unfenced(c.PromiseCancel(id=promise_id))).promise)
        except Refused as refusal:
            _log.warning("call not cancelled", promise_id=promise_id, reason=str(refusal))

    # -- workflows

    def ask_root(self) -> None:
        """Ask the function that the task stands for to end."""
        root = self._execution.promise.id
        if root in self._asked:
            return
        self._ask(root)
        branch = self._execution.branch(root)
        if branch is not None:
            self._execution.wake(branch)
        elif root in self._stops:
            self._stops[root].end()

    def met(self, branch: Branch) -> Raised | None:
        """Return Cancelled if it is recorded for the await at which a workflow stands."""
        if not self._records or branch.cancelled:
            return None
        number = branch.following
        record = self._records.get(branch.caller.child(number))
        if record is None or (record.param.headers or {}).get(calls.AWAIT_HEADER) != str(branch.awaits):
            return None
        branch.cancelled = True
        self._execution.guard.note(branch.caller.child(branch.next_number()))
        self.end_children(branch)
        return Raised(Cancelled(f"{branch.caller.id} was cancelled"))

    def end_children(self, branch: Branch) -> None:
        """End what a workflow has called and does not outlive."""
        for future in list(branch.held.values()):
            self.end(future)

    def wanted(self, branch: Branch) -> bool:
        """Tell whether a workflow is to be cancelled, and has not been."""
        return branch.caller.id in self._asked and not branch.cancelled

    def overtakes(self, branch: Branch, awaited: Durable[Any]) -> bool:
        """Tell whether Cancelled is raised rather than what an await gives.

        Where a whole tree is cancelled, the end of a child may be seen before the request itself.
        """
        if not self.wanted(branch) or not self._execution.guard.at_frontier(branch.caller.id):
            return False
        if awaited.pending() is not None:
            return False
        outcome = awaited.outcome()
        return isinstance(outcome, Raised) and isinstance(outcome.error, PromiseCanceled)

    def begin(self, branch: Branch) -> None:
        """Record that a workflow is cancelled where it stands; it goes on when that is stored.

        Not while it repeats what is recorded: it went on from here once, so that what it waits for settles. A
        quick step may settle before, and the workflow then goes on to its next await. At some of its awaits,
        which are the same in every repetition, what it has called does not begin: a loop of quick steps ends.
        """
        if not branch.recording and self._execution.guard.at_frontier(branch.caller.id):
            branch.recording = True
            if branch.awaits % FIRM_EVERY == 0:
                self.doom(branch.held.values())
            self._execution.spawn(partial(self._record, branch))

    async def _record(self, branch: Branch) -> None:
        execution, awaited = self._execution, branch.awaited
        try:
            # What is remote is known only once its creation has been answered.
            await branch.creations_written()
            await self.written(branch.held.values())
            if awaited is None or (awaited.pending() is None and not self.overtakes(branch, awaited)):
                return  # what it waited for has come first
            ends = list(branch.held.values())
            self.doom(ends)
            call = calls.cancellation(branch.caller, branch.following, branch.awaits)
            value = ending_value(future.id for future in ends)
            begun_ms = execution.around.clock.now_ms()
            record = await execution.writer.record(call.create, PromiseState.RESOLVED, value, begun_ms)
            self._records[record.id] = record
            self.quiet = False
            execution.observe(record)
        finally:
            branch.recording = False
            execution.wake(branch)
