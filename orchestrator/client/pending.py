"""A durable call on its way to the store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from orchestrator.client.branch import Branch
from orchestrator.client.calls import Call
from orchestrator.client.future import DurableFuture
from orchestrator.protocol.records import PromiseRecord

CallT = TypeVar("CallT", bound=Call)


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingCall(Generic[CallT]):
    """A call that is not settled; `record` is what the store was known to hold of it, None for nothing."""

    branch: Branch
    call: CallT
    record: PromiseRecord | None
    future: DurableFuture[Any]
