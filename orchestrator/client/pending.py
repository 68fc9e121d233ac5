"""A durable call on its way to the store."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import msgspec

from orchestrator.client.branch import Branch
from orchestrator.client.calls import Call
from orchestrator.client.future import DurableFuture
from orchestrator.protocol.records import PromiseRecord

CallT = TypeVar("CallT", bound=Call)


class PendingCall(msgspec.Struct, Generic[CallT], frozen=True, kw_only=True):
    """A call that is not settled; `record` is what the store was known to hold of it, None for nothing."""

    branch: Branch
    call: CallT
    record: PromiseRecord | None
    future: DurableFuture[Any]
