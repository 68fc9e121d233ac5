"""Starting over with new arguments: how a workflow without end keeps a bounded record.

A workflow that returns `ctx.continue_as(...)` goes on from the top with those arguments, under the same
promise. That is recorded as a child, which replaces every earlier one: a replay begins there, and an engine
with the extension `forget` removes what stands before it in the same write. Numbers go on where they were, so
that no id is ever used twice (P2).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.client import calls, codec
from orchestrator.client.future import Outcome, Raised, Returned
from orchestrator.client.invocation import FUNCTION_HEADER
from orchestrator.client.registry import RegisteredFunction
from orchestrator.client.sealing import readable
from orchestrator.domain import tags as tag
from orchestrator.domain.errors import OrchestratorError
from orchestrator.domain.ids import extends, tree_of
from orchestrator.domain.promise import PromiseState, Value
from orchestrator.protocol.records import PromiseRecord

if TYPE_CHECKING:
    from orchestrator.client.branch import Branch
    from orchestrator.client.execution import Execution

NAME = "ctx.continue_as"
FORGETS_MAX = 10_000
"""How many promises one write forgets; the next start takes the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Continuation:
    """What a workflow returns to start over: the arguments of its next round."""

    args: Sequence[Any]
    kwargs: Mapping[str, Any]


class NotReturned(OrchestratorError):
    """A workflow has asked to start over, and returned something else."""

    def __init__(self, function: RegisteredFunction, promise_id: str) -> None:
        super().__init__(
            f"{function} ({promise_id}) called ctx.continue_as(...) and did not return it: "
            "write `return ctx.continue_as(...)` as its last word"
        )
        self.promise_id = promise_id


class Continuations:
    """Where the workflows of one execution have last started over, and what they have called since."""

    __slots__ = ("_called", "_latest", "_records")

    def __init__(self, records: dict[str, PromiseRecord]) -> None:
        self._records = records
        self._latest: dict[str, PromiseRecord] = {}
        self._called: dict[str, dict[str, None]] = {}

    def load(self) -> None:
        """Find the latest start of each workflow, and leave out of the records what came before it."""
        for record in self._records.values():
            self.called(record.tags.get(tag.PARENT, ""))[record.id] = None
            if (record.param.headers or {}).get(FUNCTION_HEADER) == NAME and not record.pending:
                workflow = record.tags.get(tag.PARENT, "")
                known = self._latest.get(workflow)
                if known is None or number_of(known.id) < number_of(record.id):
                    self._latest[workflow] = record
        if self._latest:
            self._leave_out()

    def _leave_out(self) -> None:
        for promise_id, record in list(self._records.items()):
            start = self._latest.get(record.tags.get(tag.PARENT, ""))
            if start is not None and number_of(promise_id) <= number_of(start.id):
                del self._records[promise_id]

    def called(self, workflow_id: str) -> dict[str, None]:
        """Return what a workflow has called since it has last started over, to be added to."""
        return self._called.setdefault(workflow_id, {})

    @property
    def any(self) -> bool:
        """Whether any workflow has started over: earlier records are not known here then."""
        return bool(self._latest)

    def of(self, workflow_id: str) -> PromiseRecord | None:
        """Return where a workflow has last started over, None if it has not."""
        return self._latest.get(workflow_id)

    def leave_behind(self, workflow_id: str) -> list[str]:
        """Return what a workflow that starts over need not remember, its former start included."""
        return [one for one in self._take(workflow_id) if _below(one, workflow_id)]

    def start(self, workflow_id: str, record: PromiseRecord) -> None:
        """Note that a workflow starts over."""
        self._latest[workflow_id] = record
        self.called(workflow_id)[record.id] = None

    def _take(self, workflow_id: str) -> list[str]:
        taken, looked_at = list(self._called.pop(workflow_id, {})), 0
        while looked_at < len(taken):
            taken.extend(self._called.pop(taken[looked_at], {}))
            looked_at += 1
        return taken


def number_of(promise_id: str) -> int:
    """Return the place of a call among those of its workflow, -1 for a detached one."""
    last = re.split("[:.]", promise_id)[-1]
    return int(last) if last.isascii() and last.isdigit() else -1


def _below(promise_id: str, workflow_id: str) -> bool:
    return extends(promise_id, workflow_id) and tree_of(promise_id) == tree_of(workflow_id)


def arguments_of(record: PromiseRecord, function: RegisteredFunction) -> tuple[list[Any], dict[str, Any]]:
    """Return the arguments of a recorded start. Raises DecodingError if they are not what is declared."""
    what = f"the arguments in {record.id}"
    tree: Any = codec.from_data(readable(record.value, what), what)
    return function.decode_arguments(tree["args"], tree["kwargs"])


def value_of(continuation: Continuation, function: RegisteredFunction) -> Value:
    """Return the arguments of a next round as they are stored. Raises TypeError and EncodingError."""
    function.signature.bind(*continuation.args, **continuation.kwargs)
    what = f"argument {{}} of {function}"
    tree: dict[str, object] = {
        "args": [codec.encode(one, what.format(index + 1)) for index, one in enumerate(continuation.args)],
        "kwargs": {key: codec.encode(one, what.format(key)) for key, one in continuation.kwargs.items()},
    }
    return Value(data=codec.to_data(tree))


def next_round(branch: Branch) -> Outcome | Value:
    """Return the arguments with which a workflow that has ended starts over, as stored, else its outcome.

    Arguments that do not fit or cannot be stored are a failure, and so is a continuation that was asked for
    and not returned.
    """
    outcome = branch.outcome
    if outcome is None:
        raise RuntimeError(f"{branch.caller.id} has not ended")
    if not isinstance(outcome, Returned):
        return outcome
    if not isinstance(outcome.value, Continuation):
        return Raised(NotReturned(branch.function, branch.caller.id)) if branch.continues else outcome
    try:
        return value_of(outcome.value, branch.function)
    except (TypeError, codec.EncodingError) as error:
        return Raised(error)


async def start_over(execution: Execution, branch: Branch, value: Value) -> None:
    """Record the next round of a workflow whose children have all ended, and begin it."""
    function, workflow_id = branch.function, branch.caller.id
    create = calls.own_step(branch.caller, branch.next_number(), NAME).create
    now_ms = execution.around.clock.now_ms()
    forgotten = execution.continuations.leave_behind(workflow_id)
    record = await execution.writer.record(
        create, PromiseState.RESOLVED, value, now_ms, forgets=forgotten[:FORGETS_MAX]
    )
    execution.continuations.start(workflow_id, record)
    execution.continuations.called(workflow_id).update(dict.fromkeys(forgotten[FORGETS_MAX:]))
    execution.guard.forget(workflow_id, forgotten)
    execution.closed(branch)
    execution.open(branch.promise, function, *branch.arguments, branch.future)
