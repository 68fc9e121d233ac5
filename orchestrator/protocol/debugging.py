"""The operations by which a test steers an engine: only where the operator has switched them on."""

from __future__ import annotations

from typing import Any

import msgspec

from orchestrator.protocol.operations import Answer, Command, Empty
from orchestrator.protocol.records import PromiseRecord, TaskRecord


class DebugStart(Command[Empty], frozen=True):
    """Let nothing happen by itself any more: no time passes, no message leaves."""

    KIND = "debug.start"


class DebugStop(Command[Empty], frozen=True):
    """Let time and delivery go on."""

    KIND = "debug.stop"


class DebugReset(Command[Empty], frozen=True):
    """Forget everything."""

    KIND = "debug.reset"


class DebugTickAnswer(Answer, frozen=True, array_like=True):
    """Nothing but success; an empty list on the wire."""


class DebugTick(Command[DebugTickAnswer], frozen=True):
    """Carry out what is due at `time`; messages stay in the outbox."""

    KIND = "debug.tick"
    time: int


class DebugTimeout(msgspec.Struct, frozen=True, kw_only=True):
    """When a pending promise times out."""

    id: str
    timeout: int


class DebugTaskTimeout(msgspec.Struct, frozen=True, kw_only=True):
    """When a task is looked at next; `type` 0 is a dispatch, 1 the end of a lease."""

    id: str
    type: int
    timeout: int


class DebugCallback(msgspec.Struct, frozen=True, kw_only=True):
    """A task that waits for a promise."""

    awaiter: str
    awaited: str


class DebugListener(msgspec.Struct, frozen=True, kw_only=True):
    """An address that is told when a promise settles."""

    id: str
    address: str


class DebugMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message in the outbox, as it stands on the wire, its head empty."""

    address: str
    message: dict[str, Any]


class DebugSnapAnswer(Answer, frozen=True, rename="camel"):
    """Everything that is stored of promises and tasks, in order of id."""

    promises: list[PromiseRecord]
    promise_timeouts: list[DebugTimeout]
    callbacks: list[DebugCallback]
    listeners: list[DebugListener]
    tasks: list[TaskRecord]
    task_timeouts: list[DebugTaskTimeout]
    messages: list[DebugMessage]


class DebugSnap(Command[DebugSnapAnswer], frozen=True):
    """Read everything that is stored."""

    KIND = "debug.snap"
