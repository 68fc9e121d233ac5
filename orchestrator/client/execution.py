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
from typing import Any, TypeVar

import structlog

from orchestrator.client import inline_steps, performing, steps
from orchestrator.client.branch import Branch
from orchestrator.client.calls import Call
from orchestrator.client.cancellation import Cancellations
from orchestrator.client.continuing import Continuations
from orchestrator.client.driver import Finished, refusal_of
from orchestrator.client.future import Durable, DurableFuture, Outcome, Raised
from orchestrator.client.guard import NOTHING_RECORDED, ReplayGuard
from orchestrator.client.invocation import read_invocation
from orchestrator.client.jobs import Jobs
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
T = TypeVar("T")
Job = Callable[["Execution", T], Coroutine[Any, Any, None]]
"""What an execution does beside the stepping about one thing: a call, or a branch that has ended."""
_log = structlog.get_logger(__name__)


class Execution:
    """One task, from its claim to its verdict. Runs within the loop of its worker."""

    def __init__(self, around: Surroundings, lease: Lease, claim: c.TaskClaim) -> None:
        self.around = around
        self.writer = FencedWriter(around.transport, lease, around.extensions)
        self.promise = claim.promise
        self.records = {record.id: record for record in claim.preload} if claim.preload else {}
        self.origin = claim.promise.tags.get(tag.ORIGIN) or origin_of(claim.promise.id)
        self.committing: set[str] = set()
        self.cancellations = Cancellations(self)
        self.guard = ReplayGuard(self.records) if self.records else NOTHING_RECORDED
        self.continuations = Continuations(self.records)
        self.rested_on: list[str] = []
        self.resting = self.disturbed = False
        self._claim: c.TaskClaim | None = None
        self._remembers = c.EXTENSION_BARE_CLAIM in around.extensions
        self._preload_cut = len(claim.preload) >= PRELOAD_PAGE
        self._futures: dict[str, DurableFuture[Any]] = {}
        self._branches: dict[str, Branch] = {}
        self._ready: deque[Branch] = deque()
        self._starting: list[tuple[Job[Any], PendingCall[Any]]] = []
        self._own: tuple[Job[Any], Any] | None = None
        self._group: asyncio.TaskGroup | None = None
        # Made for the first job: most executions have none.
        self._jobs: Jobs | None = None
        self._asleep: asyncio.Future[None] | None = None
        self._verdict: Verdict | None = None

    async def run(self, group: asyncio.TaskGroup) -> Verdict:
        """Execute until the promise is settled, nothing can go on, or the task must be given back.

        Jobs run in `group`, and have ended when this returns. To be cancelled when the lease is lost.
        """
        self._group = group
        try:
            await (self._begin() if self._claim is None else go_on(self, self._claim))
            self.writer.lease.on_cancel(self.cancellations.ask_root)
            await self._loop()
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self.end_with(error)
        finally:
            verdict = self._verdict = self._verdict or Verdict(ending=Ending.LOST)
            jobs, self._jobs = self._jobs, None
            if jobs is not None:
                jobs.cancel()
            if verdict.ending is not Ending.SUSPENDED:
                self.close()
            if jobs is not None:
                await jobs.ended()
        if verdict.ending is not Ending.SUSPENDED:
            self.cancellations.leave()
        if verdict.fault is not None and not isinstance(verdict.fault, (Exception, Abandoned)):
            raise verdict.fault
        return verdict

    def resume(self, lease: Lease, claim: c.TaskClaim) -> None:
        """Prepare to `run` again what was suspended, under the next version of its task."""
        self.writer = FencedWriter(self.around.transport, lease, self.around.extensions)
        self.promise, self._claim, self._verdict = claim.promise, claim, None
        self.resting = False

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
        if self.records:
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
                job, what = self._own
                await job(self, what)
                self._own = None
            elif self._jobs:
                await self._sleep()
            else:
                await rest(self)

    async def _sleep(self) -> None:
        """Wait for a job to end, or for a branch that may go on."""
        self._asleep = asyncio.get_running_loop().create_future()
        try:
            await self._asleep
        finally:
            self._asleep = None

    def rouse(self) -> None:
        """Have the loop look again."""
        if self._asleep is not None and not self._asleep.done():
            self._asleep.set_result(None)

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
            awaited = branch.driver.step(branch.resumption)
            if self._starting:
                self._start_jobs()
            if self._verdict is not None:
                return
            if isinstance(awaited, Finished):
                branch.outcome = awaited.outcome
                self._settle_when_alone(branch, awaited.outcome)
                return
            branch.awaits += 1
            branch.awaited = awaited
            if not self._resumes(branch, awaited):
                return
            branch.awaited = None
        self._ready.append(branch)

    def _resumes(self, branch: Branch, awaited: Durable[Any]) -> bool:
        """Set what a branch goes on with, or return False if it has to wait."""
        if branch.recording:
            return False
        cancellations = self.cancellations
        resumption: Outcome | None = None if cancellations.quiet else cancellations.met(branch)
        if resumption is None:
            pending = awaited.pending()
            blocked = pending is not None and pending.owner is self
            if blocked and pending is not None:
                pending.wake(branch)
            if not cancellations.quiet and (blocked or cancellations.overtakes(branch, awaited)):
                if cancellations.wanted(branch):
                    cancellations.begin(branch)
                return False
            if blocked:
                return False
            resumption = awaited.outcome() if pending is None else refusal_of(pending)
        branch.resumption = resumption
        return True

    def wake(self, branch: Branch) -> None:
        """Look at a branch again soon."""
        self._ready.append(branch)
        self.rouse()

    def _settle_when_alone(self, branch: Branch, outcome: Outcome) -> None:
        child = branch.waits_for()
        if child is not None:
            child.wake(branch)
            if self.cancellations.wanted(branch):
                self.cancellations.end_children(branch)
        elif not branch.settling:
            branch.settling = True
            self._carry_out(performing.settle_branch, branch)

    # -- what contexts and jobs use

    def is_busy(self) -> bool:
        """Tell whether something is under way beside which workflows wait."""
        return self._verdict is None and bool(self._jobs or self._own)

    def watch_remote(self) -> None:
        """Have remote outcomes listened for where something else keeps this from being suspended on them."""
        if self._verdict is None:
            self._made_jobs().watch_remote()

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
        job: Job[PendingCall[CallT]],
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
        if self.guard.recorded:
            self.guard.note(promise_id, call.label)
        branch.called[promise_id] = None
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
            future.among = branch.held
            branch.held[promise_id] = future
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
        future = self._futures.pop(record.id, None)
        if future is None or not self._remembers:
            self.records[record.id] = record
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
        self.rouse()

    def end_with(self, error: BaseException) -> None:
        """End the execution for something that is not the workflow's doing."""
        lost = isinstance(error, Abandoned) and self.writer.lease.lost
        self.end(Verdict(ending=Ending.LOST if lost else Ending.RELEASED, fault=error))

    def spawn(self, job: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a job within this execution, unless that has ended; what it raises ends the execution."""
        self.disturbed |= self.resting
        if self._verdict is None:
            self._made_jobs().start(job)

    def _made_jobs(self) -> Jobs:
        if self._jobs is None:
            if self._group is None:
                raise RuntimeError(f"{self.promise.id} does not execute yet")
            self._jobs = Jobs(self, self._group)
        return self._jobs

    def _start_jobs(self) -> None:
        if len(self._starting) == 1 and not self._jobs and inline_steps.fits(self, self._starting[0][1]):
            self._carry_out(inline_steps.run, self._starting.pop()[1])
            return
        starting, self._starting = self._starting, []
        for job, pending in starting:
            self.spawn(partial(job, self, pending))

    def _carry_out(self, job: Job[T], what: T) -> None:
        """Have the loop itself do a short job if it has nothing else to do: that costs less than a task."""
        if self._jobs or self._own is not None:
            self.spawn(partial(job, self, what))
        else:
            self._own = job, what

    async def listen(self, promise_id: str) -> None:
        """Wait for a promise beside the stepping, without suspending."""
        self.observe(await self.around.subscriptions.wait(promise_id))

    def hold_remote(self, promise_id: str) -> None:
        """Listen for an awaited promise as a job, which keeps the task."""
        self._futures[promise_id].remote = False
        self.spawn(partial(self.listen, promise_id))
