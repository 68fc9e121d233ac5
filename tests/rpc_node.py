"""A chain node that answers by script: whatever a node has been seen to answer, and what none should."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Answer = Callable[[dict[str, Any]], Any]
"""Takes a request object; returns an answer object, or a `Raw` that is sent as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Raw:
    """An HTTP answer byte by byte; `hang` sends none at all."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    hang: bool = False
    drop: bool = False


@dataclass(slots=True)
class ScriptedNode:
    """Answers are taken from `queue` first, a whole HTTP answer each, then from `answers` by method."""

    answers: dict[str, Answer] = field(default_factory=dict)
    queue: list[Raw] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)
    url: str = ""
    released: asyncio.Event = field(default_factory=asyncio.Event)

    def result(self, method: str, value: object) -> None:
        self.answers[method] = lambda request: {"jsonrpc": "2.0", "id": request["id"], "result": value}

    def error(self, method: str, code: int, message: str, data: object = None) -> None:
        error = {"code": code, "message": message} | ({} if data is None else {"data": data})
        self.answers[method] = lambda request: {"jsonrpc": "2.0", "id": request["id"], "error": error}

    async def serve(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read())
        self.bodies.append(body)
        if self.queue:
            return await self._raw(request, self.queue.pop(0))
        many = body if isinstance(body, list) else [body]
        answers = [self.answers[each["method"]](each) for each in many]
        for answer in answers:
            if isinstance(answer, Raw):
                return await self._raw(request, answer)
        return web.json_response(answers[::-1] if isinstance(body, list) else answers[0])

    async def _raw(self, request: web.Request, raw: Raw) -> web.StreamResponse:
        if raw.hang:
            await self.released.wait()
        if raw.drop and request.transport is not None:
            request.transport.abort()
        return web.Response(body=raw.body, status=raw.status, headers=raw.headers)


@asynccontextmanager
async def scripted_node() -> AsyncIterator[ScriptedNode]:
    """Serve a scripted node on a free port."""
    node = ScriptedNode()
    app = web.Application()
    app.router.add_post("/", node.serve)
    app.router.add_post("/v3/{key}", node.serve)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        node.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield node
    finally:
        node.released.set()
        await runner.cleanup()


def block(number: int, *, block_hash: bytes | None = None, **more: object) -> dict[str, object]:
    """A block as nodes answer it, and as little of it as is read."""
    own = block_hash or number.to_bytes(32, "big")
    return {
        "number": hex(number),
        "hash": "0x" + own.hex(),
        "parentHash": "0x" + max(number - 1, 0).to_bytes(32, "big").hex(),
        "timestamp": hex(1_700_000_000 + number),
        **more,
    }


def log(number: int, *, address: str = "0x" + "aa" * 20, topics: Sequence[str] = (), **more: object) -> Any:
    """A log as nodes answer it."""
    return {
        "address": address,
        "topics": list(topics),
        "data": "0x",
        "blockNumber": hex(number),
        "blockHash": "0x" + number.to_bytes(32, "big").hex(),
        "transactionHash": "0x" + "cc" * 32,
        "transactionIndex": "0x0",
        "logIndex": "0x0",
        "removed": False,
        **more,
    }
