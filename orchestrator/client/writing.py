"""Writes of an execution, each under its task's fencing version.

A server that is away is asked again until the lease ends; repeating is safe (P2, T2). A refusal for the
version ends the execution: somebody else goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from orchestrator.client.lease import Lease
from orchestrator.domain.errors import Abandoned, OrchestratorError, Refused, Unavailable
from orchestrator.protocol import commands as c
from orchestrator.protocol.records import PromiseRecord, PromiseState, Value
from orchestrator.protocol.transport import Transport

AnswerT = TypeVar("AnswerT", bound=c.Answer)
_PAUSE_S_MIN = 0.05
_PAUSE_S_MAX = 1.0
_NOT_OURS = (404, 409)


class FencedWriter:
    """Writes for one task."""

    __slots__ = ("_forgets", "_heeds_cancellation", "_records_steps", "_remembers", "_transport", "lease")

    def __init__(self, transport: Transport, lease: Lease, extensions: frozenset[str]) -> None:
        self._transport = transport
        self._records_steps = c.EXTENSION_RECORD_STEP in extensions
        self._heeds_cancellation = c.EXTENSION_CANCEL in extensions
        self._forgets = c.EXTENSION_FORGET in extensions
        self._remembers = c.EXTENSION_BARE_CLAIM in extensions
        self.lease = lease

    async def create(self, create: c.PromiseCreate) -> PromiseRecord:
        """Create a child, or return what exists (P2)."""
        return await self._fence(create)

    async def settle(self, promise_id: str, state: PromiseState, value: Value) -> PromiseRecord:
        """Settle a child that exists, or return how it was settled before (P1)."""
        return await self._fence(c.PromiseSettle(id=promise_id, state=state, value=value))

    def record(
        self,
        create: c.PromiseCreate,
        state: PromiseState,
        value: Value,
        begun_ms: int,
        *,
        forgets: Sequence[str] = (),
    ) -> Coroutine[Any, Any, PromiseRecord]:
        """Write a finished child at once; in two writes where the server does not know how to.

        `begun_ms` (Unix milliseconds) becomes the record's creation, so that it shows how long the step took.
        `forgets` are descendants that go in the same write, where the engine knows how to.
        """
        if not self._records_steps:
            return self._record_in_two(create, state, value)
        return self._fence(
            c.PromiseRecordStep(
                id=create.id,
                timeout_at=create.timeout_at,
                created_at=begun_ms,
                state=state,
                param=create.param,
                value=value,
                tags=create.tags,
                forgets=list(forgets) if self._forgets and forgets else [],
            )
        )

    async def _record_in_two(
        self, create: c.PromiseCreate, state: PromiseState, value: Value
    ) -> PromiseRecord:
        created = await self.create(create)
        return await self.settle(create.id, state, value) if created.pending else created

    async def note(self, promise_id: str, value: Value) -> None:
        """Record how far an open promise has come. Raises Refused for a value that is too large."""
        await self._fence(c.PromiseProgress(id=promise_id, value=value))

    async def fulfil(self, state: PromiseState, value: Value) -> PromiseRecord:
        """Settle the task's own promise."""
        settle = c.PromiseSettle(id=self.lease.task_id, state=state, value=value)
        command = c.TaskFulfill(id=self.lease.task_id, version=self.lease.version, action=settle)
        return (await self._give_back(command)).promise

    async def suspend(self, awaited: list[str]) -> c.SuspendAnswer:
        """Let the task rest until one of the awaited promises settles."""
        actions = [c.PromiseRegisterCallback(awaited=one, awaiter=self.lease.task_id) for one in awaited]
        heeds = self._heeds_cancellation and not self.lease.cancelled
        answer = await self._give_back(
            c.TaskSuspend(
                id=self.lease.task_id,
                version=self.lease.version,
                actions=actions,
                heeds=heeds,
                bare=self._remembers,
            )
        )
        self.lease.leaving = answer.suspended
        if answer.cancelled:
            self.lease.cancel()
        return answer

    async def _give_back(self, command: c.Command[AnswerT]) -> AnswerT:
        """Let go of the task: a heartbeat that comes behind this finds no lease, and none has been lost."""
        self.lease.leaving = True
        try:
            return await self.call(command)
        except BaseException:
            self.lease.leaving = False
            raise

    async def _fence(
        self, action: c.PromiseCreate | c.PromiseSettle | c.PromiseRecordStep | c.PromiseProgress
    ) -> PromiseRecord:
        lease = self.lease
        command = c.TaskFence(id=lease.task_id, version=lease.version, action=action)
        try:
            # The first time without `call` in between, as nearly always it is the only one.
            answer = await self._transport.call(command)
        except (Refused, Unavailable) as error:
            answer = await self._call_after(error, command)
        if answer.cancelled:
            lease.cancel()
        promise = answer.promise
        if promise is None:
            raise Refused(404, f"promise {action.id} was to be settled and does not exist")
        return promise

    async def call(self, command: c.Command[AnswerT]) -> AnswerT:
        """Carry out a command of this task. Raises Abandoned when the task is no longer ours."""
        try:
            return await self._transport.call(command)
        except (Refused, Unavailable) as error:
            return await self._call_after(error, command)

    async def _call_after(self, error: Refused | Unavailable, command: c.Command[AnswerT]) -> AnswerT:
        """Carry out a command whose first try has failed, unless that says that there is nothing to try."""
        pause_s = _PAUSE_S_MIN
        while True:
            self._check_ours(error)
            self._check_away(error, pause_s)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, _PAUSE_S_MAX)
            try:
                return await self._transport.call(command)
            except (Refused, Unavailable) as again:
                error = again

    async def read(self, promise_id: str) -> PromiseRecord:
        """Return a promise as it stands."""
        return (await self.call_unfenced(c.PromiseGet(id=promise_id))).promise

    async def call_unfenced(self, command: c.Command[AnswerT]) -> AnswerT:
        """Carry out a command that is not fenced: a refusal says nothing about the lease."""
        pause_s = _PAUSE_S_MIN
        while True:
            try:
                return await self._transport.call(command)
            except Unavailable as error:
                self._check_away(error, pause_s)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, _PAUSE_S_MAX)

    def _check_ours(self, error: Refused | Unavailable) -> None:
        """Raise what a refusal means: Abandoned where the task is no longer ours."""
        if not isinstance(error, Refused):
            return
        if error.status not in _NOT_OURS:
            raise error
        self.lease.lose(f"a write was refused: {error}")
        raise Abandoned(f"{self.lease.task_id} is not ours any more: {error}") from error

    def _check_away(self, error: OrchestratorError, pause_s: float) -> None:
        """Raise Abandoned unless the lease outlasts a pause."""
        left_s = self.lease.remaining_s(asyncio.get_running_loop().time())
        if self.lease.lost or left_s < pause_s:
            raise Abandoned(f"{self.lease.task_id}: server away until the lease ended") from error
