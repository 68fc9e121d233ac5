"""The call graph of an invocation, from its stored promises.

Pure: records in, a tree out; drawing is the command line's.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from orchestrator.domain import tags
from orchestrator.domain.ids import path_of
from orchestrator.protocol.records import PromiseRecord


@dataclass(slots=True, kw_only=True)
class Call:
    """One promise and what it called, in order of id."""

    promise: PromiseRecord
    children: list[Call] = field(default_factory=list)

    @property
    def function(self) -> str:
        """The name of the invoked function, or what kind of promise it is."""
        headers = self.promise.param.headers or {}
        return headers.get("func") or _function_in(self.promise.param.data) or _kind(self.promise)

    @property
    def duration_ms(self) -> int | None:
        """Milliseconds from creation to settlement, None while pending."""
        settled_at = self.promise.settled_at
        return None if settled_at is None else settled_at - self.promise.created_at


def call_tree(top: PromiseRecord, promises: Sequence[PromiseRecord]) -> Call:
    """Arrange promises below `top`; one whose parent is not among them hangs directly below it."""
    calls = {promise.id: Call(promise=promise) for promise in promises}
    root = calls.setdefault(top.id, Call(promise=top))
    for call in sorted(calls.values(), key=_order):
        if call is not root:
            calls.get(call.promise.tags.get(tags.PARENT, ""), root).children.append(call)
    return root


def _order(call: Call) -> tuple[tuple[bool, int, str], ...]:
    parts = path_of(call.promise.id)
    return tuple((isinstance(part, str), part if isinstance(part, int) else 0, str(part)) for part in parts)


def _function_in(data: str | None) -> str | None:
    """Read the function's name from an invocation (base64 JSON `{func, args, …}`), where it is readable."""
    if not data:
        return None
    try:
        param = msgspec.json.decode(base64.b64decode(data, validate=True))
    except (binascii.Error, ValueError):
        return None
    name = param.get("func") if isinstance(param, dict) else None
    return name if isinstance(name, str) else None


def _kind(promise: PromiseRecord) -> str:
    if promise.is_timer:
        return "sleep"
    if promise.tags.get(tags.EXTERNAL) == tags.TRUE:
        return "external promise"
    return "promise"
