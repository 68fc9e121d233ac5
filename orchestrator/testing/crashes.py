"""Processes that seem to end at a chosen command, and a count of what was executed before and after.

W1 a step that has settled is never executed again: `ExecutionLog` notes where one was.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

from orchestrator.domain.promise import PromiseState
from orchestrator.protocol.commands import Answer, Command
from orchestrator.protocol.messages import Message
from orchestrator.protocol.transport import Receiver, Transport

AnswerT = TypeVar("AnswerT", bound=Answer)


class SimulatedCrash(BaseException):
    """The process has ended, as far as its code can tell."""


class CrashingTransport:
    """A transport whose owner crashes at the `number`-th command (from 1); None only counts.

    With `after` the engine still carries the command out and its answer is lost. From then on nothing gets
    through, in either direction. `crashed` is set at that moment, `kinds` are the commands seen.
    """

    def __init__(self, inner: Transport, number: int | None, *, after: bool) -> None:
        self._inner = inner
        self._number = number
        self._after = after
        self.crashed = asyncio.Event()
        self.kinds: list[str] = []

    async def call(self, command: Command[AnswerT]) -> AnswerT:
        """Carry out a command, unless this is the one to crash at."""
        if self.crashed.is_set():
            raise SimulatedCrash
        self.kinds.append(command.KIND)
        if len(self.kinds) != self._number:
            return await self._inner.call(command)
        self.crashed.set()
        if self._after:
            await self._inner.call(command)
        raise SimulatedCrash

    def connect(self, group: str, pid: str, receive: Receiver) -> AbstractAsyncContextManager[None]:
        """Take messages until the crash."""

        def alive(message: Message) -> None:
            if not self.crashed.is_set():
                receive(message)

        return self._inner.connect(group, pid, alive)

    async def close(self) -> None:
        """Leave the inner transport to its owner."""


def crash_at(transport: Transport, number: int | None, *, after: bool = False) -> CrashingTransport:
    """Return `transport` with a crash at its `number`-th command, before or after the engine has it."""
    return CrashingTransport(transport, number, after=after)


class ExecutionLog:
    """A step observer that counts: attempts begun and outcomes stored, by promise id."""

    def __init__(self) -> None:
        self.started: Counter[str] = Counter()
        self.finished: Counter[str] = Counter()
        self.again_after_settling: list[str] = []

    def on_step_started(self, promise_id: str, name: str, attempt: int) -> None:
        """Count an attempt; one of a step that has settled already is noted as a fault (W1)."""
        if self.finished[promise_id]:
            self.again_after_settling.append(promise_id)
        self.started[promise_id] += 1

    def on_step_finished(self, promise_id: str, name: str, state: PromiseState) -> None:
        """Count a stored outcome."""
        self.finished[promise_id] += 1
