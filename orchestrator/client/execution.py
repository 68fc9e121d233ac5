"""One execution of a task: replays what is recorded, runs what is not, and ends settled or suspended.

Invariants: W1 a step that has settled is never executed again. W2 replay sees the recorded outcome.
W3 a workflow's record does not depend on where or how often it was interrupted. What is not the workflow's
doing (a lost lease, a server that is away, code that differs from the record) never settles it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any

import structlog

from orchestrator.client import inline_steps, performing, steps
from orchestrator.client.branch import Branch
from orchestrator.client.calls import Call
from orchestrator.client.cancellation import Cancellations
from orchestrator.client.continuing import Continuations
from orchestrator.client.driver import Finished, resumption_of
from orchestrator.client.future import Durable, DurableFuture, Outcome, Raised
from orchestrator.client.guard import ReplayGuard
from orchestrator.client.invocation import read_invocation
from orchestrator.client.lease import Lease
from orchestrator.client.opening import new_branch
from orchestrator.client.pending import CallT, PendingCall
from orchestrator.client.registry import FunctionKind, RegisteredFunction
from orchestrator.client.resting import go_on, rest
from orchestrator.client.surroundings import Surroundings
from orchestrator.client.verdict import Ending, Verdict
from orchestrator.client.writing import FencedWriter
from orchestrator.commitments.errors import CommitmentError
from orchestrator.domain import tags as tag
from orchestrator.domain.errors import Abandoned, NondeterminismError
from orchestrator.domain.ids import origin_of
from orchestrator.protocol import commands as c
from orchestrator.protocol.records import PromiseRecord

BURST_STEPS = 200
"""Steps of replay after which other executions get a turn."""
PRELOAD_PAGE = 1_000
LISTEN_AFTER_S = 0.1
"""After this long beside a local step, remote outcomes are listened for instead of being suspended on."""
_log = structlog.get_logger(__name__)


class Execution:
    """One task, from its claim to its verdict. Runs within the loop of its worker."""

    def __init__(self, around: Surroundings, lease: Lease, claim: c.TaskClaim) -> None:
        self.around = around
        self.writer = FencedWriter(around.transport, lease, around.extensions)
        self.promise = claim.promise
        self.records = {record.id: record for record in claim.preload}
        self.origin = claim.promise.tags.get(tag.ORIGIN) or origin_of(claim.promise.id)
        self.committing: set[str] = set()
        self.cancellations = Cancellations(self)
        self.guard = ReplayGuard(self.records)
        self.continuations = Continuations(self.records)
        self.rested_on: list[str] = []
        self.resting = self.disturbed = False
        self._claim: c.TaskClaim | None = None
        self._remembers = c.EXTENSION_BARE_CLAIM in around.extensions
        self._preload_cut = len(claim.preload) >= PRELOAD_PAGE
        self._futures: dict[str, DurableFuture[Any]] = {}
        self._branches: dict[str, Branch] = {}
        self._ready: deque[Branch] = deque()
        self._starting: list[tuple[Callable[[Any], Coroutine[Any, Any, None]], PendingCall[Any]]] = []
        self._own: Callable[[], Coroutine[Any, Any, None]] | None = None
        self._jobs: set[asyncio.Task[None]] = set()
        self._listening: set[asyncio.Task[None]] = set()
        self._listened: set[str] = set()
        self._watch: asyncio.TimerHandle | None = None
        self._wake = asyncio.Event()
        self._verdict: Verdict | None = None
        self._group = asyncio.TaskGroup()
        self._running = asyncio.get_running_loop()

    async def run(self) -> Verdict:
        """Execute until the promise is settled, nothing can go on, or the task must be given back.

        To be cancelled when the lease is lost.
        """
        async with self._group:
            try:
                await (self._begin() if self._claim is None else go_on(self, self._claim))
                self.writer.lease.on_cancel(self.cancellations.ask_root)
                await self._loop()
            except asyncio.CancelledError:
                raise
            except BaseException as error:
                self.end_with(error)
            finally:
                if self._verdict is None:
                    self._verdict = Verdict(ending=Ending.LOST)
                if self._watch is not None:
                    self._watch.cancel()
                for job in (*self._jobs, *self._listening):
                    job.cancel()
                if self._verdict.ending is not Ending.SUSPENDED:
                    self.close()
        if self._verdict is None:
            raise RuntimeError(f"{self.promise.id}: the execution ended without a verdict")
        if self._verdict.ending is not Ending.SUSPENDED:
            self.cancellations.leave()
        if self._verdict.fault is not None and not isinstance(self._verdict.fault, (Exception, Abandoned)):
            raise self._verdict.fault
        return self._verdict

    def resume(self, lease: Lease, claim: c.TaskClaim) -> None:
        """Prepare to `run` again what was suspended, under the next version of its task."""
        self.writer = FencedWriter(self.around.transport, lease, self.around.extensions)
        self.promise, self._claim, self._verdict = claim.promise, claim, None
        self._group, self._watch, self.resting = asyncio.TaskGroup(), None, False
        self._listened, self._listening = set(), set()

    def close(self) -> None:
        """Let go of the bodies of a suspended execution, which cannot be resumed afterwards."""
        for branch in (each for each in self._branches.values() if each.outcome is None):
            try:
                branch.driver.close()
            except Abandoned:
                continue  # its clean-up asked for something durable, which another execution does
            except BaseException as error:
                _log.warning("workflow resisted its end", promise_id=branch.caller.id, reason=repr(error))

    # -- the loop

    async def _begin(self) -> None:
        if not self.promise.pending:
            self._verdict = Verdict(ending=Ending.SETTLED, record=self.promise)
            return
        invocation = read_invocation(self.promise)
        function = self.around.registry.named(invocation.function, invocation.version)
        try:
            args, kwargs = function.decode_arguments(invocation.args, invocation.kwargs)
            steps.bind(function, args, kwargs)
        except (TypeError, CommitmentError) as error:
            await performing.fulfil(self, steps.settlement(self.promise.id, function, None, Raised(error)))
            return
        if self._preload_cut:
            await performing.load_rest(self)
        self.continuations.load()
        self.guard.load()
        await self.cancellations.load(self.records.values())
        if function.kind is FunctionKind.WORKFLOW:
            self.open(self.promise, function, args, kwargs, None)
        else:
            self.spawn(partial(performing.run_root_leaf, self, function, args, kwargs))

    async def _loop(self) -> None:
        while self._verdict is None:
            if self._ready:
                self._advance(self._ready.popleft())
                if self._ready:
                    await asyncio.sleep(0)
            elif self._own is not None:
                await self._own()
                self._own = None
            elif self._jobs:
                self._wake.clear()
                await self._wake.wait()
            else:
                await rest(self)

    def watch_remote(self) -> None:
        """Look, a little later, whether remote outcomes have to be listened for beside a running step."""
        if self._watch is None:
            self._watch = self._running.call_later(LISTEN_AFTER_S, self._listen_if_busy)

    def _listen_if_busy(self) -> None:
        self._watch = None
        if self._verdict is not None or not (self._jobs or self._own):
            return
        for promise_id in self.awaited_ids():
            if promise_id not in self._listened:
                self._listened.add(promise_id)
                self._listening.add(self._group.create_task(self._guarded(partial(self.listen, promise_id))))
        self.watch_remote()

    def _advance(self, branch: Branch) -> None:
        """Step a branch until it has to wait, ends, or has had its turn."""
        if branch.outcome is not None:
            self._settle_when_alone(branch, branch.outcome)
            return
        if branch.awaited is not None:
            if not self._resumes(branch, branch.awaited):
                return
            branch.awaited = None
        for _ in range(BURST_STEPS):
            result = branch.driver.step(branch.resumption)
            if self._starting:
                self._start_jobs()
            if self._verdict is not None:
                return
            if isinstance(result, Finished):
                branch.outcome = result.outcome
                self._settle_when_alone(branch, result.outcome)
                return
            branch.awaits += 1
            branch.awaited = result.awaited
            if not self._resumes(branch, result.awaited):
                return
            branch.awaited = None
        self._ready.append(branch)

    def _resumes(self, branch: Branch, awaited: Durable[Any]) -> bool:
        """Set what a branch goes on with, or return False if it has to wait."""
        if branch.recording:
            return False
        resumption = self.cancellations.met(branch)
        if resumption is None:
            blocked = self._block(branch, awaited)
            if blocked or self.cancellations.overtakes(branch, awaited):
                if self.cancellations.wanted(branch):
                    self.cancellations.begin(branch)
                return False
        branch.resumption = resumption or resumption_of(awaited)
        return True

    def _block(self, branch: Branch, awaited: Durable[Any]) -> bool:
        """Have the branch woken when what it awaits goes on; return False if it need not wait."""
        pending = awaited.pending()
        if pending is None or pending.owner is not self:
            return False
        pending.watch(lambda: self.wake(branch))
        return True

    def wake(self, branch: Branch) -> None:
        """Look at a branch again soon."""
        self._ready.append(branch)
        self._wake.set()

    def _settle_when_alone(self, branch: Branch, outcome: Outcome) -> None:
        child = branch.waits_for()
        if child is not None:
            child.watch(lambda: self.wake(branch))
            if self.cancellations.wanted(branch):
                self.cancellations.end_children(branch)
        elif not branch.settling:
            branch.settling = True
            self._carry_out(partial(performing.settle_branch, self, branch, outcome))

    # -- what contexts and jobs use

    def is_open(self, promise_id: str) -> bool:
        """Tell whether a call has been made and has not settled."""
        return promise_id in self._futures

    def awaited_ids(self) -> list[str]:
        """Return the remote promises without which some branch cannot go on, each once."""
        futures = (branch.waits_for() for branch in self._branches.values())
        sources = (source for future in futures if future is not None for source in future.sources())
        return list(dict.fromkeys(source.id for source in sources if source.remote))

    def begin(
        self,
        branch: Branch,
        call: CallT,
        job: Callable[[PendingCall[CallT]], Coroutine[Any, Any, None]],
        *,
        held: bool = True,
        future: DurableFuture[Any] | None = None,
    ) -> DurableFuture[Any]:
        """Start a call, or return its recorded outcome. Raises Abandoned if the record says otherwise.

        `future` is what is to be settled with it, if it is not an ordinary one.
        """
        if self._verdict is not None:
            raise Abandoned(f"{self.promise.id} does not execute any more")
        promise_id = call.id
        self.guard.note(promise_id, call.label)
        self.continuations.note(branch.caller.id, promise_id)
        record = self.records.get(promise_id)
        if record is not None:
            self.compare(call, record)
            if self._remembers and not call.outside:
                # Its future has it; what is kept while suspended should be small.
                del self.records[promise_id]
        if (known := self._futures.get(promise_id)) is not None:
            return known
        if future is None:
            future = DurableFuture(promise_id, call.declared, self)
        future.call, future.bound = call, not (call.outside or call.detached)
        if record is not None and not record.pending and future.may_settle(record):
            future.settle(record)
            return future
        self._futures[promise_id] = future
        if held:
            branch.hold(future)
        elif tag.TIMER in call.create.tags:
            branch.start_timer(future)
        self._starting.append((job, PendingCall(branch=branch, call=call, record=record, future=future)))
        return future

    def compare(self, call: Call, record: PromiseRecord) -> None:
        """End the execution if a call is not the one that was recorded in its place."""
        self.report(self.guard.difference(call, record))

    def check_all_asked(self, workflow_id: str) -> None:
        """End the execution if a workflow that has ended did not make a call which it once had made."""
        self.report(self.guard.omission(workflow_id))

    def report(self, fault: NondeterminismError | None) -> None:
        """End the execution for a fault, if there is one: its code does not repeat the record."""
        if fault is not None:
            self.end_with(fault)
            raise Abandoned(str(fault)) from fault

    def observe(self, record: PromiseRecord, written: steps.Settlement | None = None) -> None:
        """Take what the store says of a promise (`written` as it was); a settled one wakes who waits."""
        if record.pending:
            return
        if not (self._remembers and self.is_open(record.id)):
            self.records[record.id] = record
        future = self._futures.pop(record.id, None)
        if future is not None:
            future.settle(record, None if written is None else written.outcome_if(record))

    def open(
        self,
        record: PromiseRecord,
        function: RegisteredFunction,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        future: DurableFuture[Any] | None,
    ) -> None:
        """Start stepping a workflow whose promise exists."""
        branch = new_branch(self, record, function, args, kwargs, future=future)
        self._branches[record.id] = branch
        self.wake(branch)

    def closed(self, branch: Branch) -> None:
        """Forget a branch that has settled."""
        self._branches.pop(branch.caller.id, None)

    def branch(self, promise_id: str) -> Branch | None:
        """Return a workflow that this execution steps and that has not settled."""
        return self._branches.get(promise_id)

    def open_workflows(self) -> list[str]:
        """Return the workflows that this execution steps and that have not settled."""
        return list(self._branches)

    def end(self, verdict: Verdict) -> None:
        """End the execution; the first verdict counts."""
        if self._verdict is None:
            self._verdict = verdict
        self._wake.set()

    def end_with(self, error: BaseException) -> None:
        """End the execution for something that is not the workflow's doing."""
        lost = isinstance(error, Abandoned) and self.writer.lease.lost.is_set()
        self.end(Verdict(ending=Ending.LOST if lost else Ending.RELEASED, fault=error))

    def spawn(self, job: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a job within this execution, unless that has ended; what it raises ends the execution."""
        self.disturbed |= self.resting
        if self._verdict is None:
            task = self._group.create_task(self._guarded(job))
            self._jobs.add(task)
            task.add_done_callback(self._jobs.discard)

    async def _guarded(self, job: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await job()
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self.end_with(error)
        finally:
            # The task counts until it is done, which is after this: the loop looks again then.
            self._running.call_soon(self._wake.set)

    def _start_jobs(self) -> None:
        starting, self._starting = self._starting, []
        for job, pending in starting:
            if len(starting) == 1 and not self._jobs and inline_steps.fits(self, pending):
                self._carry_out(partial(inline_steps.run, self, pending))
            else:
                self.spawn(partial(job, pending))

    def _carry_out(self, job: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Have the loop itself do a short job if it has nothing else to do: that costs less than a task."""
        if self._jobs or self._own is not None:
            self.spawn(job)
        else:
            self._own = job

    async def listen(self, promise_id: str) -> None:
        """Wait for a promise beside the stepping, without suspending."""
        self.observe(await self.around.subscriptions.wait(promise_id))

    def hold_remote(self, promise_id: str) -> None:
        """Listen for an awaited promise as a job, which keeps the task."""
        self._futures[promise_id].remote = False
        self.spawn(partial(self.listen, promise_id))
