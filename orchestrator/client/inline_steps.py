"""Steps that run between two turns of their execution: short synchronous functions marked `inline`.

Such a function keeps the loop busy until it returns, so that nothing could see, end or overtake it while it
runs. It therefore needs no task, no timer and no lock of its own, which together cost more than its commit.
What is written is the same as for any other step (W3), and its outcome is what the store holds (W2).
"""

from __future__ import annotations

import asyncio
import inspect
from contextvars import copy_context
from dataclasses import replace
from functools import partial
from types import NoneType
from typing import TYPE_CHECKING, Any

import msgspec

from orchestrator.client import performing, steps
from orchestrator.client.attempts import LeafCancelledItself, LeafExited
from orchestrator.client.calls import Call, StepCall
from orchestrator.client.future import Outcome, Raised, Returned
from orchestrator.client.pending import PendingCall
from orchestrator.client.surroundings import Surroundings
from orchestrator.domain.errors import Cancelled, Refused
from orchestrator.domain.retry import worth_another
from orchestrator.protocol.records import PromiseRecord

if TYPE_CHECKING:
    from orchestrator.client.execution import Execution


_NEVER_AWAITED = frozenset((int, str, bool, float, bytes, NoneType, list, dict, tuple))


def fits(execution: Execution, pending: PendingCall[Any]) -> bool:
    """Tell whether a call can be run to its end by the execution itself.

    Not what has a record or a deadline, is asked to end, or comes after creations that are not written.
    Observers may expect a context of its own around each step.
    """
    call = pending.call
    if not isinstance(call, StepCall) or not call.function.prompt:
        return False
    if pending.record is not None or call.deadline or execution.around.observers:
        return False
    cancellations = execution.cancellations
    if pending.branch.is_creating():
        return False
    return cancellations.quiet or not cancellations.concerns(call.id)


async def run(execution: Execution, pending: PendingCall[StepCall]) -> None:
    """Run a call that fits, and record its outcome. Raises what ends the execution."""
    call, writer, cancellations = pending.call, execution.writer, execution.cancellations
    if not cancellations.quiet and cancellations.concerns(call.id):
        execution.spawn(partial(performing.run_leaf, execution, pending))
        return
    writer.lease.check()
    begun_ms = execution.around.clock.now_ms()
    outcome = copy_context().run(_outcome, execution.around, call)
    bound = None if call.canonical is None else call.bound()
    settlement = steps.plain_settlement(call.function, outcome) if bound is None else None
    if settlement is None:
        if _goes_on(call, outcome):
            execution.spawn(partial(performing.run_leaf, execution, _going_on(pending, outcome)))
            return
        settlement = steps.settlement(call.id, call.function, bound, outcome)
    if bound is not None:
        execution.committing.add(call.id)
    cancellations.writing.add(call.id)
    try:
        record = await writer.record(call.create, settlement.state, settlement.value, begun_ms)
    except Refused as refusal:
        record = await _not_stored(execution, call, refusal, begun_ms)
    finally:
        cancellations.writing.discard(call.id)
    if bound is not None:
        execution.committing.discard(call.id)
    execution.observe(record, settlement)


def _outcome(around: Surroundings, call: StepCall) -> Outcome:
    function = call.function
    # For who looks, from outside, what keeps the loop.
    around.attempts[None] = call
    try:
        return Returned(function.fn(*call.args, **call.kwargs))
    except asyncio.CancelledError as error:
        return Raised(LeafCancelledItself(function, error))
    except SystemExit as error:
        return Raised(LeafExited(function, error))
    except (Exception, Cancelled) as error:
        return Raised(error)
    finally:
        around.attempts.pop(None, None)


def _goes_on(call: StepCall, outcome: Outcome) -> bool:
    """Tell whether something is left to wait for: what the function returned, or its next attempt."""
    if isinstance(outcome, Returned):
        return type(outcome.value) not in _NEVER_AWAITED and inspect.isawaitable(outcome.value)
    return not isinstance(outcome.error, Cancelled) and worth_another(outcome.error, call.retry)


def _going_on(pending: PendingCall[StepCall], first: Outcome) -> PendingCall[StepCall]:
    """Return the call as one whose first attempt gives what it has given already."""
    function, given = pending.call.function, [first]

    def attempt(*args: Any, **kwargs: Any) -> Any:
        match given.pop() if given else None:
            case Returned(value):
                return value
            case Raised(error):
                raise error
        return function.fn(*args, **kwargs)

    call = msgspec.structs.replace(pending.call, function=replace(function, fn=attempt))
    return msgspec.structs.replace(pending, call=call)


async def _not_stored(execution: Execution, call: Call, refusal: Refused, begun_ms: int) -> PromiseRecord:
    async with performing.taken(execution, call):
        failure = steps.not_stored(f"the result of {call.label}", refusal)
        return await execution.writer.record(call.create, failure.state, failure.value, begun_ms)
