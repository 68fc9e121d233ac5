"""Choices among durable futures: which one settled first is a recorded child, so that replay decides alike.

Invariants: W2 replay sees the recorded choice, whatever has settled meanwhile. W3 what lost has ended before
the choice is seen: nothing that a workflow does afterwards races with the end of a loser.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from orchestrator.client import codec
from orchestrator.client.endings import ending_value
from orchestrator.client.future import Durable, DurableFuture, Outcome, Raised, Returned
from orchestrator.client.outcomes import error_of
from orchestrator.client.sealing import readable
from orchestrator.domain.errors import AllFailed, ApplicationError, TimedOut
from orchestrator.domain.promise import PromiseRecord, PromiseState, Value

if TYPE_CHECKING:
    from orchestrator.client.execution import Execution

T = TypeVar("T")

RACE = "ctx.race"
ANY = "ctx.any"
COMPLETED = "ctx.as_completed"
TIMEOUT = "ctx.timeout"


class Arrivals:
    """The members of a choice in the order in which they settle, ties by their place among the members.

    Several choices may draw from one, each another member.
    """

    __slots__ = ("_arrived", "_drawn", "_told", "_watching", "members")

    def __init__(self, members: Sequence[Durable[Any]]) -> None:
        self.members = tuple(members)
        self._arrived: list[tuple[int, int]] = []
        self._drawn: set[int] = set()
        self._told: list[Callable[[], None]] = []
        self._watching = False

    def tell(self, listener: Callable[[], None]) -> None:
        """Call `listener` now, and again at the next arrivals until `hush`."""
        self._told.append(listener)
        if not self._watching:
            self._watching = True
            for index, member in enumerate(self.members):
                member.when_settled(lambda index=index: self._arrive(index))  # type: ignore[misc]
        listener()

    def hush(self, listener: Callable[[], None]) -> None:
        """Call `listener` no more."""
        if listener in self._told:
            self._told.remove(listener)

    def take(self, index: int) -> None:
        """Note that a recorded choice has drawn this member."""
        self._drawn.add(index)

    def draw(self) -> int | None:
        """Return the earliest member that was not drawn, None if all those that have settled were."""
        while self._arrived:
            _, index = heappop(self._arrived)
            if index not in self._drawn:
                self._drawn.add(index)
                return index
        return None

    def exhausted(self) -> bool:
        """Tell whether every member has been drawn."""
        return len(self._drawn) == len(self.members)

    def _arrive(self, index: int) -> None:
        heappush(self._arrived, (self.members[index].settled_at(), index))
        for listener in tuple(self._told):
            listener()


class Decided(msgspec.Struct, frozen=True):
    """The member that is chosen, by its index from 0; None where none is."""

    chosen: int | None


class Choice(DurableFuture[T]):
    """The future of a recorded choice; its outcome is that of the member which was chosen.

    The record's value is the member's index from 0, or null where all failed. `before` is the choice that
    must be settled before this one decides; `over` says that it decides no more; `give_up` has it end
    undecided; `doomed` says that this is about to be asked for.
    """

    __slots__ = ("arrivals", "before", "chosen", "doomed", "give_up", "over", "rule")

    def __init__(
        self,
        promise_id: str,
        owner: Execution,
        rule: str,
        arrivals: Arrivals,
        before: DurableFuture[Any] | None,
    ) -> None:
        super().__init__(promise_id, None, owner)
        self.rule = rule
        self.arrivals = arrivals
        self.before = before
        self.chosen: int | None = None
        self.over = False
        self.doomed = False
        self.give_up: Callable[[], None] | None = None

    def decide(self) -> Decided | None:
        """Return what the members that have settled decide, None if nothing yet."""
        while (index := self.arrivals.draw()) is not None:
            if self.rule != ANY or isinstance(self.arrivals.members[index].outcome(), Returned):
                return Decided(index)
        return Decided(None) if self.arrivals.exhausted() else None

    def value(self, chosen: int | None) -> Value:
        """Return what the record of a choice holds: which member, and which calls end for it."""
        if self.rule == COMPLETED:
            return Value(data=codec.to_data({"chosen": chosen}))
        return ending_value((part.id for part in self.lost_to(chosen)), chosen=chosen)

    def read(self, record: PromiseRecord) -> None:
        """Take what the store says was chosen."""
        if record.state is PromiseState.RESOLVED and self.chosen is None:
            what = f"the choice {record.id}"
            tree = codec.from_data(readable(record.value, what), what)
            chosen = tree.get("chosen") if isinstance(tree, dict) else None
            if isinstance(chosen, int):
                self.chosen = chosen
                self.arrivals.take(chosen)

    def losers(self) -> list[DurableFuture[Any]]:
        """Return the futures that end for this choice and have not."""
        return [part for part in self.lost_to(self.chosen) if part.record is None]

    def lost_to(self, chosen: int | None) -> list[DurableFuture[Any]]:
        """Return the futures that end for a choice of this member, None for a choice of none.

        What has settled stands among them, too: the record must not depend on who was quick.
        """
        if self.rule == COMPLETED:
            return []  # they have their turn later
        winner = self.arrivals.members[chosen] if chosen is not None else None
        won = set(winner.parts()) if winner is not None else set()
        parts = (part for one in self.arrivals.members if one is not winner for part in one.parts())
        return list(dict.fromkeys(part for part in parts if part.bound and part not in won))

    def may_settle(self, record: PromiseRecord) -> bool:
        """Tell whether every loser is known to have ended."""
        self.read(record)
        return not self.losers()

    def settle(self, record: PromiseRecord, outcome: Outcome | None = None) -> None:
        """Take the settled record; what a choice gives is not its own, but its winner's."""
        self.read(record)
        super().settle(record)

    def pending(self) -> DurableFuture[Any] | None:
        """Return itself while undecided; then what its outcome is made of, if that is not known here yet."""
        if self.record is None:
            return self
        open_ones = (member.pending() for member in self._shown())
        return next((future for future in open_ones if future is not None), None)

    def sources(self) -> Iterator[DurableFuture[Any]]:
        """Yield what any member waits for."""
        for member in self.arrivals.members:
            future = member.pending()
            if future is not None:
                yield from future.sources()

    def outcome(self) -> Outcome:
        """Return the outcome of the chosen member."""
        if self.record is None:
            raise RuntimeError(f"{self.id} is still open")
        if self.record.state is not PromiseState.RESOLVED:
            return Raised(error_of(self.record))
        if self.rule == TIMEOUT and self.chosen == 1:
            return Raised(TimedOut(f"{self.id}: what was awaited had not settled when its time was over"))
        if self.chosen is None:
            return Raised(AllFailed(self._errors()))
        return self.arrivals.members[self.chosen].outcome()

    def member(self) -> Durable[Any]:
        """Return the chosen member of a settled choice. Raises ApplicationError if it was cancelled."""
        if self.chosen is None:
            match self.outcome():
                case Raised(error):
                    raise error
        return self.arrivals.members[self.chosen or 0]

    def _shown(self) -> Sequence[Durable[Any]]:
        if self.record is None or self.record.state is not PromiseState.RESOLVED:
            return ()
        if self.chosen is None:
            return self.arrivals.members
        return () if self.rule == TIMEOUT and self.chosen == 1 else (self.arrivals.members[self.chosen],)

    def _errors(self) -> list[ApplicationError]:
        outcomes = [member.outcome() for member in self.arrivals.members]
        return [one.error for one in outcomes if isinstance(one, Raised)]  # type: ignore[misc]
