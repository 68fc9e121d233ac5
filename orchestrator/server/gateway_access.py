"""Who may use a gateway. It fails closed: without token and guard only this machine is answered.

Web pages of other origins, foreign names for this machine and proxies are kept out as by the server itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from orchestrator.domain.errors import Refused
from orchestrator.server.auth import authenticator
from orchestrator.server.errors import ServerMisconfigured
from orchestrator.server.settings import TOKEN_LENGTH_MIN, is_loopback

Guard = Callable[[web.Request], Awaitable[None]]
"""Lets a request pass, or raises Refused(401) or Refused(403), or an aiohttp response of its own."""


def guard_of(token: str | None, guard: Guard | None) -> Guard:
    """Return the guard of a gateway. Raises ServerMisconfigured for a token that is too short."""
    if guard is not None:
        return guard
    if token is not None and len(token) < TOKEN_LENGTH_MIN:
        raise ServerMisconfigured(
            f"the token has {len(token)} characters: use at least {TOKEN_LENGTH_MIN} random ones"
        )
    checker = authenticator(token)

    async def check(request: web.Request) -> None:
        if token is None and not (request.remote and is_loopback(request.remote)):
            raise Refused(
                403, "Forbidden: without a token or guard this gateway answers its own machine only"
            )
        checker.check_read(request)

    return check
