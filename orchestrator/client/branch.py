"""One workflow body within an execution: its driver, its id space, the children it must not outlive."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.client.calls import Caller
from orchestrator.client.driver import Driver
from orchestrator.client.future import Durable, DurableFuture, Outcome, Returned
from orchestrator.client.info import WorkflowInfo
from orchestrator.client.registry import RegisteredFunction
from orchestrator.commitments.wrapper import BoundStep
from orchestrator.domain import tags as tag
from orchestrator.protocol.records import PromiseRecord

_START = Returned(None)


class Creations:
    """What of a branch is on its way to the store: `every` creation, those of `promises`, of `versions`."""

    __slots__ = ("every", "promises", "versions")

    def __init__(self) -> None:
        self.every: set[asyncio.Future[None]] = set()
        self.promises: set[asyncio.Future[None]] = set()
        self.versions: set[asyncio.Future[None]] = set()


class Branch:
    """The root workflow of a task, or a workflow that it runs as a local child.

    `promise` and `arguments` are what it was called with.
    `held` are the open children by id: the branch settles only after them; `timers` are called off then.
    `outcome` is set once the body has ended. `future` is None for the root. `awaits` counts the awaits;
    `recording` that its cancellation is being recorded, `cancelled` that it was raised; `continues` that it
    has asked to start over. `called` are the ids of what it has called, and `creations` what of that is on
    its way to the store, None before the first.
    """

    __slots__ = (
        "_number",
        "arguments",
        "awaited",
        "awaits",
        "bound",
        "called",
        "caller",
        "cancelled",
        "continues",
        "creations",
        "driver",
        "function",
        "future",
        "held",
        "outcome",
        "promise",
        "recording",
        "resumption",
        "settling",
        "timers",
        "versions",
    )

    def __init__(
        self,
        *,
        promise: PromiseRecord,
        arguments: tuple[Sequence[Any], Mapping[str, Any]],
        caller: Caller,
        called: dict[str, None],
        first_number: int,
        function: RegisteredFunction,
        bound: BoundStep | None,
        future: DurableFuture[Any] | None,
    ) -> None:
        """Its `driver` is to be set before it is stepped."""
        self.promise = promise
        self.arguments = arguments
        self.caller = caller
        self.called = called
        self.function = function
        self.bound = bound
        self.future = future
        self.resumption: Outcome = _START
        self.awaited: Durable[Any] | None = None
        self.outcome: Outcome | None = None
        self.settling = False
        self.awaits = 0
        self.cancelled = False
        self.continues = False
        self.recording = False
        self.held: dict[str, DurableFuture[Any]] = {}
        self.timers: dict[str, DurableFuture[Any]] = {}
        self.creations: Creations | None = None
        self.versions: dict[str, tuple[int, DurableFuture[Any] | None]] = {}
        self._number = first_number - 1
        self.driver: Driver

    @property
    def info(self) -> WorkflowInfo:
        """What the workflow is told of itself."""
        promise, caller = self.promise, self.caller
        return WorkflowInfo(
            id=promise.id,
            origin_id=caller.origin,
            parent_id=promise.tags.get(tag.PARENT) or promise.id,
            branch_id=caller.branch,
            name=self.function.name,
            version=self.function.version,
            timeout_at=promise.timeout_at,
            tags=promise.tags,
        )

    def next_number(self) -> int:
        """Count a durable call, from 1 unless the worker that began the workflow counts otherwise."""
        self._number += 1
        return self._number

    @property
    def following(self) -> int:
        """The number of the next call."""
        return self._number + 1

    def start_timer(self, future: DurableFuture[Any]) -> None:
        """Do not leave this timer running when all else has ended."""
        future.among = self.timers
        self.timers[future.id] = future

    def let_go(self, promise_id: str) -> None:
        """Settle without this child."""
        self.held.pop(promise_id, None)

    def waits_for(self) -> DurableFuture[Any] | None:
        """Return the open future that this branch cannot go on without, None if it can."""
        if self.outcome is None:
            return self.awaited.pending() if self.awaited is not None else None
        return next(iter(self.held.values()), None)

    def creating(self, *, promise: bool, version: bool = False) -> asyncio.Future[None]:
        """Return what a creation settles once it is written; steps called after it start then.

        To be called by the job of the call before it first waits: jobs start in the order of the calls.
        """
        written = asyncio.get_running_loop().create_future()
        under_way = self.creations = self.creations or Creations()
        sets = ((True, under_way.every), (promise, under_way.promises), (version, under_way.versions))
        for creations in (one for meant, one in sets if meant):
            creations.add(written)
            written.add_done_callback(creations.discard)
        return written

    def is_creating(self) -> bool:
        """Tell whether a call made earlier does not exist in the store yet."""
        return self.creations is not None and bool(self.creations.every)

    async def creations_written(self) -> None:
        """Wait until the calls made earlier exist in the store.

        A step may hand the id of a promise to somebody who settles it at once.
        """
        if self.creations is not None and self.creations.every:
            await asyncio.wait(set(self.creations.every))
