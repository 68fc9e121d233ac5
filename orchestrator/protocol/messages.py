"""The two messages that an engine sends: execute a task, or know that a promise has settled.

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


Message = Execute | Unblock
