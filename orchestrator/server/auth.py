"""Who may ask: the seam between the routes and whatever proves an identity.

A client proves itself in `head.auth` of a request and in the `Authorization` header everywhere else, as the
published clients do. Without a token the server listens on loopback only, and what threatens it there is
the user's own browser: `OpenOnLoopback` refuses requests that a web page of another origin could send, and
those that reach this machine under a foreign name (DNS rebinding).
"""

from __future__ import annotations

import hmac
from functools import lru_cache
from typing import Protocol
from urllib.parse import urlsplit

from aiohttp import hdrs, web

from orchestrator.domain.errors import Refused
from orchestrator.server.settings import is_loopback

_BEARER = "bearer "


class Authenticator(Protocol):
    """Decides about one request. Raises Refused(401) or Refused(403); returning means yes."""

    def check_call(self, request: web.BaseRequest, token: str | None) -> None:
        """Decide about an RPC whose head carried `token`."""
        ...

    def check_read(self, request: web.BaseRequest) -> None:
        """Decide about anything else, by its headers."""
        ...


class SharedToken:
    """One bearer token for everybody, compared in constant time."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()

    def check_call(self, request: web.BaseRequest, token: str | None) -> None:
        """Compare the head's token."""
        self._check(token)

    def check_read(self, request: web.BaseRequest) -> None:
        """Compare the bearer token of the Authorization header."""
        value = request.headers.get(hdrs.AUTHORIZATION, "")
        bearer = value[: len(_BEARER)].lower() == _BEARER
        self._check(value[len(_BEARER) :].strip() if bearer else None)

    def _check(self, token: str | None) -> None:
        # surrogateescape is how aiohttp decodes header bytes; anything that cannot be encoded is no token.
        given = (token or "").encode(errors="surrogateescape")
        if not hmac.compare_digest(given, self._token):
            raise Refused(401, "Unauthorized: send the server's token as `Authorization: Bearer TOKEN`")


class OpenOnLoopback:
    """Everybody on this machine, except web pages."""

    def check_call(self, request: web.BaseRequest, token: str | None) -> None:
        """Refuse what a web page may have sent; a token is welcome but not needed."""
        self.check_read(request)

    def check_read(self, request: web.BaseRequest) -> None:
        """Refuse what a web page may have sent."""
        host = request.headers.get(hdrs.HOST, "")
        origin = request.headers.get(hdrs.ORIGIN)
        if not _names_loopback(host):
            raise Refused(
                403, f"Forbidden: without a token this server answers to localhost, not to {host!r}"
            )
        if origin is not None and urlsplit(origin).netloc != host:
            raise Refused(403, f"Forbidden: pages of {origin!r} may not use this server")


@lru_cache(maxsize=64)
def _names_loopback(host: str) -> bool:
    """Tell whether a Host header names this machine; every browser sends one, so its absence is harmless."""
    if host.startswith("["):
        return is_loopback(host[1:].partition("]")[0])
    return not host or is_loopback(host.partition(":")[0])


def authenticator(token: str | None) -> Authenticator:
    """Return the authenticator for a shared token, or the one that needs none."""
    return OpenOnLoopback() if token is None else SharedToken(token)
