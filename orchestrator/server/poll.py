"""`GET /poll/{group}/{id}`: delivery of messages as server-sent events.

The stream opens with a comment, so that the client knows it stands, and ends when the server stops, the
client leaves, the client stops reading or its token expires. A member hears only of promises that its
token may touch; what it may not goes to others of its group. A second connection of the same member
is accepted; the engine prefers the newest, since a stale half-open socket would otherwise swallow the
messages.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack

import structlog
from aiohttp import web

from orchestrator.domain.errors import Refused
from orchestrator.server.auth import Authenticator
from orchestrator.server.auth_identity import Identity
from orchestrator.server.metrics import ServerMetrics
from orchestrator.server.port import ServedEngine
from orchestrator.server.settings import ServerSettings
from orchestrator.server.streams import KEEP_ALIVE, DeliveryStream

_log = structlog.get_logger(__name__)
_HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-cache",
    # Proxies that buffer would hold a message back until the next one.
    "X-Accel-Buffering": "no",
}


class PollRoute:
    """Holds the open delivery streams of one server."""

    def __init__(
        self,
        engine: ServedEngine,
        settings: ServerSettings,
        authenticator: Authenticator,
        metrics: ServerMetrics,
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._authenticator = authenticator
        self._metrics = metrics
        self._streams: set[DeliveryStream] = set()
        self._closed = False

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve one stream until it ends."""
        try:
            identity = self._authenticator.check_read(request)
        except Refused as refusal:
            return web.Response(status=refusal.status, text=refusal.message)
        if self._closed or len(self._streams) >= self._settings.connections_max:
            return web.Response(
                status=503, text="Too many delivery connections: raise connections_max or add a server"
            )
        stream = DeliveryStream(
            buffer_messages=self._settings.buffer_messages,
            buffer_bytes=self._settings.buffer_bytes,
            keep_alive_s=self._settings.keep_alive_s,
        )
        self._streams.add(stream)
        try:
            with _expiring(stream, identity):
                return await self._serve(request, stream, identity)
        finally:
            self._streams.discard(stream)
            self._count()

    async def _serve(
        self, request: web.Request, stream: DeliveryStream, identity: Identity
    ) -> web.StreamResponse:
        group, member = request.match_info["group"], request.match_info["member"]
        response = web.StreamResponse(headers=_HEADERS)
        # Before the answer's head is sent: a member that sees its stream stand can be reached.
        may_hear_of = identity.may_touch if identity.prefix else None
        connection = self._engine.connect(group, member, stream.receive, may_hear_of=may_hear_of)
        self._count()
        _log.info("delivery_connected", group=group, member=member)
        try:
            await response.prepare(request)
            await self._pump(response, stream)
        except (ConnectionError, TimeoutError) as error:
            _log.info("delivery_reader_gone", group=group, member=member, reason=type(error).__name__)
            _abort(request)
        finally:
            connection.close()
            self._metrics.stream_ended(received=stream.received, dropped=stream.dropped)
            _log.info("delivery_disconnected", group=group, member=member, dropped=stream.dropped)
        return response

    async def _pump(self, response: web.StreamResponse, stream: DeliveryStream) -> None:
        sending: bytes | None = KEEP_ALIVE
        while sending is not None:
            async with asyncio.timeout(self._settings.stall_s):
                await response.write(sending)
            sending = await stream.next_bytes()
        async with asyncio.timeout(self._settings.stall_s):
            await response.write_eof()

    def _count(self) -> None:
        self._metrics.streams.set(len(self._streams))

    def close(self) -> None:
        """End every stream and accept no more."""
        self._closed = True
        for stream in self._streams:
            stream.close()


def _expiring(stream: DeliveryStream, identity: Identity) -> ExitStack:
    """Close the stream when its token expires; leaving forgets about it."""
    stack = ExitStack()
    if identity.expires_at is not None:
        remaining_s = max(0.0, identity.expires_at - time.time())
        stack.callback(asyncio.get_running_loop().call_later(remaining_s, stream.close).cancel)
    return stack


def _abort(request: web.Request) -> None:
    """Drop the socket of a reader that takes nothing: an orderly close would wait for it."""
    if request.transport is not None:
        request.transport.abort()
