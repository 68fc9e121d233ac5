"""A delivery stream from the client's side: held open, read, and opened again until left.

Messages are hints, the store is the truth: what is lost between two connections comes again by the engine's
timers. A server that comments on its stream is alive; once it has, silence for long means that the socket
is half-open, and the stream is opened anew. One that never comments is not held to it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from urllib.parse import quote

import aiohttp
import msgspec
import structlog
from yarl import URL

from orchestrator.domain.errors import Refused
from orchestrator.protocol.envelope import decode_message
from orchestrator.protocol.transport import Receiver
from orchestrator.transport.events import EventParser
from orchestrator.transport.token import TokenSource, authorization

_log = structlog.get_logger(__name__)
_CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSettings:
    """`first_wait_s`: how long entering waits for a connection. `answer_s`: for the answer's head.

    `silence_s`: three keep-alive intervals of the server. Attempts are `backoff_s` apart, doubling up to
    `backoff_s_max`, with jitter; a stream that stood for `settled_s` starts over from the shortest.
    """

    first_wait_s: float = 5.0
    answer_s: float = 10.0
    silence_s: float = 45.0
    backoff_s: float = 0.1
    backoff_s_max: float = 10.0
    settled_s: float = 5.0


class StreamRefused(Exception):
    """The server answered, but not with a stream."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.status = status


class PollStream:
    """One member's stream. `run` never returns by itself and raises nothing but its cancellation."""

    def __init__(
        self,
        *,
        session: aiohttp.ClientSession,
        url: URL,
        group: str,
        pid: str,
        receive: Receiver,
        settings: StreamSettings,
        tokens: TokenSource | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        path = f"poll/{quote(group, safe='')}/{quote(pid, safe='')}"
        # Joined as encoded text: a group may contain what URL joining would give a meaning.
        self._url = URL(f"{url}{path}", encoded=True)
        self._session = session
        self._group = group
        self._pid = pid
        self._receive = receive
        self._settings = settings
        self._tokens = tokens or TokenSource(None)
        self._chance = chance
        self._first = asyncio.Event()
        self._refused: Refused | None = None

    async def wait_connected(self) -> None:
        """Wait until the first connection stands, some seconds at most. Raises Refused if it never will."""
        try:
            async with asyncio.timeout(self._settings.first_wait_s):
                await self._first.wait()
        except TimeoutError:
            _log.warning("delivery_waits_for_server", url=str(self._url))
        if self._refused is not None:
            raise self._refused

    async def run(self) -> None:
        """Hold the stream until cancelled."""
        attempt = 0
        while True:
            started = monotonic()
            try:
                await self._hold()
                reason = "the server ended the stream"
            except Exception as error:
                # Whatever it is, a member that stops listening is worse than one that tries again.
                reason = f"{type(error).__name__}: {error}"
                self._note_refusal(error)
            attempt = 0 if monotonic() - started >= self._settings.settled_s else attempt + 1
            pause_s = self._pause_s(attempt)
            _log.info(
                "delivery_reconnects",
                url=str(self._url),
                group=self._group,
                member=self._pid,
                reason=reason,
                pause_ms=round(pause_s * 1000),
            )
            await asyncio.sleep(pause_s)

    def _pause_s(self, attempt: int) -> float:
        # The exponent is bounded before the power is taken: an outage of a night is many attempts.
        pause_s = min(self._settings.backoff_s_max, self._settings.backoff_s * 2.0 ** min(attempt, 30))
        return pause_s * (0.5 + self._chance() / 2)

    def _note_refusal(self, error: Exception) -> None:
        if self._first.is_set() or not isinstance(error, StreamRefused):
            return
        if error.status in (401, 403):
            self._refused = Refused(
                error.status, f"{self._url} refused the delivery stream: check the server's token"
            )
        elif error.status < 500:
            self._refused = Refused(
                421, f"{self._url} is no orchestrator server (status {error.status}): check the URL"
            )
        if self._refused is not None:
            self._first.set()

    async def _hold(self) -> None:
        token = await self._tokens.current()
        try:
            await self._hold_with(token)
        except StreamRefused as refusal:
            if refusal.status != 401 or not await self._tokens.renewed(token):
                raise
            await self._hold_with(await self._tokens.current())

    async def _hold_with(self, token: str | None) -> None:
        headers = {"Accept": "text/event-stream", **authorization(token)}
        async with asyncio.timeout(self._settings.answer_s) as opening:
            async with self._session.get(self._url, headers=headers, allow_redirects=False) as response:
                if response.status != 200 or response.content_type != "text/event-stream":
                    raise StreamRefused(response.status)
                opening.reschedule(None)
                self._first.set()
                _log.info("delivery_connected", group=self._group, member=self._pid)
                await self._read(response)

    async def _read(self, response: aiohttp.ClientResponse) -> None:
        parser = EventParser()
        while True:
            silence_s = self._settings.silence_s if parser.comments else None
            async with asyncio.timeout(silence_s):
                chunk = await response.content.read(_CHUNK_BYTES)
            if not chunk:
                return
            for event in parser.feed(chunk):
                self._take(event)

    def _take(self, event: bytes) -> None:
        try:
            message = decode_message(event)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            _log.warning("delivery_unreadable", group=self._group, member=self._pid, reason=str(error))
            return
        if message is None:
            return
        try:
            self._receive(message)
        except Exception as error:
            # Against the contract of a receiver; the other messages of the stream shall not suffer.
            _log.error("delivery_receiver_failed", group=self._group, member=self._pid, exc_info=error)
