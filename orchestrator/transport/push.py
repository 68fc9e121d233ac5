"""Posting messages to functions that listen on a URL of their own.

Any 2xx is a delivery. Nothing is repeated here: messages are hints, the engine's timers bring them again.
A token is sent only to the origin that it was configured for, since whoever creates a promise chooses the
URL of its target.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import aiohttp
import structlog
from yarl import URL

from orchestrator.protocol.envelope import encode_message
from orchestrator.protocol.messages import Message

_log = structlog.get_logger(__name__)
_HEADERS = {"Content-Type": "application/json"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PushSettings:
    """`together_max` posts are on the wire at a time; `waiting_max` more wait, what exceeds them is dropped.

    `server_url` is told to the function, so that it can call back. `tokens` are bearer tokens by origin
    (`https://host` or `https://host:port`).
    """

    together_max: int = 256
    waiting_max: int = 10_000
    connect_s: float = 10.0
    request_s: float = 180.0
    server_url: str = ""
    tokens: Mapping[str, str] = field(default_factory=dict, repr=False)


class PushSender:
    """Posts messages; `post` is what an engine takes as its way to push."""

    def __init__(self, settings: PushSettings | None = None) -> None:
        self._settings = settings or PushSettings()
        self._tokens = {URL(origin).origin(): token for origin, token in self._settings.tokens.items()}
        self._slots = asyncio.Semaphore(self._settings.together_max)
        self._waiting = 0
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    async def post(self, url: str, message: Message) -> bool:
        """Post one message; tell whether it was taken. Raises nothing but its cancellation."""
        if self._closed or self._waiting >= self._settings.waiting_max:
            _log.warning(
                "push_dropped", url=_shown(url), reason="closed" if self._closed else "too many wait"
            )
            return False
        self._waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self._waiting -= 1
        try:
            return await self._send(url, encode_message(message, self._settings.server_url))
        finally:
            self._slots.release()

    async def _send(self, url: str, body: bytes) -> bool:
        try:
            target = URL(url)
            async with self._open_session().post(
                target, data=body, headers=self._headers(target), allow_redirects=False
            ) as response:
                taken = 200 <= response.status < 300
                reason = f"status {response.status}"
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            taken, reason = False, f"{type(error).__name__}: {error}"
        if not taken:
            _log.warning("push_failed", url=_shown(url), reason=reason)
        return taken

    def _headers(self, target: URL) -> dict[str, str]:
        token = self._tokens.get(target.origin())
        return _HEADERS if token is None else {**_HEADERS, "Authorization": f"Bearer {token}"}

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._settings.together_max),
                timeout=aiohttp.ClientTimeout(
                    total=self._settings.request_s, sock_connect=self._settings.connect_s
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    async def close(self) -> None:
        """Let go of the connections; posts after this are dropped."""
        self._closed = True
        if self._session is not None:
            await self._session.close()

    async def __aenter__(self) -> Self:
        """Open nothing yet: the first post does."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        await self.close()


def _shown(url: str) -> str:
    """Return a URL without what may be secret in it: user, query, fragment."""
    try:
        return str(URL(url).with_user(None).with_query(None).with_fragment(None))
    except ValueError:
        return "an unreadable URL"
