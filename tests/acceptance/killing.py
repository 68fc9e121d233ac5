"""Ports that end their own process with SIGKILL just before or just after a chosen operation.

Every port names its operations in one text: a command by kind and ids (`promise.create scoreProposal-…`, with
its action if it has one), a node's request by method (`rpc eth_getLogs`), a cursor store's by method
(`store advance`). SIGKILL runs no handler, flushes nothing and closes nothing: what is left was durable.
`inside` is for operations that can say where their inside is: the transaction of a store, before its commit.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, cast

from contracts.rpc import Node
from contracts.rpc.connection import Connection, Outcome
from listener import CursorStore
from orchestrator.protocol.commands import Command
from orchestrator.protocol.transport import Receiver, Transport

T = TypeVar("T")
AnswerT = TypeVar("AnswerT")
_FORM = re.compile(r"(before|inside|after):(\d+):(.+)")
When = Literal["before", "inside", "after"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KillPoint:
    """Where to die: before, inside or after the `nth` operation (from 1) that `match` (a regex) is in."""

    when: When
    match: str
    nth: int = 1

    @classmethod
    def parse(cls, text: str) -> KillPoint:
        """Read `before:2:promise.settle votingEnded`."""
        found = _FORM.fullmatch(text)
        if found is None:
            raise ValueError(f"not a kill point: {text!r} (expected before|inside|after:NTH:REGEX)")
        when = cast(When, found[1])
        return cls(when=when, nth=int(found[2]), match=found[3])

    def __str__(self) -> str:
        return f"{self.when}:{self.nth}:{self.match}"


class Killer:
    """Counts operations, over all ports that it was given to, and ends the process at its point."""

    def __init__(self, point: KillPoint | None) -> None:
        self._point = point
        self._seen = 0
        self._inside = False

    async def around(self, operation: str, call: Callable[[], Awaitable[T]]) -> T:
        """Carry out an operation, unless this is where to die."""
        dying = self._meant(operation)
        if dying == "before":
            _die()
        self._inside = dying == "inside"
        answer = await call()
        if dying == "after":
            _die()
        return answer

    def at_once(self, operation: str, call: Callable[[], T | None]) -> T | None:
        """Like `around`, for what may decline by returning None, having done nothing: it comes again."""
        seen = self._seen
        dying = self._meant(operation)
        if dying == "before":
            _die()
        self._inside = dying == "inside"
        answer = call()
        if answer is None:
            self._seen = seen
        elif dying == "after":
            _die()
        return answer

    @property
    def dies_inside(self) -> bool:
        """Whether the operation under way is the one to die inside of."""
        return self._inside

    def inside(self) -> None:
        """Die if the operation under way is the one to die inside of."""
        if self._inside:
            _die()

    def _meant(self, operation: str) -> str | None:
        if self._point is None or not re.search(self._point.match, operation):
            return None
        self._seen += 1
        return self._point.when if self._seen == self._point.nth else None


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def operation_of(command: Command[Any]) -> str:
    """Return a command's name: its kind, its id, and the same of an action inside."""
    names = [command.KIND]
    for field in ("id", "awaited", "awaiter"):
        if isinstance(value := getattr(command, field, None), str):
            names.append(value)
    actions = getattr(command, "actions", None) or [getattr(command, "action", None)]
    return " ".join([*names, *(operation_of(action) for action in actions if action is not None)])


class KillingTransport:
    """A `Transport` around another."""

    def __init__(self, inner: Transport, killer: Killer) -> None:
        self._inner = inner
        self._killer = killer

    async def call(self, command: Command[AnswerT]) -> AnswerT:
        return await self._killer.around(operation_of(command), lambda: self._inner.call(command))

    def connect(self, group: str, pid: str, receive: Receiver) -> AbstractAsyncContextManager[None]:
        return self._inner.connect(group, pid, receive)

    async def close(self) -> None:
        await self._inner.close()


class _KillingConnection:
    """A node's connection around another."""

    def __init__(self, inner: Connection, killer: Killer) -> None:
        self._inner = inner
        self._killer = killer
        self.endpoint = inner.endpoint

    async def __aenter__(self) -> _KillingConnection:
        await self._inner.__aenter__()
        return self

    async def __aexit__(self, *caught: Any) -> None:
        await self._inner.__aexit__(*caught)

    async def request(self, method: str, params: Sequence[object]) -> Outcome:
        return await self._killer.around(f"rpc {method}", lambda: self._inner.request(method, params))

    async def batch(self, requests: Sequence[tuple[str, Sequence[object]]]) -> list[Outcome]:
        methods = " ".join(sorted({method for method, _ in requests}))
        return await self._killer.around(f"rpc {methods}", lambda: self._inner.batch(requests))


def killing_node(node: Node, killer: Killer) -> Node:
    """Make a node's requests, reads and writes alike, operations of `killer`; return the node."""
    for endpoint in node.pool.endpoints:
        endpoint.connection = cast(Any, _KillingConnection(endpoint.connection, killer))
    return node


class _Killing:
    """Any object of async methods, each of them an operation `label method`."""

    def __init__(self, inner: object, killer: Killer, label: str) -> None:
        self._inner = inner
        self._killer = killer
        self._label = label

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self._inner, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            return await self._killer.around(f"{self._label} {name}", lambda: method(*args, **kwargs))

        return call


def killing_store(store: CursorStore, killer: Killer) -> CursorStore:
    """Make a cursor store's methods operations of `killer`: `store advance`, `store record`."""
    return cast(CursorStore, _Killing(store, killer, "store"))
