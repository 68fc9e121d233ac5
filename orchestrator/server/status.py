"""Health and metrics of a process that serves nothing else: `/health`, `/ready` and `/metrics`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.registry import Collector

from orchestrator.domain.errors import Refused
from orchestrator.server.app import METRICS, RELOAD, SETTINGS
from orchestrator.server.auth import authenticator
from orchestrator.server.metrics import ServerMetrics
from orchestrator.server.proof_route import json_error
from orchestrator.server.settings import ServerSettings

Health = Callable[[], Mapping[str, object]]
"""Returns what a health check shows; its `ok` says whether the process does its work."""


def create_status_app(
    settings: ServerSettings, health: Health, collectors: Iterable[Collector] = ()
) -> web.Application:
    """Return an application for `listening`. `/health` always answers 200, `/ready` 503 unless `ok`.

    Both show what `health` returns. `/metrics` needs the token, if there is one and it is not open to all.
    """
    checker = authenticator(settings.token, settings.jwt, settings.cors_origins)
    registry = CollectorRegistry()
    for collector in collectors:
        registry.register(collector)

    async def healthy(request: web.Request) -> web.Response:
        return web.json_response(dict(health()))

    async def ready(request: web.Request) -> web.Response:
        shown = dict(health())
        return web.json_response(shown, status=200 if shown.get("ok") else 503)

    async def metrics(request: web.Request) -> web.Response:
        try:
            if not settings.open_metrics:
                checker.check_read(request).require_everything("/metrics")
        except Refused as refusal:
            return json_error(refusal.status, refusal.message)
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app[SETTINGS] = settings
    app[METRICS] = ServerMetrics()
    app[RELOAD] = [checker.reload]
    app.router.add_get("/health", healthy)
    app.router.add_get("/ready", ready)
    app.router.add_get("/metrics", metrics)
    return app
