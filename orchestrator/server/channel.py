"""`GET /channel`: a WebSocket for requests (extension `channel`): most of what a small one costs is HTTP.

Each message holds requests as of `POST /`, one a line. They are begun in their order, and each is answered on
a line of its own as soon as that is ready, in the messages back: `head.corrId` says whose an answer is.
Invariants: (1) each request proves by its own head who sent it, whoever opened the channel. (2) Nothing is
begun that could not be answered: a channel that closes answers first what it has begun, and drops what comes.
"""

from __future__ import annotations

import asyncio

import structlog
from aiohttp import WSCloseCode, WSMsgType, web

from orchestrator.domain.errors import Refused
from orchestrator.protocol.envelope import BUNDLE_MAX
from orchestrator.protocol.lines import TOGETHER_BYTES_MAX, portions
from orchestrator.server.auth import Authenticator
from orchestrator.server.metrics import ServerMetrics
from orchestrator.server.rpc import RpcRoute
from orchestrator.server.settings import ServerSettings

IN_FLIGHT_MAX = 1024
"""Requests of one channel that are carried out together; more are read when there is room."""
CLOSE_S = 1.0
"""How long a client may take to say that it has seen the end of its channel."""
_log = structlog.get_logger(__name__)


class ChannelRoute:
    """Holds the open channels of one server."""

    def __init__(
        self, rpc: RpcRoute, settings: ServerSettings, authenticator: Authenticator, metrics: ServerMetrics
    ) -> None:
        self._rpc = rpc
        self._settings = settings
        self._authenticator = authenticator
        self._metrics = metrics
        self._channels: set[_Channel] = set()
        self._closed = False

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve one channel until it closes."""
        try:
            self._authenticator.check_read(request)
        except Refused as refusal:
            return web.Response(status=refusal.status, text=refusal.message)
        if self._closed or len(self._channels) >= self._settings.connections_max:
            return web.Response(status=503, text="Too many channels: send commands to POST /")
        socket = web.WebSocketResponse(
            compress=False,
            heartbeat=self._settings.keep_alive_s,
            timeout=CLOSE_S,
            max_msg_size=max(self._settings.body_bytes_max, TOGETHER_BYTES_MAX),
        )
        if not socket.can_prepare(request):
            return web.Response(status=426, text="A WebSocket is expected", headers={"Upgrade": "websocket"})
        await socket.prepare(request)
        channel = _Channel(self._rpc, request, socket, self._settings.stall_s)
        self._channels.add(channel)
        self._count()
        try:
            await channel.serve()
        finally:
            self._channels.discard(channel)
            self._count()
        return socket

    def _count(self) -> None:
        self._metrics.channels.set(len(self._channels))

    async def close(self) -> None:
        """Answer what has been begun, for as long as a shutdown may take, and accept no more."""
        self._closed = True
        closing = [asyncio.create_task(channel.close()) for channel in self._channels]
        if closing:
            await asyncio.wait(closing, timeout=self._settings.shutdown_s)
        for task in closing:
            task.cancel()


class _Channel:
    """One connection, and what has been asked on it."""

    def __init__(
        self, rpc: RpcRoute, request: web.Request, socket: web.WebSocketResponse, stall_s: float
    ) -> None:
        self._rpc = rpc
        self._request = request
        self._socket = socket
        self._stall_s = stall_s
        self._room = asyncio.Semaphore(IN_FLIGHT_MAX)
        self._under_way: set[asyncio.Task[None]] = set()
        self._answers: list[bytes] = []
        self._closing = False

    async def serve(self) -> None:
        """Take requests until the channel closes; what is still under way then has lost its caller."""
        try:
            async for message in self._socket:
                if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                    break
                data = message.data if isinstance(message.data, bytes) else message.data.encode()
                if not await self._take(data):
                    break
        finally:
            for task in self._under_way:
                task.cancel()
            if self._under_way:
                await asyncio.wait(self._under_way)

    async def _take(self, data: bytes) -> bool:
        """Begin the requests of a message; tell whether to go on."""
        lines = data.split(b"\n")
        if len(lines) > BUNDLE_MAX:
            reason = f"at most {BUNDLE_MAX} requests a message"
            await self._socket.close(code=WSCloseCode.MESSAGE_TOO_BIG, message=reason.encode())
            return False
        for line in lines:
            await self._room.acquire()
            if self._closing:
                return True
            task = asyncio.create_task(self._carry_out(line))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
        return True

    async def _carry_out(self, line: bytes) -> None:
        try:
            _, payload = await self._rpc.answered(self._request, line)
        finally:
            self._room.release()
        self._answers.append(payload)
        if len(self._answers) > 1:
            return
        # What was committed together is answered in this very turn, and travels together.
        await asyncio.sleep(0)
        answers, self._answers = self._answers, []
        # A timer of the loop costs a fifth of what a context manager does, for every answer.
        stalled = asyncio.get_running_loop().call_later(self._stall_s, self._let_go, "takes no answers")
        try:
            for some in portions(answers, len):
                await self._socket.send_bytes(b"\n".join(some))
        except ConnectionError as error:
            self._let_go(type(error).__name__)
        finally:
            stalled.cancel()

    def _let_go(self, reason: str) -> None:
        _log.info("channel_reader_gone", reason=reason)
        if self._request.transport is not None:
            self._request.transport.abort()

    async def close(self) -> None:
        """Answer what has been begun, then close."""
        self._closing = True
        while self._under_way:
            await asyncio.wait(self._under_way)
        await self._socket.close(code=WSCloseCode.GOING_AWAY, message=b"the server is stopping")
