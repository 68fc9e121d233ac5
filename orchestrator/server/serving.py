"""Listening on a port until told to stop, and stopping without losing an answer."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import structlog
from aiohttp import web

from orchestrator.server.app import SETTINGS
from orchestrator.server.errors import ServerMisconfigured
from orchestrator.server.settings import ServerSettings

_log = structlog.get_logger(__name__)
# Longer than clients keep an idle connection, so that it is they who close it and never find it closed.
_IDLE_S = 75.0
_BACKLOG = 1024


@asynccontextmanager
async def listening(app: web.Application) -> AsyncIterator[str]:
    """Serve an application of `create_app`; yields its URL, stops gracefully when left.

    On leaving nothing more is accepted, streams end, and requests in flight are answered, for at most
    `shutdown_s`. Raises ServerMisconfigured if the address cannot be listened on.
    """
    settings = app[SETTINGS]
    runner = web.AppRunner(
        app,
        access_log=None,
        keepalive_timeout=_IDLE_S,
        shutdown_timeout=settings.shutdown_s,
        # A client that has gone is noticed at once: its delivery stream must not swallow messages.
        handler_cancellation=True,
    )
    await runner.setup()
    try:
        yield await _listen(runner, settings)
    finally:
        await runner.cleanup()


async def _listen(runner: web.AppRunner, settings: ServerSettings) -> str:
    site = web.TCPSite(runner, settings.host, settings.port, backlog=_BACKLOG, reuse_address=True)
    try:
        await site.start()
    except OSError as error:
        raise ServerMisconfigured(
            f"cannot listen on {settings.host}:{settings.port} ({error.strerror or error}): "
            "stop what uses it, or choose another host or port"
        ) from error
    name = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{name}:{site.port}"


async def serve(
    app: web.Application,
    *,
    on_ready: Callable[[str], None] | None = None,
    stop: asyncio.Event | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT arrives or `stop` is set, then stop gracefully.

    `on_ready` is told the URL once connections are accepted. A second signal during shutdown ends the
    process as it would any other. Raises ServerMisconfigured.
    """
    stopping = stop or asyncio.Event()
    async with listening(app) as url:
        _log.info("server_ready", url=url)
        with _signals(stopping):
            if on_ready is not None:
                on_ready(url)
            await stopping.wait()
        _log.info("server_stopping", url=url)


@contextmanager
def _signals(stopping: asyncio.Event) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    caught = (signal.SIGTERM, signal.SIGINT)
    for number in caught:
        loop.add_signal_handler(number, stopping.set)
    try:
        yield
    finally:
        for number in caught:
            loop.remove_signal_handler(number)
