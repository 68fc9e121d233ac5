"""Which web pages may use the server: none, unless their origins are configured.

A page of a configured origin may call, listen and read proofs, so that a browser tab can be a worker.
Cookies are never used, so credentials are never allowed; a token is sent by the page itself.
"""

from __future__ import annotations

from collections.abc import Collection

from aiohttp import hdrs, web

from orchestrator.server.settings import ANY_ORIGIN

_METHODS = "GET, POST"
_HEADERS = "Authorization, Cache-Control, Content-Type, If-None-Match, Last-Event-ID"
_EXPOSED = "ETag"
_MAX_AGE_S = 600
_LOCAL_ASKED = "Access-Control-Request-Private-Network"
_LOCAL_ALLOWED = "Access-Control-Allow-Private-Network"


class Cors:
    """Answers browsers on behalf of the configured origins."""

    def __init__(self, origins: Collection[str]) -> None:
        self._origins = frozenset(origins)

    def install(self, app: web.Application) -> None:
        """Answer preflight requests, and let answers be read; without origins nothing is added."""
        if self._origins:
            app.router.add_route(hdrs.METH_OPTIONS, "/{path:.*}", self.preflight)
            app.on_response_prepare.append(self._prepare)

    async def preflight(self, request: web.Request) -> web.Response:
        """Tell a browser what pages of its origin may send."""
        if not self._allows(request):
            return web.Response(status=403, text="Forbidden: pages of this origin may not use this server")
        response = web.Response(status=204)
        response.headers[hdrs.ACCESS_CONTROL_ALLOW_METHODS] = _METHODS
        response.headers[hdrs.ACCESS_CONTROL_ALLOW_HEADERS] = _HEADERS
        response.headers[hdrs.ACCESS_CONTROL_MAX_AGE] = str(_MAX_AGE_S)
        if request.headers.get(_LOCAL_ASKED) == "true":
            # A public page that asks a server on this machine: the operator has named its origin.
            response.headers[_LOCAL_ALLOWED] = "true"
        return response

    async def _prepare(self, request: web.Request, response: web.StreamResponse) -> None:
        response.headers.add(hdrs.VARY, hdrs.ORIGIN)
        if self._allows(request):
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = request.headers[hdrs.ORIGIN]
            response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = _EXPOSED

    def _allows(self, request: web.Request) -> bool:
        origin = request.headers.get(hdrs.ORIGIN)
        return origin is not None and (origin in self._origins or ANY_ORIGIN in self._origins)
