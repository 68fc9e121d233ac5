"""What the server needs of an engine, so that it can serve any that keeps this promise."""

from __future__ import annotations

from typing import Protocol, TypeVar

from orchestrator.engine import MayHearOf, Receive, Statistics
from orchestrator.protocol.commands import Answer, Command
from orchestrator.store.port import Gauges

AnswerT = TypeVar("AnswerT", bound=Answer)


class Connection(Protocol):
    """A member's registration with the engine."""

    def close(self) -> None:
        """Receive nothing more."""
        ...


class RequestObserver(Protocol):
    """Hears of each command that comes in. Must neither block nor raise."""

    def on_request_started(self, traceparent: str | None) -> object:
        """Learn that a request came in; what is returned is given back at its end, in the same context."""
        ...

    def on_request_ended(self, begun: object, kind: str, status: int, promise_id: str | None) -> None:
        """Learn how the request ended: its operation, the protocol's status, the id that it named."""
        ...


class ServedEngine(Protocol):
    """The engine as its server sees it."""

    @property
    def statistics(self) -> Statistics:
        """What it counts about itself."""
        ...

    async def handle(self, command: Command[AnswerT], *, debug_time: int | None = None) -> AnswerT:
        """Carry out one command. Raises Refused or Unavailable.

        `debug_time` (Unix milliseconds) replaces the clock of an engine that is being debugged.
        """
        ...

    def connect(
        self, group: str, member: str, receive: Receive, *, may_hear_of: MayHearOf | None = None
    ) -> Connection:
        """Deliver the messages of `group` and `member` to `receive` until the connection is closed.

        Those about ids that `may_hear_of` denies pass it by.
        """
        ...

    async def gauges(self) -> Gauges:
        """Count what is open in the store. Raises OrchestratorError."""
        ...
