"""Whether a server can be reached, as the calls to it and its streams find out together.

While it cannot, one at a time tries, after a pause that doubles up to a bound; the others learn from it:
however many wait, a server that is away is asked about once a second, and is told of by one line in the log.
Whoever asks is answered from an attempt that was made after it had asked, never from an older one.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from time import monotonic

import aiohttp
import structlog
from yarl import URL

from orchestrator.domain.errors import Unreached

PAUSE_S_MIN = 0.05
PAUSE_S_MAX = 1.0
PATIENCE_S = 1.0
"""How long others wait for the call that tries: one may take its time although the server is back."""
TOLD_AFTER_S = 2.0
"""What is shorter is a connection that broke, or a server that starts."""
TOLD_EVERY_S = 15.0
REMEDY = "it is asked until it answers; if none runs there, start one: dao-scorer serve"
_log = structlog.get_logger(__name__)


def unreached(url: URL, error: Exception) -> Unreached:
    """Return what is told where a connection cannot be made, or ends before there is an answer."""
    return Unreached(
        f"cannot reach {url} ({str(error) or type(error).__name__}): check that the server runs and that the "
        "URL is right, the call may be repeated"
    )


async def once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Have a session ask once: where a connection is dropped it would ask again at once (middleware)."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise aiohttp.ClientConnectionError(str(error) or type(error).__name__) from error


class Trial:
    """The attempt under way; `failure` is why it did not reach the server, once it has ended."""

    __slots__ = ("begun_at", "ended", "failure")

    def __init__(self) -> None:
        self.begun_at = monotonic()
        self.ended = asyncio.Event()
        self.failure: str | None = None


class Outage:
    """The present outage of the server at `url`, if there is one. Use within one event loop."""

    def __init__(self, url: str, *, chance: Callable[[], float] = random.random) -> None:
        self._url = url
        self._chance = chance
        self._since: float | None = None
        self._failed_at = 0.0
        self._pause_s = PAUSE_S_MIN
        self._told_at: float | None = None
        self._waiting = 0
        self._trial: Trial | None = None

    @property
    def lasting(self) -> bool:
        """Tell whether the last attempt did not reach the server."""
        return self._since is not None

    def lasted_at(self, moment: float) -> bool:
        """Tell whether the outage had begun before that moment (monotonic, seconds), and lasts."""
        return self._since is not None and self._since < moment

    async def turn(self) -> Trial | None:
        """Wait until this call may try; it `leave`s the trial that is returned, None if there is none.

        Raises Unreached if another one tried meanwhile and did not reach the server.
        """
        self._waiting += 1
        try:
            while self.lasting:
                trial = self._trial
                if trial is None or monotonic() - trial.begun_at >= PATIENCE_S:
                    return await self._begin()
                try:
                    async with asyncio.timeout(PATIENCE_S):
                        await trial.ended.wait()
                except TimeoutError:
                    continue
                if trial.failure is not None:
                    raise Unreached(trial.failure)
            return None
        finally:
            self._waiting -= 1

    def leave(self, trial: Trial) -> None:
        """Let those go on who wait for a trial, however it has ended."""
        if self._trial is trial:
            self._trial = None
        trial.ended.set()

    def failed(self, begun_at: float, failure: str, trial: Trial | None) -> None:
        """Note that a call that was begun at that moment (monotonic, seconds) did not reach the server."""
        now = monotonic()
        if trial is not None:
            trial.failure = failure
        if self._since is None:
            self._since, self._pause_s, self._told_at = now, PAUSE_S_MIN, None
        elif begun_at >= self._failed_at:
            self._pause_s = min(self._pause_s * 2, PAUSE_S_MAX)
        self._failed_at = now
        self._tell(now, failure)

    def ended(self) -> None:
        """Note that the server was reached."""
        if self._since is not None and self._told_at is not None:
            _log.info("server_back", url=self._url, seconds=round(monotonic() - self._since, 1))
        self._since = None

    async def _begin(self) -> Trial:
        """Begin a trial, behind the pause after the last failure."""
        trial = self._trial = Trial()
        try:
            pause_s = self._pause_s * (0.5 + self._chance() / 2)
            await asyncio.sleep(max(0.0, self._failed_at + pause_s - monotonic()))
        except BaseException:
            self.leave(trial)
            raise
        return trial

    def _tell(self, now: float, reason: str) -> None:
        since = self._since if self._since is not None else now
        due_at = since + TOLD_AFTER_S if self._told_at is None else self._told_at + TOLD_EVERY_S
        if now < due_at:
            return
        self._told_at = now
        _log.warning(
            "server_away",
            url=self._url,
            waiting_calls=self._waiting + 1,
            seconds=round(now - since, 1),
            reason=reason,
            remedy=REMEDY,
        )
