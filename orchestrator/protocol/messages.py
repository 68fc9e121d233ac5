"""The messages that an engine sends: execute a task, or know that a promise has settled.

Within one process it also tells who holds a task that this is to end; over the wire a heartbeat does.
Messages are hints, the store is the truth: each may be lost, doubled or late.
"""

from __future__ import annotations

import msgspec

from orchestrator.protocol.commands import TaskReference
from orchestrator.protocol.records import PromiseRecord


class Execute(msgspec.Struct, frozen=True, kw_only=True):
    """A task waits to be acquired at this version."""

    task: TaskReference


class Unblock(msgspec.Struct, frozen=True, kw_only=True):
    """A promise that was listened to has settled."""

    promise: PromiseRecord


class Cancel(msgspec.Struct, frozen=True, kw_only=True):
    """A task that is held at this version is to end. Sent within one process only."""

    task: TaskReference


Message = Execute | Unblock | Cancel
