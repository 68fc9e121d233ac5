"""A load of plain HTTP requests that costs next to nothing to make, so that what is measured is the server.

A client library takes as long for a request as the server does, and half of two processors.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import cast
from urllib.parse import urlsplit

from benchmarks.engine.shapes import FAR, random_id
from orchestrator.protocol import commands as c
from orchestrator.protocol.envelope import encode_request

_LENGTH = b"content-length:"
_END = b"\r\n\r\n"


class Failed(Exception):
    """The server answered something else than 200."""


class PlainConnection(asyncio.Protocol):
    """One connection that is kept, with one request under way at a time."""

    def __init__(self, host: str) -> None:
        self._head = (
            f"POST / HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: "
        ).encode()
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._answer: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, error: Exception | None) -> None:
        """Fail what is under way."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error or Failed("the server has closed the connection"))

    def data_received(self, data: bytes) -> None:
        """Take a part of an answer; the last one ends the request."""
        self._received += data
        head, end, body = self._received.partition(_END)
        if not end or self._answer is None:
            return
        length = head.lower().partition(_LENGTH)[2].partition(b"\r\n")[0]
        if len(body) < int(length):
            return
        self._received = b""
        if head.startswith(b"HTTP/1.1 200"):
            self._answer.set_result(None)
        else:
            self._answer.set_exception(Failed(body.decode(errors="replace")))

    async def create(self) -> None:
        """Create a promise. Raises Failed."""
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        body = encode_request(c.PromiseCreate(id=random_id(), timeout_at=FAR), "load")
        self._transport.write(b"%s%d%s%s" % (self._head, len(body), _END, body))
        await self._answer

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.close()


@asynccontextmanager
async def plain_connections(url: str, count: int) -> AsyncIterator[list[PlainConnection]]:
    """Open so many connections to a server without TLS."""
    place, loop, made = urlsplit(url), asyncio.get_running_loop(), list[PlainConnection]()
    host, port = place.hostname or "localhost", place.port or 80
    try:
        for _ in range(count):
            _, connection = await loop.create_connection(partial(PlainConnection, place.netloc), host, port)
            made.append(connection)
        yield made
    finally:
        for connection in made:
            connection.close()
