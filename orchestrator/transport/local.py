"""The transport inside one process: the very engine that a server runs, called directly.

Commands and records are immutable, so that nothing is copied or encoded on the way. What a worker acquires
through here ends with this process, and is released when the next one takes over the store.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar

from orchestrator.domain.errors import Unavailable
from orchestrator.engine import Engine
from orchestrator.protocol.commands import Command
from orchestrator.protocol.transport import Receiver

AnswerT = TypeVar("AnswerT")


class LocalTransport:
    """A Transport over an engine that somebody else starts and stops."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._closed = False

    def call(self, command: Command[AnswerT]) -> Coroutine[Any, Any, AnswerT]:
        """Carry out one command; see the port."""
        if self._closed:
            raise Unavailable("the transport is closed")
        return self._engine.handle(command, embedded=True)

    def connect(self, group: str, pid: str, receive: Receiver) -> AbstractAsyncContextManager[None]:
        """Take messages as member `pid` of `group` until left; see the port."""
        return self._connected(group, pid, receive)

    @asynccontextmanager
    async def _connected(self, group: str, pid: str, receive: Receiver) -> AsyncIterator[None]:
        if self._closed:
            raise Unavailable("the transport is closed")
        connection = self._engine.connect(group, pid, receive, embedded=True)
        try:
            yield
        finally:
            connection.close()

    async def close(self) -> None:
        """Let go; the engine goes on."""
        self._closed = True
