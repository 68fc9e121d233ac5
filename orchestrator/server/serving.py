"""Listening on a port until told to stop, and stopping without losing an answer.

A new connection that does not send the head of a request in time is cut, and so is one that idles between two
requests; the body of a request has its own time limit. The number of connections is bounded: one more is told
so and closed, since a server that has no file descriptors left cannot even refuse.
"""

from __future__ import annotations

import asyncio
import resource
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import Any

import structlog
from aiohttp import web

from orchestrator.server.app import METRICS, RELOAD, SETTINGS
from orchestrator.server.errors import ServerMisconfigured
from orchestrator.server.settings import ServerSettings, is_loopback
from orchestrator.server.tls import Certificates

_log = structlog.get_logger(__name__)
# Longer than clients keep an idle connection, so that it is they who close it and never find it closed.
_IDLE_S = 75.0
_BACKLOG = 1024
_FILES_RESERVED = 96
_TOO_MANY_TEXT = b"Too many connections to this server: close some, or ask again later\n"
_TOO_MANY = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\nRetry-After: 1\r\n"
    b"Connection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(_TOO_MANY_TEXT), _TOO_MANY_TEXT)
)


class _Runner(web.AppRunner):
    """Runs an application, and cuts new connections that send no request within `headers_s`."""

    def __init__(self, app: web.Application, settings: ServerSettings) -> None:
        super().__init__(
            app,
            access_log=None,
            keepalive_timeout=_IDLE_S,
            shutdown_timeout=settings.shutdown_s,
            # A client that has gone is noticed at once: its delivery stream must not swallow messages.
            handler_cancellation=True,
        )
        self._headers_s = settings.headers_s
        self._sockets_max = _sockets_allowed(settings.sockets_max)
        self._metrics = app[METRICS]
        self._full = False

    @property
    def server(self) -> Any:
        """The factory of connections, each of them counted and timed."""
        factory = super().server
        if factory is None:
            return None
        self._metrics.sockets.set_function(lambda: len(factory.connections))
        return partial(self._admitted, factory)

    def _admitted(self, factory: web.Server) -> asyncio.Protocol:
        full = len(factory.connections) >= self._sockets_max
        if full != self._full:
            self._full = full
            _log.warning("connections_exhausted" if full else "connections_available", max=self._sockets_max)
        if full:
            self._metrics.sockets_refused.inc()
            return _Refusal()
        connection = factory()
        asyncio.get_running_loop().call_later(self._headers_s, _cut_if_silent, connection)
        return connection


class _Refusal(asyncio.Protocol):
    """Answers a connection beyond the bound, and closes it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say why, whatever was going to be asked."""
        if isinstance(transport, asyncio.WriteTransport):
            transport.write(_TOO_MANY)
        transport.close()


def _sockets_allowed(wanted: int) -> int:
    """Return how many connections there may be: what the store and the rest need stays free.

    The process is let open as many files as that takes, if its hard limit allows it.
    """
    files, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + _FILES_RESERVED
    if files != resource.RLIM_INFINITY and files < needed:
        more = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (more, hard))
            files = more
    allowed = wanted if files == resource.RLIM_INFINITY else min(wanted, max(files - _FILES_RESERVED, 1))
    if allowed < wanted:
        _log.warning("connections_limited", max=allowed, remedy=f"allow more than {files} open files")
    return allowed


def _cut_if_silent(connection: web.RequestHandler) -> None:
    # The library counts the requests of a connection, but does not tell them in public.
    if connection.transport is not None and not connection._request_count:
        connection.transport.abort()


@asynccontextmanager
async def listening(app: web.Application) -> AsyncIterator[str]:
    """Serve an application of `create_app`; yields its URL, stops gracefully when left.

    On leaving nothing more is accepted, streams end, and requests in flight are answered, for at most
    `shutdown_s`. Raises ServerMisconfigured if the address cannot be listened on.
    """
    settings = app[SETTINGS]
    certificates = Certificates(settings.tls) if settings.tls else None
    if certificates is not None:
        app[RELOAD].append(certificates.reload)
    runner = _Runner(app, settings)
    await runner.setup()
    try:
        yield await _listen(runner, settings, certificates)
    finally:
        await runner.cleanup()
        if certificates is not None:
            app[RELOAD].remove(certificates.reload)


async def _listen(runner: web.AppRunner, settings: ServerSettings, certificates: Certificates | None) -> str:
    site = web.TCPSite(
        runner,
        settings.host,
        settings.port,
        ssl_context=certificates.context if certificates else None,
        backlog=_BACKLOG,
        reuse_address=True,
    )
    try:
        await site.start()
    except OSError as error:
        raise ServerMisconfigured(
            f"cannot listen on {settings.host}:{settings.port} ({error.strerror or error}): "
            "stop what uses it, or choose another host or port"
        ) from error
    name = f"[{settings.host}]" if ":" in settings.host else settings.host
    if not (is_loopback(settings.host) or certificates or settings.trusted_proxies):
        _log.warning(
            "tokens_travel_in_clear", host=settings.host, remedy="configure TLS, or a proxy that has it"
        )
    return f"http{'s' if certificates else ''}://{name}:{site.port}"


def reload(app: web.Application) -> None:
    """Read keys and certificates again; what cannot be used is logged, and the old ones stay in use."""
    failed = 0
    for each in app[RELOAD]:
        try:
            each()
        except ServerMisconfigured as error:
            failed += 1
            _log.error("reload_failed", reason=str(error))
    _log.info("keys_reloaded", failed=failed)


@contextmanager
def reloading(app: web.Application) -> Iterator[None]:
    """Reload at SIGHUP, where the system has it, until left. For the main thread."""
    number = getattr(signal, "SIGHUP", None)
    loop = asyncio.get_running_loop()
    if number is None:
        yield
        return
    loop.add_signal_handler(number, reload, app)
    try:
        yield
    finally:
        loop.remove_signal_handler(number)


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
        with _signals(stopping), reloading(app):
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
