"""The aiohttp handler of a stateless function: what is posted is executed while the answer is awaited."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from aiohttp import hdrs, web


class PushAnswer(Protocol):
    """What became of a pushed message."""

    @property
    def status(self) -> int:
        """The HTTP status."""
        ...

    def body(self) -> bytes:
        """Return the JSON of the answer."""
        ...


def push_handler(
    handle: Callable[[bytes, str | None], Awaitable[PushAnswer]],
) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Return a handler for a POST route. `handle` is `partial(app.handle_push, token=TOKEN)`.

    What a body may hold is bounded by the web application's `client_max_size`.
    """

    async def handler(request: web.Request) -> web.Response:
        result = await handle(await request.read(), request.headers.get(hdrs.AUTHORIZATION))
        return web.Response(status=result.status, body=result.body(), content_type="application/json")

    return handler
