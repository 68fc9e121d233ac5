"""The port of a store that several engines use at once: what they tell one another, and the time they share.

There is no leader, and nothing here is needed for correctness: messages are hints.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from orchestrator.store.port import Outbox, Store

WaitingRow = tuple[str, int, str]
"""An outbox row: the id of its task or promise, when it was queued (Unix milliseconds), its address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Outbox rows, named so that another server can take them over."""

    executes: list[WaitingRow] = field(default_factory=list)
    unblocks: list[WaitingRow] = field(default_factory=list)

    def empty(self) -> bool:
        """Tell whether there are none."""
        return not (self.executes or self.unblocks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """What a look at a shared store shows: its earliest deadline, and what still waits for some groups.

    `more` says that more waits than is shown.
    """

    deadline: int | None
    waiting: Waiting
    more: bool = False


class StoreClock(Protocol):
    """The time by which a shared store lives; its methods are those of an engine's clock."""

    def now_ms(self) -> int:
        """Return the present in Unix milliseconds."""
        ...

    async def sleep_until(self, moment_ms: int) -> None:
        """Return once the present is `moment_ms` (Unix milliseconds) or later."""
        ...


@runtime_checkable
class SharedStore(Store, Protocol):
    """A store that several engines use at once.

    An engine delivers what finds a connection of its own. Of the rest it tells the others, who claim what
    they can deliver; a claim is won by one of them only.
    """

    clock: StoreClock

    async def look(self, groups: Sequence[str]) -> Sighting:
        """Return the next deadline, and what has waited for these groups for some seconds; one query."""
        ...

    async def claim(self, waiting: Waiting) -> Outbox:
        """Return those of the messages that nobody has claimed, queued again or removed meanwhile."""
        ...

    def tell(self, waiting: Waiting) -> None:
        """Tell other engines, soon, of messages for which nobody listens here. May be lost."""
        ...

    def listen(self, heard: Callable[[Waiting], None]) -> None:
        """Call `heard` with what other engines tell."""
        ...
