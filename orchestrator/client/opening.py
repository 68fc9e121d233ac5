"""Opening a workflow body within an execution: where its children stand, and what it is told of itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.client import steps
from orchestrator.client.branch import Branch
from orchestrator.client.calls import Caller, local_tags
from orchestrator.client.context import Context
from orchestrator.client.continuing import arguments_of, number_of
from orchestrator.client.driver import Driver
from orchestrator.client.future import DurableFuture
from orchestrator.client.registry import RegisteredFunction
from orchestrator.domain import tags as tag
from orchestrator.domain.ids import child_id, numbering_of
from orchestrator.domain.trace import under_promise
from orchestrator.protocol.records import PromiseRecord

if TYPE_CHECKING:
    from orchestrator.client.execution import Execution


def new_branch(
    execution: Execution,
    record: PromiseRecord,
    function: RegisteredFunction,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    *,
    future: DurableFuture[Any] | None,
) -> Branch:
    """Return the body of a workflow whose promise exists, to be stepped; `future` is None for a root."""
    task = execution.promise
    branch_id = task.tags.get(tag.BRANCH) or task.id
    children, first_number = numbering_of(record.id, execution.records)
    start, (given, named) = execution.continuations.of(record.id), (args, kwargs)
    if start is not None:
        given, named = arguments_of(start, function)
        children, first_number = child_id(record.id, 1).removesuffix("1"), number_of(start.id) + 1
    branch = Branch(
        promise=record,
        arguments=(args, kwargs),
        caller=Caller(
            id=record.id,
            origin=execution.origin,
            branch=branch_id,
            timeout_at=record.timeout_at,
            group=execution.around.group,
            trace=under_promise(task.tags.get(tag.TRACE), task.id),
            children=children,
            local=local_tags(record.id, execution.origin, branch_id),
        ),
        called=execution.continuations.called(record.id),
        first_number=first_number,
        function=function,
        bound=None if function.committer is None else steps.bind(function, args, kwargs),
        future=future,
    )
    branch.driver = Driver(function.fn(Context(execution, branch), *given, **named), function.title)
    return branch
