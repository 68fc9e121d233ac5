"""Changing a live workflow: which version of a change an execution follows, and to its end.

The first question about a change is recorded as a child, before any later call is written. An execution
that had come past this place when the change was made has another call there, or later ones, and follows
the ORIGINAL code (W2); its numbering is that of before.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from orchestrator.client import calls, codec
from orchestrator.client.branch import Branch
from orchestrator.client.calls import Call
from orchestrator.client.future import Durable, DurableFuture, Outcome, Returned
from orchestrator.client.pending import PendingCall
from orchestrator.domain.errors import NondeterminismError
from orchestrator.domain.promise import PromiseState

if TYPE_CHECKING:
    from orchestrator.client.execution import Execution

T = TypeVar("T")
ORIGINAL = 0
"""The version of an execution that was under way before the change was first asked about."""


class Decided(Durable[T]):
    """What is known already; with `after`, once that is recorded."""

    __slots__ = ("_after", "_value")

    def __init__(self, value: T, after: DurableFuture[Any] | None) -> None:
        self._value = value
        self._after = after

    def pending(self) -> DurableFuture[Any] | None:
        """Return the record that is still being written."""
        return self._after.pending() if self._after is not None else None

    def outcome(self) -> Outcome:
        """Return the value."""
        return Returned(self._value)

    def parts(self) -> Iterator[DurableFuture[Any]]:
        """Yield nothing that could be ended."""
        return iter(())


def decide(execution: Execution, branch: Branch, name: str, oldest: int, newest: int) -> Decided[int]:
    """Return the version of a change that this workflow follows; the same for every question about it.

    Raises ValueError for impossible bounds; ends the execution where the code has no such version any more.
    """
    return Decided(*_found(execution, branch, name, oldest, newest))


def patched(execution: Execution, branch: Branch, name: str) -> Decided[bool]:
    """Return whether this workflow follows version 1 of a change."""
    found, record = _found(execution, branch, name, ORIGINAL, 1)
    return Decided(found == 1, record)


def _found(
    execution: Execution, branch: Branch, name: str, oldest: int, newest: int
) -> tuple[int, DurableFuture[Any] | None]:
    if not ORIGINAL <= oldest <= newest:
        raise ValueError(f"version of {name!r}: 0 <= oldest <= newest, not {oldest} and {newest}")
    if name not in branch.versions:
        branch.versions[name] = _first_time(execution, branch, name, newest)
    found, record = branch.versions[name]
    if not oldest <= found <= newest:
        execution.report(
            NondeterminismError(
                record.id if record is not None else branch.caller.id,
                f"version {found} of the change {name!r}",
                f"versions {oldest} to {newest} only",
                position=f"ctx.version({name!r}) in {branch.caller.id}",
                before=execution.guard.before(branch.caller.id),
            )
        )
    return found, record


def _first_time(
    execution: Execution, branch: Branch, name: str, newest: int
) -> tuple[int, DurableFuture[Any] | None]:
    caller = branch.caller
    call = calls.own_step(caller, branch.following, f"ctx.version:{name}", int)
    record = execution.records.get(call.id)
    recorded = record is not None and execution.guard.difference(call, record) is None
    if not recorded and not execution.guard.at_frontier(caller.id):
        return ORIGINAL, None
    branch.next_number()
    future = execution.begin(branch, call, partial(_record, newest))
    if future.pending() is not None:
        return newest, future
    match future.outcome():
        case Returned(int(version)):
            return version, future
    raise TypeError(f"{call.id} does not hold a version of {name!r}")


async def _record(version: int, execution: Execution, pending: PendingCall[Call]) -> None:
    """Write the version down; what is called later is written after it."""
    branch, call = pending.branch, pending.call
    written = branch.creating(promise=True, version=True)
    try:
        value = codec.encode_value(version, f"the version {call.id}")
        begun_ms = execution.around.clock.now_ms()
        record = await execution.writer.record(call.create, PromiseState.RESOLVED, value, begun_ms)
        execution.observe(record)
    finally:
        if not written.done():
            written.set_result(None)
