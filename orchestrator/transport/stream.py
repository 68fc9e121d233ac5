"""A delivery stream from the client's side: held open, read, and opened again until left.

Messages are hints, the store is the truth: what is lost between two connections comes again by the engine's
timers. While the server is away a stream takes its turn with the calls to it (`outage`), so that it is back
as soon as anyone finds the server back, and asks no more often. A server that comments on its stream is
alive; once it has, silence for long means that the socket is half-open, and the stream is opened anew. One
that never comments is not held to it.
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

from orchestrator.domain.errors import Refused, Unreached
from orchestrator.protocol.envelope import decode_message
from orchestrator.protocol.transport import Receiver
from orchestrator.transport.events import EventParser
from orchestrator.transport.outage import Outage, Trial, unreached
from orchestrator.transport.token import TokenSource, authorization

_log = structlog.get_logger(__name__)
_CHUNK_BYTES = 64 * 1024
UNAVAILABLE = 503
"""A server with too many streams says so, and so does a proxy that has no server: it tells nothing."""
_SAID_BY_PROXIES = frozenset({502, 504})


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSettings:
    """`first_wait_s`: how long entering waits for a connection. `answer_s`: for the answer's head.

    `silence_s`: three keep-alive intervals of the server. Attempts are `backoff_s` apart, doubling up to
    `backoff_s_max`, with jitter; a stream that stood for `settled_s` starts over from the shortest. Where the
    server cannot be reached for longer, they are as far apart as those of calls.
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
        outage: Outage,
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
        self._outage = outage
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
            try:
                trial = await self._outage.turn()
            except Unreached:
                continue  # who tried meanwhile has tried for this stream, too
            begun_at = monotonic()
            try:
                await self._hold(trial)
                reason = "the server ended the stream"
            except Exception as error:
                # Whatever it is, a member that stops listening is worse than one that tries again.
                reason = f"{type(error).__name__}: {error}"
                self._note_refusal(error)
                if isinstance(error, Unreached):
                    self._outage.failed(begun_at, str(error), trial)
                    # What began with this attempt may cut off streams alone, and calls may end it at once.
                    if self._outage.lasted_at(begun_at):
                        continue
            finally:
                if trial is not None:
                    self._outage.leave(trial)
            attempt = 0 if monotonic() - begun_at >= self._settings.settled_s else attempt + 1
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

    async def _hold(self, trial: Trial | None) -> None:
        token = await self._tokens.current()
        try:
            await self._hold_with(token, trial)
        except StreamRefused as refusal:
            if refusal.status != 401 or not await self._tokens.renewed(token):
                raise
            await self._hold_with(await self._tokens.current(), trial)

    async def _hold_with(self, token: str | None, trial: Trial | None) -> None:
        async with asyncio.timeout(self._settings.answer_s) as opening, await self._ask(token) as response:
            if response.status in _SAID_BY_PROXIES:
                raise Unreached(f"{self._url} failed with status {response.status}; try again")
            if response.status != UNAVAILABLE:
                self._outage.ended()
            if response.status != 200 or response.content_type != "text/event-stream":
                raise StreamRefused(response.status)
            if trial is not None:
                self._outage.leave(trial)
            opening.reschedule(None)
            self._first.set()
            _log.info("delivery_connected", group=self._group, member=self._pid)
            await self._read(response)

    async def _ask(self, token: str | None) -> aiohttp.ClientResponse:
        """Return the answer as far as its head. Raises Unreached where there is none."""
        headers = {"Accept": "text/event-stream", **authorization(token)}
        try:
            return await self._session.get(self._url, headers=headers, allow_redirects=False)
        except (aiohttp.ClientError, OSError) as error:
            raise unreached(self._url, error) from error

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
