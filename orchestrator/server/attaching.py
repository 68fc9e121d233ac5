"""An application within a web application of aiohttp: one lifetime, and refusals as answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager

from aiohttp import web

from orchestrator.server.gateway import Gateway

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def attach(site: web.Application, durable: AbstractAsyncContextManager[object]) -> None:
    """Have an application start and stop with `site`.

    What the engine refuses in a handler is answered with its status and `{"error": "…"}`, an engine that is
    away with 503 and `Retry-After`.
    """

    async def lifetime(_: web.Application) -> AsyncIterator[None]:
        async with durable:
            yield

    site.cleanup_ctx.append(lifetime)
    site.middlewares.append(_refusals)


@web.middleware
async def _refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    return await Gateway.answering(handler)(request)
