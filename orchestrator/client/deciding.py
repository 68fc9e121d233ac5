"""How a choice comes about: it waits for its members, is recorded, and ends what lost.

Invariants: W2 what the store holds as chosen counts, whatever this execution would have chosen. W3 losers
in this process have ended before a choice is seen. A workflow elsewhere is asked to end, and not waited for:
the workers of its group may be away.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from orchestrator.client.calls import Call
from orchestrator.client.choices import Choice
from orchestrator.client.future import DurableFuture, Gathered
from orchestrator.client.pending import PendingCall
from orchestrator.domain import tags as tag
from orchestrator.domain.promise import EMPTY, PromiseState
from orchestrator.protocol.records import PromiseRecord

if TYPE_CHECKING:
    from orchestrator.client.execution import Execution


async def decide(choice: Choice[Any], execution: Execution, pending: PendingCall[Call]) -> None:
    """Have a choice decided once its members allow it, or finish one that was recorded."""
    # What is remote is known only once its creation has been answered.
    await pending.branch.creations_written()
    record = pending.record
    if record is not None and not record.pending:
        _conclude(execution, choice, record)
        return
    deciding = _Deciding(execution, choice, pending.call)
    choice.give_up = deciding.give_up
    if execution.cancellations.asked(choice.id):
        deciding.give_up()
    elif choice.before is None:
        deciding.start()
    else:
        choice.before.when_settled(deciding.start)


class _Deciding:
    """Listens to the arrival of members until the choice is made."""

    __slots__ = ("_call", "_choice", "_execution")

    def __init__(self, execution: Execution, choice: Choice[Any], call: Call) -> None:
        self._execution = execution
        self._choice = choice
        self._call = call

    def start(self) -> None:
        if not self._choice.over:
            self._choice.arrivals.tell(self.look)

    def look(self) -> None:
        decided = None if self._choice.over or self._choice.doomed else self._choice.decide()
        if decided is not None:
            self._end(PromiseState.RESOLVED, decided.chosen)

    def give_up(self) -> None:
        if not self._choice.over:
            self._end(PromiseState.REJECTED_CANCELED, None)

    def _end(self, state: PromiseState, chosen: int | None) -> None:
        self._choice.over = True
        self._choice.arrivals.hush(self.look)
        self._execution.spawn(partial(self._record, state, chosen))

    async def _record(self, state: PromiseState, chosen: int | None) -> None:
        execution, losers = self._execution, self._choice.lost_to(chosen)
        # After a death what has lost is ended: what a loser gives is stored before the choice, or never.
        await execution.cancellations.written(losers)
        execution.cancellations.doom(loser for loser in losers if loser.record is None)
        now_ms = execution.around.clock.now_ms()
        value = self._choice.value(chosen)
        record = await execution.writer.record(self._call.create, state, value, now_ms)
        _conclude(execution, self._choice, record)


def _conclude(execution: Execution, choice: Choice[Any], record: PromiseRecord) -> None:
    choice.read(record)
    waited_for = []
    for loser in choice.losers():
        if loser.call is not None and tag.TARGET in loser.call.create.tags:
            execution.spawn(partial(execution.cancellations.end_remote, loser, outlives=True))
            continue
        waited_for.append(loser)
        if loser.remote:
            execution.spawn(partial(call_off, execution, loser))
        else:
            execution.cancellations.end(loser)
    Gathered(tuple(waited_for)).when_settled(partial(execution.observe, record))


async def call_off(execution: Execution, future: DurableFuture[Any]) -> None:
    """End a timer, or a promise of this workflow that others would settle."""
    record = await execution.writer.settle(future.id, PromiseState.REJECTED_CANCELED, EMPTY)
    execution.observe(record)
