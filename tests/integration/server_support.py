"""A small scripted engine to serve, and the ways in which the server's tests speak to it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp

from orchestrator.domain.errors import Refused
from orchestrator.engine import Statistics
from orchestrator.protocol import commands as c
from orchestrator.protocol.messages import Execute, Message, Unblock
from orchestrator.protocol.records import PromiseRecord, PromiseState, Value
from orchestrator.protocol.transport import Receiver
from orchestrator.server import ProofSource, ServerSettings, create_app, listening
from orchestrator.store import StoreError
from orchestrator.store.port import Gauges

FAR = 4_000_000_000_000


def promise(promise_id: str, **changes: Any) -> PromiseRecord:
    """Make a record, pending unless told otherwise."""
    fields: dict[str, Any] = {
        "id": promise_id,
        "state": PromiseState.PENDING,
        "param": Value(),
        "value": Value(),
        "tags": {},
        "timeout_at": FAR,
        "created_at": 1,
    }
    return PromiseRecord(**(fields | changes))


def execute(task_id: str, version: int = 0) -> Execute:
    return Execute(task=c.TaskReference(id=task_id, version=version))


def unblock(promise_id: str, data: str = "") -> Unblock:
    return Unblock(promise=promise(promise_id, state=PromiseState.RESOLVED, value=Value(data=data)))


class ScriptedConnection:
    def __init__(
        self, engine: ScriptedEngine, group: str, member: str, receive: Receiver, may_hear_of: Any
    ) -> None:
        self.engine, self.group, self.member, self.receive = engine, group, member, receive
        self.may_hear_of = may_hear_of

    def close(self) -> None:
        self.engine.connections.remove(self)
        self.engine.changed.set()


class ScriptedEngine:
    """Keeps promises in a dictionary; `before` may raise or wait in place of an answer."""

    def __init__(self) -> None:
        self.promises: dict[str, PromiseRecord] = {}
        self.handled: list[c.Command[Any]] = []
        self.connections: list[ScriptedConnection] = []
        self.changed = asyncio.Event()
        self.statistics = Statistics()
        self.before: Callable[[c.Command[Any]], Awaitable[None]] | None = None

    async def handle(self, command: Any) -> Any:
        self.handled.append(command)
        if self.before is not None:
            await self.before(command)
        match command:
            case c.PromiseGet(id=promise_id):
                if promise_id not in self.promises:
                    raise Refused(404, "Promise not found")
                return c.PromiseAnswer(promise=self.promises[promise_id])
            case c.PromiseCreate(id=promise_id):
                record = promise(promise_id, tags=command.tags, timeout_at=command.timeout_at)
                return c.PromiseAnswer(promise=self.promises.setdefault(promise_id, record))
            case c.PromiseSearch():
                return self._page(command)
            case c.TaskSuspend():
                return c.SuspendAnswer(suspended=False, preload=[])
            case _:
                raise Refused(409, f"{command.KIND} is not scripted")

    def _page(self, search: c.PromiseSearch) -> c.PromisePage:
        found = [
            record
            for promise_id, record in sorted(self.promises.items())
            if promise_id > (search.cursor or "") and search.tags.items() <= record.tags.items()
        ]
        page = found[: search.limit]
        return c.PromisePage(promises=page, cursor=page[-1].id if len(found) > len(page) else None)

    async def gauges(self) -> Gauges:
        raise StoreError("a scripted engine has no store")

    def connect(
        self, group: str, member: str, receive: Receiver, *, may_hear_of: Any = None
    ) -> ScriptedConnection:
        connection = ScriptedConnection(self, group, member, receive, may_hear_of)
        self.connections.append(connection)
        self.changed.set()
        return connection

    def deliver(self, group: str, member: str, message: Message) -> bool:
        """Deliver as an engine does: to the newest connection of that member."""
        for connection in reversed(self.connections):
            if (connection.group, connection.member) == (group, member):
                connection.receive(message)
                return True
        return False

    async def until(self, condition: Callable[[ScriptedEngine], bool]) -> None:
        """Wait until the connections are as they should be."""
        async with asyncio.timeout(10):
            while not condition(self):
                self.changed.clear()
                await self.changed.wait()


@contextlib.asynccontextmanager
async def served(engine: Any, proofs: ProofSource | None = None, **settings: Any) -> AsyncIterator[str]:
    """Serve an engine on a free loopback port."""
    app = create_app(engine, ServerSettings(**({"port": 0, "shutdown_s": 2.0} | settings)), proofs)
    async with listening(app) as url:
        yield url


async def post(url: str, body: bytes | str, **headers: str) -> tuple[int, Any]:
    """Post raw bytes to the RPC endpoint; return the HTTP status and the envelope."""
    async with aiohttp.ClientSession() as session, session.post(url, data=body, headers=headers) as response:
        return response.status, await response.json()


async def get(url: str, path: str, **headers: str) -> tuple[int, bytes, Any]:
    """Get a path; return status, body and headers."""
    async with aiohttp.ClientSession() as session, session.get(url + path, headers=headers) as response:
        return response.status, await response.read(), response.headers


class RawStream:
    """A poll connection read as plain bytes from the socket, to see exactly what is sent."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def until(self, end: bytes) -> bytes:
        async with asyncio.timeout(10):
            return await self.reader.readuntil(end)

    async def rest(self) -> bytes:
        async with asyncio.timeout(10):
            return await self.reader.read()


@contextlib.asynccontextmanager
async def raw_stream(url: str, path: str, *header_lines: str) -> AsyncIterator[RawStream]:
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    lines = [f"GET {path} HTTP/1.1", f"Host: {host}:{port}", *header_lines, "", ""]
    writer.write("\r\n".join(lines).encode())
    await writer.drain()
    try:
        yield RawStream(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
