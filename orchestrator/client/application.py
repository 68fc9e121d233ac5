"""The client's half of an application: functions, dependencies, invocations, handles.

It executes nothing itself: a `Runner` (the worker) takes over what is claimed here.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from random import Random, SystemRandom
from typing import Any, Protocol, TypeVar

from orchestrator.client import calls
from orchestrator.client.clock import Clock, SystemClock
from orchestrator.client.codec import DecodingError
from orchestrator.client.encryption import DecryptionError
from orchestrator.client.handle import Handle
from orchestrator.client.invocation import read_invocation
from orchestrator.client.invoking import Invoker
from orchestrator.client.listening import REFRESH_S, Subscriptions
from orchestrator.client.options import CallOptions
from orchestrator.client.outcomes import result_of
from orchestrator.client.processes import PROCESSES_MAX, ProcessPool
from orchestrator.client.promises import Promises
from orchestrator.client.registering import Registering
from orchestrator.client.registry import Function, RegisteredFunction
from orchestrator.client.schedules import Schedules
from orchestrator.client.surroundings import ExecutionObserver, StepObserver, Surroundings
from orchestrator.client.worker_groups import WorkerGroups
from orchestrator.domain.address import any_of, only
from orchestrator.domain.errors import NotRegistered, OrchestratorError, Refused
from orchestrator.domain.ids import fault_of_root_id
from orchestrator.domain.retry import RetryPolicy
from orchestrator.domain.schedule import Schedule
from orchestrator.protocol import commands as c
from orchestrator.protocol.records import PromiseRecord, TaskState
from orchestrator.protocol.transport import Transport

F = TypeVar("F", bound=Function)
T = TypeVar("T")
THREADS_MAX = 32
_ATTACHED = (409, 422)


class NotStarted(OrchestratorError):
    """The application was used before `start` or after `stop`."""


class Runner(Protocol):
    """Executes tasks in this process."""

    def reserve(self) -> bool:
        """Keep room for one task until `unreserve`; return False if there is none."""
        ...

    def unreserve(self) -> None:
        """Give reserved room back, or leave it to the task that was taken meanwhile."""
        ...

    def take(self, claim: c.TaskClaim, claimed_at: float) -> None:
        """Execute a claimed task; `claimed_at` is the loop's time before the claim was sent."""
        ...


class Application(Registering, Invoker):
    """Registers functions and invokes them by durable id."""

    def __init__(
        self,
        *,
        group: str,
        pid: str | None,
        ttl_ms: int,
        clock: Clock | None,
        chance: Random | None = None,
        refresh_s: float = REFRESH_S,
        threads_max: int = THREADS_MAX,
        processes_max: int = PROCESSES_MAX,
    ) -> None:
        Registering.__init__(self)
        Invoker.__init__(self, self)
        self.group = group
        self.pid = pid if pid is not None else uuid.uuid4().hex
        self._ttl_ms = ttl_ms
        self._clock: Clock = clock if clock is not None else SystemClock()
        self._chance = chance if chance is not None else SystemRandom()
        self._refresh_s = refresh_s
        self._threads_max = threads_max
        self._threads: ThreadPoolExecutor | None = None
        self._processes_max = processes_max
        self._processes: ProcessPool | None = None
        self._observers: list[StepObserver] = []
        self._execution_observers: list[ExecutionObserver] = []
        self._surroundings: Surroundings | None = None
        self._runner: Runner | None = None
        self._address = any_of(group, self.pid)

    def _share(self, other: Application) -> None:
        """Take over the functions, dependencies and observers of another application."""
        self._registry, self._dependencies = other._registry, other._dependencies
        self._observers = [*other._observers]
        self._execution_observers = [*other._execution_observers]

    # -- observers

    def observe(self, observer: StepObserver) -> None:
        """Tell `observer` of every execution of a step."""
        self._observers.append(observer)

    def observe_executions(self, observer: ExecutionObserver) -> None:
        """Tell `observer` of every execution of a task, and ask it for tags of new invocations."""
        self._execution_observers.append(observer)

    # -- invocations

    def options(
        self,
        *,
        target: str | None = None,
        timeout_s: float | None = None,
        tags: Mapping[str, str] | None = None,
        version: int | None = None,
        retry: RetryPolicy | None = None,
        delay_until_ms: int | None = None,
        delay_s: float | None = None,
        priority: int | None = None,
    ) -> Invoker:
        """Return the invocations with these options.

        `target` is a group or a delivery address, `timeout_s` seconds until the promise times out,
        `delay_until_ms` (Unix milliseconds) or `delay_s` (from the call) holds the first dispatch back,
        `priority` orders what waits for a group's workers. Raises ValueError for what cannot be meant.
        """
        return Invoker(
            self,
            CallOptions(
                target=target,
                timeout_s=timeout_s,
                tags=tags if tags is not None else {},
                version=version,
                retry=retry,
                delay_until_ms=delay_until_ms,
                delay_s=delay_s,
                priority=priority,
            ),
        )

    async def get(self, promise_id: str) -> Handle[Any]:
        """Return a handle on an existing promise. Raises Refused(404) for an unknown one."""
        answer = await self._started().transport.call(c.PromiseGet(id=promise_id))
        return self._handle(answer.promise, self._declared_by(answer.promise))

    @property
    def promises(self) -> Promises:
        """Promises by hand."""
        return Promises(self._started().transport, self._clock)

    @property
    def schedules(self) -> Schedules:
        """Schedules by hand, with all their options."""
        return Schedules(self._started(), self._registry)

    @property
    def groups(self) -> WorkerGroups:
        """Limits of groups of workers: read, set, paused, resumed, listed."""
        return WorkerGroups(self._started())

    async def schedule(
        self, schedule_id: str, cron: str, fn: Function | str, *args: object, **kwargs: object
    ) -> Schedule:
        """Have this group invoke a function at every moment of a cron line (UTC), or return what exists.

        Options (time zone, target, time-out and so on) are those of `schedules.create`.
        """
        return await self.schedules.create(schedule_id, cron, fn, args=args, kwargs=kwargs)

    async def begin_local(
        self, options: CallOptions, promise_id: str, fn: Function | str, args: Any, kwargs: Any
    ) -> Handle[Any]:
        """Create and claim an invocation for this process, or attach to it."""
        transport, runner = self._started().transport, self._runner
        if runner is None:
            raise NotStarted("this application has no worker: use rpc, or create it with worker=True")
        function = self._registry.of(fn, options.version)
        elsewhere = options.delayed or options.target is not None
        if elsewhere or not runner.reserve():
            # Not here, or not now: the same invocation, dispatched by the engine.
            return await self._create_remote(options, promise_id, function, args, kwargs)
        try:
            create = self._create(
                promise_id,
                self._address,
                options,
                name=function.name,
                version=function.version,
                args=args,
                kwargs=kwargs,
            )
            claimed_at = asyncio.get_running_loop().time()
            claim = await transport.call(c.TaskCreate(pid=self.pid, ttl=self._ttl_ms, action=create))
            if claim.task.state is TaskState.ACQUIRED:
                runner.take(claim, claimed_at)
            return self._handle(claim.promise, function.returns)
        except Refused as refusal:
            if refusal.status not in _ATTACHED:
                raise
            existing = await transport.call(c.PromiseGet(id=promise_id))
            return self._handle(existing.promise, function.returns)
        finally:
            runner.unreserve()

    async def begin_remote(
        self, options: CallOptions, promise_id: str, fn: Function | str, args: Any, kwargs: Any
    ) -> Handle[Any]:
        """Create an invocation for whoever its target means, or attach to it."""
        self._started()
        return await self._create_remote(options, promise_id, self._meant(fn, options), args, kwargs)

    async def call_remote(
        self, options: CallOptions, promise_id: str, fn: Function | str, args: Any, kwargs: Any
    ) -> Any:
        """Create an invocation as `begin_remote` does, and return its result.

        Both are asked for together, where the server takes what is asked together in its order.
        """
        around, target = self._started(), self._meant(fn, options)
        if c.EXTENSION_BUNDLE not in around.extensions:
            return await (await self._create_remote(options, promise_id, target, args, kwargs)).result()
        created = asyncio.Event()
        waiting = asyncio.create_task(around.subscriptions.wait(promise_id, created))
        try:
            record = (await self._create_remote(options, promise_id, target, args, kwargs)).record
            created.set()
            settled = await waiting if record.pending else record
        finally:
            waiting.cancel()
            if waiting.done() and not waiting.cancelled():
                waiting.exception()  # nobody may have come to ask
        return result_of(settled, None if isinstance(target, str) else target.returns)

    async def _create_remote(
        self, options: CallOptions, promise_id: str, target: RegisteredFunction | str, args: Any, kwargs: Any
    ) -> Handle[Any]:
        create = self._create(
            promise_id,
            options.address(self.group),
            options,
            name=target if isinstance(target, str) else target.name,
            version=(options.version or 1) if isinstance(target, str) else target.version,
            args=args,
            kwargs=kwargs,
        )
        answer = await self._started().transport.call(create)
        declared = None if isinstance(target, str) else target.returns
        return self._handle(answer.promise, declared)

    def _meant(self, fn: Function | str, options: CallOptions) -> RegisteredFunction | str:
        return fn if isinstance(fn, str) else self._described(fn, options)

    def _create(
        self, promise_id: str, address: str, options: CallOptions, **invocation: Any
    ) -> c.PromiseCreate:
        fault = fault_of_root_id(promise_id)
        if fault is not None:
            raise ValueError(fault)
        for observer in self._execution_observers:
            options = replace(options, tags={**observer.tags_for(promise_id), **options.tags})
        return calls.root(promise_id, address, options, self._clock.now_ms(), **invocation)

    def _described(self, fn: Function, options: CallOptions) -> RegisteredFunction:
        try:
            return self._registry.of(fn, options.version)
        except NotRegistered:
            described = self._registry.of_any(fn)
            return described if options.version is None else replace(described, version=options.version)

    def _declared_by(self, record: PromiseRecord) -> object:
        """Return the result type of the function that a promise stands for, if it is registered here."""
        try:
            invocation = read_invocation(record)
            return self._registry.named(invocation.function, invocation.version).returns
        except (DecodingError, DecryptionError, NotRegistered):
            return None

    def _handle(self, record: PromiseRecord, declared: object) -> Handle[Any]:
        around = self._started()
        return Handle(
            record, declared=declared, transport=around.transport, subscriptions=around.subscriptions
        )

    # -- for the composition root

    def _surround(self, transport: Transport, member_of: str) -> Surroundings:
        self._surroundings = self._surrounded_by(
            transport, Subscriptions(transport, only(member_of, self.pid), refresh_s=self._refresh_s)
        )
        return self._surroundings

    def _surrounded_by(self, transport: Transport, subscriptions: Subscriptions) -> Surroundings:
        return Surroundings(
            transport=transport,
            registry=self._registry,
            dependencies=self._dependencies,
            subscriptions=subscriptions,
            clock=self._clock,
            group=self.group,
            pid=self.pid,
            threads=self._thread_pool,
            processes=self._process_pool,
            observers=self._observers,
            execution_observers=self._execution_observers,
            chance=self._chance,
        )

    def _started(self) -> Surroundings:
        if self._surroundings is None:
            raise NotStarted("the application is not running: use `async with app:` or `await app.start()`")
        return self._surroundings

    def _thread_pool(self) -> ThreadPoolExecutor:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self._threads_max, thread_name_prefix=f"leaf-{self.group}")
        return self._threads

    def _process_pool(self) -> ProcessPool:
        if self._processes is None:
            self._processes = ProcessPool(self._processes_max)
        return self._processes
