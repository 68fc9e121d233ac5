"""The worker: claims tasks of its group, executes them, keeps their leases, and lets go in time.

Invariants: T1 one acquired lease a task and version at a time. T2 a stale version writes nothing: an
execution is stopped before its unrenewed lease ends. Messages are hints: what is not taken now, the engine
announces again.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass

import structlog

from orchestrator.client.execution import Execution
from orchestrator.client.lease import Lease
from orchestrator.client.surroundings import Surroundings
from orchestrator.client.verdict import Ending, Verdict
from orchestrator.domain.errors import Abandoned, NotRegistered, OrchestratorError, Refused, Unavailable
from orchestrator.protocol import commands as c
from orchestrator.protocol.messages import Cancel, Message, Unblock
from orchestrator.protocol.records import TaskState
from orchestrator.worker.kept import Kept, needs_no_preload
from orchestrator.worker.running import Running
from orchestrator.worker.stalls import StallWatch

HINTS_MAX = 10_000
"""Announced tasks that wait for room here; more are left to the engine's next announcement."""
CLAIM_PAUSE_S = 0.5
"""How long a claim waits before it is tried again when the server is away."""
LEASE_MARGIN = 0.1
"""The share of a lease's time before its end at which an unrenewed execution is stopped."""
RENEW_EVERY, RENEW_AGAIN = 1 / 3, 1 / 20
"""The shares of a lease's time after which it is renewed, and tried again where that failed."""
RENEWAL_S_MIN = 1.0
"""An answer to a renewal is waited for as long at least, however short the leases are."""
KEPT_MAX = 256
"""Suspended workflows in memory, unless an application says otherwise."""
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """`ttl_ms` is the lease, renewed at a third of it; `grace_s` what a stop leaves to running executions.

    `kept_max` suspended workflows stay in memory.
    """

    ttl_ms: int = 10_000
    concurrency: int = 64
    grace_s: float = 5.0
    kept_max: int = KEPT_MAX


class Worker:
    """Executes tasks in this process, at most `concurrency` at once."""

    def __init__(self, around: Surroundings, settings: WorkerSettings) -> None:
        self._around = around
        self._settings = settings
        self._hints: OrderedDict[str, int] = OrderedDict()
        self._running: dict[str, Running] = {}
        self._kept = Kept(settings.kept_max)
        self._reserved = 0
        self._hinted = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._busy = asyncio.Event()
        self._draining = False
        self._alarm: asyncio.TimerHandle | None = None
        self._group: asyncio.TaskGroup | None = None
        self._stalls: StallWatch | None = None

    # -- what the application and the connection call

    def reserve(self) -> bool:
        """Keep room for one task until `unreserve`; return False if there is none."""
        if self._draining or len(self._running) + self._reserved >= self._settings.concurrency:
            return False
        self._reserved += 1
        return True

    def unreserve(self) -> None:
        """Give reserved room back, or leave it to the task that was taken meanwhile."""
        self._reserved -= 1
        if self._hints:
            self._hinted.set()

    def receive(self, message: Message) -> None:
        """Take a message of the engine; never blocks."""
        if isinstance(message, Unblock):
            self._around.subscriptions.observe(message.promise)
            return
        if isinstance(message, Cancel):
            self._cancel(message.task)
            return
        if self._draining or len(self._hints) >= HINTS_MAX:
            return
        self._hints[message.task.id] = message.task.version
        self._hinted.set()

    def _cancel(self, task: c.TaskReference) -> None:
        running = self._running.get(task.id)
        if running is not None and running.lease.version == task.version:
            running.lease.cancel()

    def take(self, claim: c.TaskClaim, claimed_at: float, kept: Execution | None = None) -> None:
        """Execute a claimed task; `claimed_at` is the loop's time before the claim was sent.

        `kept` is what was in memory of it.
        """
        if self._group is None:
            raise RuntimeError("the worker is not running")
        lease = Lease(claim.task.id, claim.task.version, self._settings.ttl_ms / 1000, claimed_at)
        if self._draining:
            # Claimed just before the stop: somebody else is to have it at once.
            if kept is not None:
                kept.close()
            self._release_at_once(self._group, lease)
            return
        if claim.task.cancelled:
            lease.cancel()
        known = self._running.pop(lease.task_id, None)
        if known is not None:
            known.lease.lose("it was claimed here anew")
        if not self._running:
            self._idle.clear()
            self._busy.set()
            if self._stalls is not None:
                self._stalls.wake()
        running = self._running[lease.task_id] = Running(lease)
        self._guard(running)
        self._around.subscriptions.entered(lease.task_id)
        execution = kept if kept is not None else Execution(self._around, lease, claim)
        if kept is not None:
            kept.resume(lease, claim)
        else:
            self._kept.drop(lease.task_id)
        self._group.create_task(self._execute(running, execution, self._group))

    # -- its life

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until `stopping` is set, then let running executions finish within the grace period."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            lease_s = self._settings.ttl_ms / 1000
            self._stalls = StallWatch(self._around.attempts, lambda: bool(self._running), lease_s)
            loops = [group.create_task(self._claim_forever(group)), group.create_task(self._renew_forever())]
            try:
                await stopping.wait()
                await self._drain()
            finally:
                self._draining = True
                self._kept.clear()
                self._stalls.close()
                if self._alarm is not None:
                    self._alarm.cancel()
                for one in loops:
                    one.cancel()

    async def _drain(self) -> None:
        self._draining = True
        self._hints.clear()
        try:
            await asyncio.wait_for(self._idle.wait(), self._settings.grace_s)
        except TimeoutError:
            _log.info("releasing unfinished tasks", count=len(self._running))
            for running in list(self._running.values()):
                running.stop()

    # -- claiming

    async def _claim_forever(self, group: asyncio.TaskGroup) -> None:
        while True:
            await self._hinted.wait()
            while self._hints and self.reserve():
                task_id, version = self._hints.popitem(last=False)
                known = self._running.get(task_id)
                if known is not None and known.lease.version > version:
                    self.unreserve()
                    continue
                group.create_task(self._claim(task_id, version))
            self._hinted.clear()

    async def _claim(self, task_id: str, version: int) -> None:
        claimed_at = asyncio.get_running_loop().time()
        kept = self._kept.take(task_id, version)
        command = c.TaskAcquire(
            id=task_id,
            version=version,
            pid=self._around.pid,
            ttl=self._settings.ttl_ms,
            bare=needs_no_preload(kept) and c.EXTENSION_BARE_CLAIM in self._around.extensions,
        )
        try:
            claim = await self._around.transport.call(command)
        except Refused as refusal:
            if refusal.status not in (404, 409):
                _log.warning("task not acquired", promise_id=task_id, reason=str(refusal))
        except Unavailable as error:
            # Its announcement has been delivered, so the engine would repeat it only after half a minute.
            if not error.told:
                _log.info("task not acquired yet", promise_id=task_id, reason=str(error))
            await asyncio.sleep(CLAIM_PAUSE_S)
            if not self._draining:
                self._hints.setdefault(task_id, version)
        else:
            # A timer has nothing to execute; its lease ends by itself, or with its deadline.
            if claim.task.state is TaskState.ACQUIRED and not claim.promise.is_timer:
                self.take(claim, claimed_at, kept)
                kept = None
        finally:
            if kept is not None:
                self._keep(kept)
            self.unreserve()

    # -- executing

    async def _execute(self, running: Running, execution: Execution, group: asyncio.TaskGroup) -> None:
        lease, observers, promise = running.lease, self._around.execution_observers, execution.promise
        for observer in observers:
            observer.on_execution_started(promise, lease.version)
        try:
            verdict = await running.carry_out(execution, group)
            if verdict.ending is Ending.SUSPENDED:
                self._keep(execution)
            for observer in observers:
                observer.on_execution_ended(promise, lease.version, verdict)
            await self._conclude(running, verdict)
        finally:
            lease.close()
            if self._running.get(lease.task_id) is running:
                del self._running[lease.task_id]
            if not self._running:
                self._idle.set()
                self._busy.clear()
            if self._hints:
                self._hinted.set()
        subscriptions = self._around.subscriptions
        if lease.task_id not in self._running and subscriptions.left(lease.task_id):
            await subscriptions.listen(lease.task_id)

    def _keep(self, execution: Execution) -> None:
        if self._draining or execution.disturbed:
            execution.close()
        else:
            self._kept.keep(execution)

    async def _conclude(self, running: Running, verdict: Verdict) -> None:
        lease = running.lease
        if verdict.record is not None:
            self._around.subscriptions.observe(verdict.record)
        if verdict.ending in (Ending.SETTLED, Ending.SUSPENDED):
            return
        fault = verdict.fault
        if fault is not None and not isinstance(fault, Abandoned):
            _log.error(
                "execution given up", promise_id=lease.task_id, task_version=lease.version, reason=str(fault)
            )
        if not lease.lost:
            await self._release(lease)
        if isinstance(fault, Exception) and not isinstance(fault, (NotRegistered, Unavailable)):
            self._around.subscriptions.fail(lease.task_id, fault)

    def _release_at_once(self, group: asyncio.TaskGroup, lease: Lease) -> None:
        releasing = self._release(lease)
        try:
            group.create_task(releasing)
        except RuntimeError:
            # The worker has ended while the claim was on its way: this lease ends by itself.
            releasing.close()

    async def _release(self, lease: Lease) -> None:
        try:
            await self._around.transport.call(c.TaskRelease(id=lease.task_id, version=lease.version))
        except OrchestratorError as error:
            _log.info("task not released, its lease will end", promise_id=lease.task_id, reason=str(error))

    # -- leases

    def _guard(self, running: Running) -> None:
        """Have an execution stopped shortly before its lease ends unrenewed, or at once when it is lost."""
        lease, loop = running.lease, asyncio.get_running_loop()
        # Later in the same turn: what loses a lease may be a part of what is stopped.
        lease.on_lost(lambda: loop.call_soon(self._stop, running))
        self._alarm_at(_last_moment(lease))

    def _alarm_at(self, moment: float) -> None:
        """Look at all leases at a moment: one timer serves them all."""
        if self._alarm is not None:
            if self._alarm.when() <= moment:
                return
            self._alarm.cancel()
        self._alarm = asyncio.get_running_loop().call_at(moment, self._look)

    def _look(self) -> None:
        self._alarm = None
        for running in list(self._running.values()):
            moment = _last_moment(running.lease)
            if moment > asyncio.get_running_loop().time():
                self._alarm_at(moment)
            else:
                running.lease.lose("it was not renewed in time")

    def _stop(self, running: Running) -> None:
        if running.task is not None:
            lease = running.lease
            _log.warning(
                "lease lost", promise_id=lease.task_id, task_version=lease.version, reason=lease.reason
            )
            self._tell_of_stall(lease)
            running.stop()

    def _tell_of_stall(self, lease: Lease) -> None:
        """Say which function took the lease away by not letting the loop renew it: it may do so each time."""
        stall = self._stalls.within(lease.ttl_s) if self._stalls is not None else None
        if stall is not None and stall.seconds >= lease.ttl_s / 3:
            _log.error(
                "lease lost to a blocked loop",
                promise_id=lease.task_id,
                task_version=lease.version,
                function=stall.function,
                blocked_by=stall.promise_id,
                seconds=round(stall.seconds, 1),
                lease_s=lease.ttl_s,
                where=stall.where,
                advice="what runs longer than the lease begins again and again: register it with "
                'executor="thread" or "process", or give the worker a longer ttl_ms',
            )

    async def _renew_forever(self) -> None:
        lease_s, renewed = self._settings.ttl_ms / 1000, True
        while True:
            # An idle worker has no timer: nothing wakes it but work.
            await self._busy.wait()
            await asyncio.sleep(lease_s * (RENEW_EVERY if renewed else RENEW_AGAIN))
            if self._running:
                renewed = await self._renew({name: one.lease for name, one in self._running.items()})

    async def _renew(self, leases: dict[str, Lease]) -> bool:
        """Renew leases; False where the engine did not answer in time, as on a connection that hangs."""
        limit_s = max(self._settings.ttl_ms / 1000 * RENEW_EVERY, RENEWAL_S_MIN)
        sent_at = asyncio.get_running_loop().time()
        tasks = [c.TaskReference(id=lease.task_id, version=lease.version) for lease in leases.values()]
        # The published protocol wants one origin a batch; an engine with extensions takes all at once.
        batches = [tasks] if self._around.extensions else [[task] for task in tasks]
        try:
            for batch in batches:
                async with asyncio.timeout(limit_s):
                    answer = await self._around.transport.call(
                        c.TaskHeartbeat(pid=self._around.pid, tasks=batch)
                    )
                for task in batch:
                    if task.id not in answer.lost:
                        leases[task.id].renew(sent_at)
                    elif not leases[task.id].leaving:
                        leases[task.id].lose("the engine does not know it any more")
                    if task.id in answer.cancelled:
                        leases[task.id].cancel()
        except (OrchestratorError, TimeoutError) as error:
            reason = str(error) or f"no answer within {limit_s:.1f} s"
            _log.warning("leases not renewed", count=len(tasks), reason=reason)
            return False
        return True


def _last_moment(lease: Lease) -> float:
    """Return the loop's time at which an execution is stopped whose lease is not renewed."""
    return lease.ends_at - lease.ttl_s * LEASE_MARGIN
