"""Requests on one WebSocket, which costs a tenth of what HTTP does for each (extension `channel`).

Only to a server that announces it. Where the connection cannot be had, or is of no use, since what stands
before the server does not let it through, requests go as they always did, and it is tried again later.
"""

from __future__ import annotations

import asyncio
from time import monotonic

import aiohttp
import msgspec
import structlog
from yarl import URL

from orchestrator.domain.errors import Unavailable
from orchestrator.protocol.envelope import response_head
from orchestrator.protocol.lines import portions
from orchestrator.transport.bundles import CLOSED, Exchanged
from orchestrator.transport.outage import once
from orchestrator.transport.token import authorization

AGAIN_S = 60.0
"""How long a channel that was refused is left alone."""
CLOSE_S = 1.0
"""How long the server may take to say that it has seen the end of a connection."""
HEARTBEAT_S = 15.0
"""A connection on which nothing comes for so long is asked whether it still stands, and given up if not."""
_REDIRECTS = range(300, 400)
_log = structlog.get_logger(__name__)


class ChannelRefused(Exception):
    """There is no channel to be had for now."""


class Channel:
    """The channel at `url`, opened for the first request, and again when it has closed.

    A request is answered within `timeout_s`; a connection is made within `connect_s`, and so is its upgrade.
    What is answered together has at most `answer_bytes_max`. Use within one event loop.
    """

    def __init__(self, url: URL, *, timeout_s: float, connect_s: float, answer_bytes_max: int) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._connect_s = connect_s
        self._answer_bytes_max = answer_bytes_max
        self._session: aiohttp.ClientSession | None = None
        self._connection: _Connection | None = None
        self._opening: asyncio.Task[_Connection] | None = None
        self._refused_at: float | None = None

    async def exchange(self, corr_id: str, body: bytes, token: str | None) -> Exchanged:
        """Send a request with what else is asked in this turn of the loop, and return its answer.

        Raises ChannelRefused if it is to be sent in another way; aiohttp.ClientError if the connection
        failed, TimeoutError if there was no answer in time.
        """
        connection = self._connection
        if connection is None or connection.ended:
            connection = await self._connected(token)
        return await connection.exchange(corr_id, body, self._timeout_s)

    async def _connected(self, token: str | None) -> _Connection:
        """Return a connection that stands; whoever asks meanwhile shares what becomes of it."""
        if self._opening is None:
            ended, self._connection = self._connection, None
            if ended is not None and not ended.answered:
                self._refuse("it closed before it answered")
            if self._refused_at is not None and monotonic() - self._refused_at < AGAIN_S:
                raise ChannelRefused
            self._opening = asyncio.create_task(self._connect(token))
            self._opening.add_done_callback(self._opened)
        opening = self._opening
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            if opening.cancelled():
                raise Unavailable(CLOSED) from None
            raise

    async def _connect(self, token: str | None) -> _Connection:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=self._connect_s, sock_read=self._connect_s
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                middlewares=(_stay, once),
            )
        try:
            socket = await self._session.ws_connect(
                self._url,
                headers=authorization(token),
                heartbeat=HEARTBEAT_S,
                timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_S),
                max_msg_size=self._answer_bytes_max,
            )
        except aiohttp.WSServerHandshakeError as error:
            self._refuse(f"status {error.status}")
            raise ChannelRefused from error
        except aiohttp.SocketTimeoutError as error:
            self._refuse(f"no answer within {self._connect_s:g} s")
            raise ChannelRefused from error
        self._connection = _Connection(socket)
        return self._connection

    def _opened(self, opening: asyncio.Task[_Connection]) -> None:
        self._opening = None
        if not opening.cancelled():
            opening.exception()  # nobody may have stayed to hear of it

    def _refuse(self, reason: str) -> None:
        self._refused_at = monotonic()
        _log.info("channel_refused", reason=reason, again_in_s=AGAIN_S)

    async def close(self) -> None:
        """Give up what is under way: who waits is told that there was no answer."""
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait([self._opening])
        if self._connection is not None:
            await self._connection.close()
        if self._session is not None:
            await self._session.close()


async def _stay(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Go nowhere else: whoever a redirection leads to would be told the token by each request."""
    response = await handler(request)
    if response.status in _REDIRECTS:
        response.close()
        raise aiohttp.WSServerHandshakeError(
            response.request_info, response.history, status=response.status, message="redirected"
        )
    return response


class _Connection:
    """One WebSocket, and who waits for answers on it. `answered` tells whether any has come."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.ended = self.answered = False
        self._socket = socket
        self._lines: list[bytes] = []
        self._asked: dict[str, asyncio.Future[Exchanged]] = {}
        self._sending: set[asyncio.Task[None]] = set()
        self._reading = asyncio.create_task(self._read())

    async def exchange(self, corr_id: str, body: bytes, timeout_s: float) -> Exchanged:
        if self.ended:
            raise aiohttp.ServerDisconnectedError("the channel was closed")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Exchanged] = loop.create_future()
        # A timer of the loop costs a fifth of what a context manager does, for every call.
        late = loop.call_later(timeout_s, _fail, answer, TimeoutError("no answer in time"))
        self._asked[corr_id] = answer
        self._lines.append(body)
        if len(self._lines) == 1:
            task = asyncio.create_task(self._send())
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)
        try:
            return await answer
        finally:
            late.cancel()
            self._asked.pop(corr_id, None)

    async def _send(self) -> None:
        lines, self._lines = self._lines, []
        try:
            for some in portions(lines, len):
                await self._socket.send_bytes(b"\n".join(some))
        except (aiohttp.ClientError, ConnectionError) as error:
            self._end(aiohttp.ServerDisconnectedError(f"the channel failed: {error}"))

    async def _read(self) -> None:
        reason = "the channel was closed"
        try:
            async for message in self._socket:
                if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                    reason = f"the channel failed: {message.data}"
                    break
                self._take(message.data if isinstance(message.data, bytes) else message.data.encode())
        except msgspec.DecodeError as error:
            reason = f"the channel brought something else than answers: {error}"
        finally:
            self._end(aiohttp.ServerDisconnectedError(reason))
            await self._socket.close()

    def _take(self, data: bytes) -> None:
        for line in data.split(b"\n"):
            head = response_head(line)
            self.answered = True
            asked = self._asked.get(head.corr_id)
            if asked is not None and not asked.done():  # else its caller has gone
                asked.set_result((head.status, line))

    def _end(self, error: Exception) -> None:
        self.ended = True
        for asked in self._asked.values():
            _fail(asked, error)

    async def close(self) -> None:
        self._end(Unavailable(CLOSED))
        self._reading.cancel()
        await asyncio.wait([self._reading])


def _fail(answer: asyncio.Future[Exchanged], error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)
