"""The transport to a server elsewhere: commands over pooled HTTP connections, messages over SSE.

What the network does is `Unavailable`: the command may have been carried out or not, and repeating it is
safe (P2, T2). What the server says is `Refused`. An answer that no orchestrator would give is refused with
421, never as "not found": a wrong URL must not look like a missing promise.
"""

from __future__ import annotations

import asyncio
import io
import itertools
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Any, TypeVar
from urllib.parse import urlsplit

import aiohttp
import msgspec
from aiohttp import hdrs
from yarl import URL

from orchestrator.domain import trace
from orchestrator.domain.errors import Refused, Unavailable, Unreached
from orchestrator.protocol.commands import (
    EXTENSION_BUNDLE,
    EXTENSION_CHANNEL,
    Answer,
    Command,
    DescribeAnswer,
)
from orchestrator.protocol.envelope import BUNDLE_PATH, CHANNEL_PATH, decode_answer, encode_request
from orchestrator.protocol.lines import LINE_BYTES_MAX
from orchestrator.protocol.transport import Receiver
from orchestrator.transport.bundles import Bundles, Exchanged
from orchestrator.transport.channel import Channel, ChannelRefused
from orchestrator.transport.outage import Outage, once, unreached
from orchestrator.transport.skew import ClockWatch
from orchestrator.transport.stream import PollStream, StreamSettings
from orchestrator.transport.token import Token, TokenSource, authorization

AnswerT = TypeVar("AnswerT", bound=Answer)
UNAUTHORIZED = 401
MISDIRECTED = 421
NOT_IMPLEMENTED = 501
SEARCHES = ".search"
_HEADERS = {"Content-Type": "application/json"}
_IN_ONE_PIECE_MAX = 256 * 1024
# Statuses with which a server, or a proxy before it, says that trying again later helps.
_TRY_AGAIN = frozenset({408, 425, 429})
_SAID_BY_PROXIES = frozenset({502, 503, 504})
NO_REASON = "no reason given"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSettings:
    """`timeout_s` bounds a call from the first byte sent to the last received, `connect_s` its connection.

    `connections_max` calls are on the wire together, others wait for their turn. `idle_s` is how long an
    unused connection is kept; it must be less than the server keeps it (75 s). An answer of more than
    `answer_bytes_max` is read no further: that is 32 times what our server takes as a request. `channel` lets
    requests go over a WebSocket where the server has one; they go by HTTP where none can be had.
    """

    timeout_s: float = 30.0
    connect_s: float = 5.0
    connections_max: int = 128
    idle_s: float = 30.0
    answer_bytes_max: int = 256 * 1024 * 1024
    channel: bool = True


class HttpTransport:
    """Speaks to the server at `url`; `token` is its bearer token. Use within one event loop.

    A token that is a file or a function is asked for again when the server answers 401.
    """

    def __init__(
        self,
        url: str,
        *,
        token: Token | None = None,
        timeout_s: float | None = None,
        session: SessionSettings | None = None,
        stream: StreamSettings | None = None,
    ) -> None:
        self._url = _parse_url(url)
        self._tokens = TokenSource(token)
        self._clock = ClockWatch(str(self._url))
        self._outage = Outage(str(self._url))
        self._settings = session or SessionSettings()
        self._timeout_s = timeout_s if timeout_s is not None else self._settings.timeout_s
        self._stream_settings = stream or StreamSettings()
        self._session: aiohttp.ClientSession | None = None
        self._bundle_url = self._url / BUNDLE_PATH
        self._bundles: Bundles | None = None
        self._channel: Channel | None = None
        self._closed = False
        self._numbers = itertools.count(1)

    async def call(self, command: Command[AnswerT]) -> AnswerT:
        """Carry out one command. Raises Refused or Unavailable."""
        token = await self._tokens.current()
        try:
            return await self._call(command, token)
        except Refused as refusal:
            if refusal.status != UNAUTHORIZED or not await self._tokens.renewed(token):
                raise
        return await self._call(command, await self._tokens.current())

    async def _call(self, command: Command[AnswerT], token: str | None) -> AnswerT:
        corr_id = str(next(self._numbers))
        body = encode_request(command, corr_id, token)
        outage = self._outage
        trial = await outage.turn() if outage.lasting else None
        begun_at = monotonic()
        try:
            status, payload = await self._reach(command, corr_id, body, token)
        except Unreached as failure:
            outage.failed(begun_at, str(failure), trial)
            raise
        else:
            if outage.lasting:
                outage.ended()
        finally:
            if trial is not None:
                outage.leave(trial)
        return self._answer(command, status, payload)

    async def _reach(self, command: Command[Any], corr_id: str, body: bytes, token: str | None) -> Exchanged:
        """Exchange with the server. Raises Unreached where nobody, or only a proxy before it, answers."""
        try:
            status, payload = await self._exchange(command, corr_id, body, token)
        except (aiohttp.ClientError, OSError) as error:
            if isinstance(error, TimeoutError) and not isinstance(error, aiohttp.ConnectionTimeoutError):
                raise Unavailable(
                    f"{self._url} did not answer {command.KIND} within {self._timeout_s:g} s: "
                    "the server is overloaded or stuck, the call may be repeated"
                ) from error
            raise unreached(self._url, error) from error
        if status in _SAID_BY_PROXIES and _text(command, payload) == NO_REASON:
            raise Unreached(f"{self._url} failed with status {status}: {NO_REASON}; try again")
        return status, payload

    async def _exchange(
        self, command: Command[Any], corr_id: str, body: bytes, token: str | None
    ) -> Exchanged:
        session = self._open_session()
        # A search may keep others waiting; a call in a trace tells the server of it in a header.
        alone = command.KIND.endswith(SEARCHES) or len(body) > LINE_BYTES_MAX or trace.HERE.get() is not None
        if alone:
            return await self._post(session, self._url, body, token)
        if self._channel is not None and not self._clock.due:
            try:
                return await self._channel.exchange(corr_id, body, token)
            except ChannelRefused:
                pass
        if self._bundles is not None:
            return await self._bundles.exchange(body, token)
        return await self._post(session, self._url, body, token)

    async def _post(
        self, session: aiohttp.ClientSession, url: URL, body: bytes, token: str | None
    ) -> Exchanged:
        async with session.post(
            url,
            data=_sent(body),
            headers={**_HEADERS, **authorization(token), **_traced()},
            allow_redirects=False,
        ) as response:
            payload = await self._payload(response)
            self._clock.look(response.headers.get("Date"))
        return response.status, payload

    async def _payload(self, response: aiohttp.ClientResponse) -> bytes:
        """Read an answer. Raises Refused(421) for one that goes on and on, unpacked where it is packed."""
        bytes_max, length = self._settings.answer_bytes_max, response.content_length
        if length is not None and length <= bytes_max and hdrs.CONTENT_ENCODING not in response.headers:
            return await response.read()
        pieces, size = [], 0
        async for piece in response.content.iter_any():
            size += len(piece)
            if size > bytes_max:
                response.close()
                raise Refused(
                    MISDIRECTED,
                    f"{self._url} answers with more than {bytes_max} bytes, as no orchestrator does: "
                    "check the URL, or ask for less at once",
                )
            pieces.append(piece)
        return b"".join(pieces)

    def _bundled(self) -> Bundles:
        session = self._open_session()
        return Bundles(
            partial(self._post, session, self._url), partial(self._post, session, self._bundle_url)
        )

    def _answer(self, command: Command[AnswerT], status: int, payload: bytes) -> AnswerT:
        if _failed(status):
            raise Unavailable(
                f"{self._url} failed with status {status}: {_text(command, payload)}; try again"
            )
        try:
            answer = decode_answer(command, payload)
        except Refused as refusal:
            if _failed(refusal.status):  # within a bundle
                raise Unavailable(f"{self._url} failed: {refusal.message}; try again") from refusal
            raise
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Refused(
                MISDIRECTED,
                f"{self._url} is no orchestrator server: it answered {command.KIND} with status {status} and "
                "something else than an envelope; check the URL",
            ) from error
        if isinstance(answer, DescribeAnswer):
            self._use(answer.extensions)
        return answer

    def _use(self, extensions: Collection[str]) -> None:
        """Send requests in the ways that the server announces."""
        settings = self._settings
        if self._bundles is None and EXTENSION_BUNDLE in extensions:
            self._bundles = self._bundled()
        if self._channel is None and settings.channel and EXTENSION_CHANNEL in extensions:
            self._channel = Channel(
                self._url / CHANNEL_PATH,
                timeout_s=self._timeout_s,
                connect_s=settings.connect_s,
                answer_bytes_max=settings.answer_bytes_max,
            )

    @asynccontextmanager
    async def connect(self, group: str, pid: str, receive: Receiver) -> AsyncIterator[None]:
        """Hold a delivery stream as member `pid` of `group`, reconnecting until left.

        Entering waits some seconds for the first connection; a server that is away is waited for in the
        background. Raises Refused if the server answers that this connection is not allowed (401, 403), or
        is no orchestrator server (421): these need the operator.
        """
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._settings.connect_s),
            cookie_jar=aiohttp.DummyCookieJar(),
            middlewares=(once,),
        )
        async with session:
            stream = PollStream(
                session=session,
                url=self._url,
                group=group,
                pid=pid,
                receive=receive,
                outage=self._outage,
                tokens=self._tokens,
                settings=self._stream_settings,
            )
            task = asyncio.create_task(stream.run(), name=f"delivery of {group}/{pid}")
            try:
                await stream.wait_connected()
                yield
            finally:
                task.cancel()
                await _finished(task)

    def _open_session(self) -> aiohttp.ClientSession:
        if self._closed:
            raise Unavailable(f"the transport to {self._url} is closed: open a new one")
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=self._settings.connections_max, keepalive_timeout=self._settings.idle_s
                ),
                timeout=aiohttp.ClientTimeout(total=self._timeout_s, sock_connect=self._settings.connect_s),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    async def close(self) -> None:
        """Let go of the pooled connections; calls after this raise Unavailable."""
        self._closed = True
        if self._channel is not None:
            await self._channel.close()
        if self._bundles is not None:
            await self._bundles.close()
        if self._session is not None:
            await self._session.close()


def _parse_url(url: str) -> URL:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"invalid server URL {url!r}: expected http://HOST:PORT or https://HOST:PORT")
    return URL(url if url.endswith("/") else url + "/")


def _failed(status: int) -> bool:
    """Tell whether a status says that trying again later helps."""
    return (status >= 500 and status != NOT_IMPLEMENTED) or status in _TRY_AGAIN


def _traced() -> dict[str, str]:
    """Return the header by which the server continues this call's trace, if there is one."""
    here = trace.HERE.get()
    return {} if here is None else {trace.HEADER: here}


def _text(command: Command[AnswerT], payload: bytes) -> str:
    """Return the message of an error envelope, or that there is none."""
    try:
        decode_answer(command, payload)
    except Refused as refusal:
        return refusal.message
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    return NO_REASON


async def _finished(task: asyncio.Task[None]) -> None:
    """Wait for the end of a cancelled task, whatever it ends with; a cancellation of ours still counts."""
    await asyncio.wait([task])
    if not task.cancelled():
        task.exception()


def _sent(body: bytes) -> bytes | io.BytesIO:
    """Return a body as it is to be sent: a large one in pieces, so that heartbeats are not held up by it."""
    return body if len(body) <= _IN_ONE_PIECE_MAX else io.BytesIO(body)
