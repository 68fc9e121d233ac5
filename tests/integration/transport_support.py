"""What the tests of bundles and of channels share: who is asked, and by whom."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from orchestrator.protocol import commands as c
from orchestrator.server import ServerSettings, create_app
from orchestrator.transport.http import HttpTransport
from tests.integration.server_support import FAR, ScriptedEngine


def create(key: str, **fields: Any) -> c.PromiseCreate:
    return c.PromiseCreate(id=key, timeout_at=FAR, **fields)


class Announcing(ScriptedEngine):
    """Knows several ways to be asked."""

    async def handle(self, command: Any) -> Any:
        if isinstance(command, c.Describe):
            return c.DescribeAnswer(extensions=[c.EXTENSION_BUNDLE, c.EXTENSION_CHANNEL])
        return await super().handle(command)


@contextlib.asynccontextmanager
async def counted(engine: Any, status: int = 200, **settings: Any) -> AsyncIterator[tuple[str, list[str]]]:
    """Serve an engine, and note the path of every request; bundles are answered with another `status`."""
    paths: list[str] = []

    @web.middleware
    async def note(request: web.Request, handler: Any) -> web.StreamResponse:
        paths.append(request.path)
        if status != 200 and request.path == "/bundle":
            return web.Response(status=status, text="<html>what is this</html>")
        response: web.StreamResponse = await handler(request)
        return response

    app = create_app(engine, ServerSettings(port=0, shutdown_s=1, **settings))
    app.middlewares.append(note)
    async with TestServer(app) as server:
        yield str(server.make_url("/")), paths


@contextlib.asynccontextmanager
async def described(url: str, **options: Any) -> AsyncIterator[HttpTransport]:
    """A transport that has asked what the server knows."""
    http = HttpTransport(url, **options)
    try:
        await http.call(c.Describe())
        yield http
    finally:
        await http.close()
