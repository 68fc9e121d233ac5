"""One workflow body within an execution: its driver, its id space, the children it must not outlive."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from orchestrator.client.calls import Caller
from orchestrator.client.driver import Driver
from orchestrator.client.future import Durable, DurableFuture, Outcome, Returned
from orchestrator.client.info import WorkflowInfo
from orchestrator.client.registry import RegisteredFunction
from orchestrator.commitments.wrapper import BoundStep
from orchestrator.protocol.records import PromiseRecord


class Branch:
    """The root workflow of a task, or a workflow that it runs as a local child.

    `promise` and `arguments` are what it was called with.
    `held` are the open children by id: the branch settles only after them; `timers` are called off then.
    `outcome` is set once the body has ended. `future` is None for the root. `awaits` counts the awaits;
    `recording` that its cancellation is being recorded, `cancelled` that it was raised; `continues` that it
    has asked to start over.
    """

    __slots__ = (
        "_number",
        "arguments",
        "awaited",
        "awaits",
        "bound",
        "caller",
        "cancelled",
        "continues",
        "creations",
        "driver",
        "function",
        "future",
        "held",
        "info",
        "outcome",
        "promise",
        "promise_creations",
        "recording",
        "resumption",
        "settling",
        "timers",
        "version_creations",
        "versions",
    )

    def __init__(
        self,
        *,
        promise: PromiseRecord,
        arguments: tuple[Sequence[Any], Mapping[str, Any]],
        caller: Caller,
        first_number: int,
        info: WorkflowInfo,
        function: RegisteredFunction,
        bound: BoundStep | None,
        future: DurableFuture[Any] | None,
        start: Callable[[Branch], Driver],
    ) -> None:
        self.promise = promise
        self.arguments = arguments
        self.caller = caller
        self.info = info
        self.function = function
        self.bound = bound
        self.future = future
        self.resumption: Outcome = Returned(None)
        self.awaited: Durable[Any] | None = None
        self.outcome: Outcome | None = None
        self.settling = False
        self.awaits = 0
        self.cancelled = False
        self.continues = False
        self.recording = False
        self.held: dict[str, DurableFuture[Any]] = {}
        self.timers: dict[str, DurableFuture[Any]] = {}
        self.creations: set[asyncio.Future[None]] = set()
        self.promise_creations: set[asyncio.Future[None]] = set()
        self.version_creations: set[asyncio.Future[None]] = set()
        self.versions: dict[str, tuple[int, DurableFuture[Any] | None]] = {}
        self._number = first_number - 1
        self.driver = start(self)

    def next_number(self) -> int:
        """Count a durable call, from 1 unless the worker that began the workflow counts otherwise."""
        self._number += 1
        return self._number

    @property
    def following(self) -> int:
        """The number of the next call."""
        return self._number + 1

    def hold(self, future: DurableFuture[Any]) -> None:
        """Do not settle before this child has."""
        self.held[future.id] = future
        future.watch(partial(self.let_go, future.id))

    def start_timer(self, future: DurableFuture[Any]) -> None:
        """Do not leave this timer running when all else has ended."""
        self.timers[future.id] = future
        future.watch(partial(self._timer_ended, future.id))

    def _timer_ended(self, promise_id: str) -> None:
        self.timers.pop(promise_id, None)

    def let_go(self, promise_id: str) -> None:
        """Settle without this child."""
        self.held.pop(promise_id, None)

    def waits_for(self) -> DurableFuture[Any] | None:
        """Return the open future that this branch cannot go on without, None if it can."""
        if self.outcome is None:
            return self.awaited.pending() if self.awaited is not None else None
        return next(iter(self.held.values()), None)

    def creating(self, *, promise: bool) -> asyncio.Future[None]:
        """Return what a creation settles once it is written; steps called after it start then.

        To be called by the job of the call before it first waits: jobs start in the order of the calls.
        """
        written = asyncio.get_running_loop().create_future()
        for creations in (self.creations, self.promise_creations) if promise else (self.creations,):
            creations.add(written)
            written.add_done_callback(creations.discard)
        return written

    async def creations_written(self) -> None:
        """Wait until the calls made earlier exist in the store.

        A step may hand the id of a promise to somebody who settles it at once.
        """
        if self.creations:
            await asyncio.wait(set(self.creations))
