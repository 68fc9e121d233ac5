"""How an execution comes to rest, and goes on from memory when something that it awaits has settled.

Invariants: T4 a suspended task has an unsettled awaited promise, or is already queued. W3 what has settled
meanwhile is taken in the order of its settlement, as if somebody had been looking.

Something that is heard while the suspension is on its way may begin a write, which the suspended task
refuses. Memory is then ahead of the record: such an execution is `disturbed`, and replayed instead.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING

from orchestrator.client import performing
from orchestrator.client.verdict import Ending, Verdict
from orchestrator.protocol import commands as c
from orchestrator.protocol.records import PromiseRecord

if TYPE_CHECKING:
    from orchestrator.client.execution import Execution

READS_MAX = 16
"""Awaited promises that are read one by one when a workflow goes on from memory; more come by preload."""
_REREAD_PAUSE_S = 0.05


async def rest(execution: Execution) -> None:
    """Suspend the task, or take what has settled of what is awaited."""
    awaited = execution.awaited_ids()
    if not awaited:
        raise RuntimeError(f"{execution.promise.id} waits for nothing that could settle")
    execution.rested_on, execution.resting = awaited, True
    answer = await performing.suspend(execution, awaited)
    if answer is not None and answer.suspended:
        execution.end(Verdict(ending=Ending.SUSPENDED))
        return
    execution.resting = execution.disturbed = False
    if answer is None:
        return
    _observe_all(execution, answer.preload)
    if answer.cancelled:
        return
    if all(execution.is_open(one) for one in awaited):
        await _read(execution, awaited)
        if all(execution.is_open(one) for one in awaited):
            await asyncio.sleep(_REREAD_PAUSE_S)


async def go_on(execution: Execution, claim: c.TaskClaim) -> None:
    """Take what has settled while the execution was suspended."""
    if not claim.promise.pending:
        execution.end(Verdict(ending=Ending.SETTLED, record=claim.promise))
        return
    _observe_all(execution, claim.preload)
    if len(execution.rested_on) <= READS_MAX:
        await _read(execution, execution.rested_on)
    if any(execution.is_open(one) for one in execution.rested_on):
        execution.watch_remote()


async def _read(execution: Execution, promise_ids: list[str]) -> None:
    _observe_all(
        execution, [await execution.writer.read(one) for one in promise_ids if execution.is_open(one)]
    )


def _observe_all(execution: Execution, records: Iterable[PromiseRecord]) -> None:
    for record in sorted(records, key=lambda one: (one.settled_at or 0, one.id)):
        execution.observe(record)
