"""New heads by WebSocket: they wake a listener early, and nothing that they say is believed.

A subscription that ends, or stays silent for too long, is begun anew; polling goes on regardless, so that a
WebSocket that is away costs time and nothing else.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from urllib.parse import urlsplit

import aiohttp
import structlog

from listener.backoff import Backoff, pause

SILENCE_S_MAX = 60.0
CONNECT_TIMEOUT_S = 10.0
_MESSAGE_BYTES_MAX = 4 * 1024 * 1024
_SUBSCRIBE = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": ["newHeads"]})
_log = structlog.get_logger("listener")


class HeadsWatch:
    """Sets the events `wake` whenever a node at a WebSocket URL tells of a new head.

    `silence_s_max` is how long it may tell of none before the connection is taken for dead.
    """

    def __init__(
        self,
        url: str,
        wake: Sequence[asyncio.Event],
        *,
        silence_s_max: float = SILENCE_S_MAX,
        pauses: Backoff | None = None,
    ) -> None:
        self._url = url
        self._wake = list(wake)
        self._silence_s_max = silence_s_max
        self._pauses = pauses or Backoff(minimum_s=1.0, maximum_s=60.0)
        self._told = False
        self.heads = 0
        self.connections = 0

    @property
    def endpoint(self) -> str:
        """The URL without what may be secret in it."""
        parts = urlsplit(self._url)
        return f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")

    async def run(self, stop: asyncio.Event) -> None:
        """Watch until `stop` is set; raises nothing that a network can cause."""
        async with aiohttp.ClientSession() as session:
            stopping = asyncio.create_task(stop.wait())
            try:
                while not stop.is_set():
                    await self._until(stopping, session)
                    await pause(stop, self._pauses.next_s())
            finally:
                stopping.cancel()

    async def _until(self, stopping: asyncio.Task[bool], session: aiohttp.ClientSession) -> None:
        """Hold one connection until it ends or `stopping` does."""
        watching = asyncio.create_task(self._watch(session))
        try:
            await asyncio.wait((watching, stopping), return_when=asyncio.FIRST_COMPLETED)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def _watch(self, session: aiohttp.ClientSession) -> None:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                socket = await session.ws_connect(self._url, max_msg_size=_MESSAGE_BYTES_MAX, heartbeat=20.0)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._lost(type(error).__name__)
            return
        try:
            await socket.send_str(_SUBSCRIBE)
            self.connections += 1
            await self._listen(socket)
        except TimeoutError:
            self._lost(f"silent for {self._silence_s_max:g} s")
        except (aiohttp.ClientError, ConnectionError) as error:
            self._lost(type(error).__name__)
        finally:
            await socket.close()

    async def _listen(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        while True:
            async with asyncio.timeout(self._silence_s_max):
                # Only a head ends the silence: a node that answers pings and has lost its chain does not.
                while True:
                    message = await socket.receive()
                    if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                        self._lost("closed")
                        return
                    if _tells_a_head(message.data):
                        break
            self._came()

    def _came(self) -> None:
        if self._told:
            _log.info("websocket_back", endpoint=self.endpoint)
        self._told = False
        self._pauses.reset()
        self.heads += 1
        for each in self._wake:
            each.set()

    def _lost(self, reason: str) -> None:
        if not self._told:
            _log.warning("websocket_away", endpoint=self.endpoint, reason=reason)
        self._told = True


def _tells_a_head(data: str | bytes) -> bool:
    try:
        message = json.loads(data)
    except ValueError:
        return False
    return isinstance(message, dict) and message.get("method") == "eth_subscription"
