"""The routes of the server, put together: RPC, delivery, proofs, health and metrics.

The application borrows its engine: whoever opened it closes it, after the server has stopped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from orchestrator.domain.errors import Refused
from orchestrator.protocol.commands import PromiseGet
from orchestrator.protocol.envelope import BUNDLE_PATH, CHANNEL_PATH
from orchestrator.server.auth import Authenticator, authenticator
from orchestrator.server.auth_proxy import Proxies
from orchestrator.server.channel import ChannelRoute
from orchestrator.server.cors import Cors
from orchestrator.server.engine_metrics import EngineCollector
from orchestrator.server.gauges import OpenWork
from orchestrator.server.metrics import ServerMetrics
from orchestrator.server.openapi import openapi
from orchestrator.server.poll import PollRoute
from orchestrator.server.port import RequestObserver, ServedEngine
from orchestrator.server.proof_route import ProofRoute, json_error
from orchestrator.server.proofs import ProofSource
from orchestrator.server.rpc import RpcRoute
from orchestrator.server.settings import ServerSettings

_log = structlog.get_logger(__name__)
SETTINGS = web.AppKey("settings", ServerSettings)
METRICS = web.AppKey("metrics", ServerMetrics)
RELOAD: web.AppKey[list[Callable[[], None]]] = web.AppKey("reload", list)
"""What to call when keys or certificates have changed; each raises ServerMisconfigured and keeps the old."""
_READY_PROBE = PromiseGet(id="ready-probe")
_READY_TIMEOUT_S = 5.0
_LEGACY_TEXT = "This API has been removed: send commands to POST / (protocol version 2026-04-01)"


class StatusRoutes:
    """`/health`, `/ready` and `/metrics`."""

    def __init__(
        self,
        engine: ServedEngine,
        checker: Authenticator,
        metrics: ServerMetrics,
        collector: EngineCollector,
        *,
        open_metrics: bool,
    ) -> None:
        self._engine = engine
        self._authenticator = checker
        self._metrics = metrics
        self._collector = collector
        self._open_work = OpenWork(engine)
        self._open_metrics = open_metrics
        self._stopping = False

    async def health(self, request: web.Request) -> web.Response:
        """Say that the process runs."""
        return web.Response()

    async def ready(self, request: web.Request) -> web.Response:
        """Say whether commands are carried out: the store is asked for a promise."""
        if self._stopping:
            return json_error(503, "the server is stopping")
        try:
            async with asyncio.timeout(_READY_TIMEOUT_S):
                await self._engine.handle(_READY_PROBE)
        except Refused:
            return web.Response()
        except Exception as error:
            return json_error(503, f"the engine does not answer: {type(error).__name__}: {error}")
        return web.Response()

    async def metrics(self, request: web.Request) -> web.Response:
        """Show the counters in the text format of Prometheus."""
        try:
            if not self._open_metrics:
                self._authenticator.check_read(request).require_everything("/metrics")
        except Refused as refusal:
            return json_error(refusal.status, refusal.message)
        self._collector.gauges = await self._open_work.gauges()
        return web.Response(body=self._metrics.exposition(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    def stop(self) -> None:
        """Be ready no more."""
        self._stopping = True


async def _legacy(request: web.Request) -> web.Response:
    return json_error(410, _LEGACY_TEXT)


def create_app(
    engine: ServedEngine,
    settings: ServerSettings,
    proofs: ProofSource | None = None,
    *,
    collectors: Iterable[Collector] = (),
    observer: RequestObserver | None = None,
) -> web.Application:
    """Return the application that serves `engine`; `collectors` add metrics of other parts of the process.

    `observer` is told of every command that comes in.

    Raises ServerMisconfigured if the JWT public keys cannot be read.
    """
    checker = authenticator(settings.token, settings.jwt, settings.cors_origins)
    engine_numbers = EngineCollector(engine.statistics)
    metrics = ServerMetrics((engine_numbers, *collectors))
    rpc = RpcRoute(
        engine,
        checker,
        metrics,
        proxies=Proxies(settings.trusted_proxies),
        body_bytes_max=settings.body_bytes_max,
        access_log=settings.access_log,
        debug=settings.debug,
        observer=observer,
    )
    channel = ChannelRoute(rpc, settings, checker, metrics)
    poll = PollRoute(engine, settings, checker, metrics)
    proof = ProofRoute(engine, proofs or ProofSource(), checker, open_to_all=settings.open_proofs)
    status = StatusRoutes(engine, checker, metrics, engine_numbers, open_metrics=settings.open_metrics)
    app = web.Application(client_max_size=settings.body_bytes_max)
    app[SETTINGS] = settings
    app[METRICS] = metrics
    app[RELOAD] = [checker.reload]
    app.router.add_post("/", rpc.handle)
    app.router.add_post(f"/{BUNDLE_PATH}", rpc.handle_bundle)
    app.router.add_get(f"/{CHANNEL_PATH}", channel.handle, allow_head=False)
    app.router.add_get("/poll/{group}/{member}", poll.handle, allow_head=False)
    app.router.add_get("/proofs/{promise_id}", proof.handle)
    app.router.add_get("/proofs/{promise_id}/steps/{number}", proof.step)
    app.router.add_get("/proofs/{promise_id}/{collection}/{key}", proof.member)
    app.router.add_get("/verifier", proof.page)
    app.router.add_get("/health", status.health)
    app.router.add_get("/ready", status.ready)
    app.router.add_get("/metrics", status.metrics)
    app.router.add_get("/openapi.json", openapi)
    for legacy in ("promises", "tasks", "schedules"):
        app.router.add_route("*", f"/{legacy}", _legacy)
        app.router.add_route("*", f"/{legacy}/{{rest:.*}}", _legacy)
    Cors(settings.cors_origins).install(app)

    async def stop(_: web.Application) -> None:
        status.stop()
        poll.close()
        await channel.close()

    app.on_shutdown.append(stop)
    return app
