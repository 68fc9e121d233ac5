"""The port between a client and an engine: the one door through which both meet."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol, TypeVar

from orchestrator.protocol.commands import Answer, Command
from orchestrator.protocol.messages import Message

AnswerT = TypeVar("AnswerT", bound=Answer)
Receiver = Callable[[Message], None]
"""Takes a message; must not block and must not raise."""


class Call(Protocol):
    """Carries out one command, as `Transport.call` and an engine's `handle` do."""

    async def __call__(self, command: Command[AnswerT], /) -> AnswerT:
        """Raises Refused or Unavailable."""
        ...


class Transport(Protocol):
    """Carries commands to an engine and messages back."""

    async def call(self, command: Command[AnswerT]) -> AnswerT:
        """Carry out one command.

        Raises Refused with the engine's status, or Unavailable when there was no answer: then the
        command may or may not have been carried out, and repeating it is safe (P2, T2).
        """
        ...

    def connect(self, group: str, pid: str, receive: Receiver) -> AbstractAsyncContextManager[None]:
        """Hold a delivery connection open as member `pid` of `group`, reconnecting until left.

        Entering waits until the first connection stands (at most some seconds; a server that is away is
        waited for in the background).
        """
        ...

    async def close(self) -> None:
        """Let go of connections; calls after this raise Unavailable."""
        ...
