"""Who may ask: the seam between the routes and whatever proves an identity.

A client proves itself in `head.auth` of a request and in the `Authorization` header everywhere else, as the
published clients do. Without a token the server listens on loopback only, and what threatens it there is
the user's own browser: `OpenOnLoopback` refuses requests that a web page of another origin could send, those
that reach this machine under a foreign name (DNS rebinding), and those that a proxy let in.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection
from functools import lru_cache
from typing import Protocol
from urllib.parse import urlsplit

from aiohttp import hdrs, web

from orchestrator.domain.errors import Refused
from orchestrator.server.auth_identity import EVERYBODY, Identity
from orchestrator.server.auth_jwt import TokenVerifier
from orchestrator.server.auth_proxy import FORWARDED
from orchestrator.server.settings import JwtSettings, is_loopback

_BEARER = "bearer "


class Authenticator(Protocol):
    """Finds out who sent a request. Raises Refused(401) or Refused(403)."""

    def check_call(self, request: web.BaseRequest, token: str | None) -> Identity:
        """Return who sent an RPC whose head carried `token`."""
        ...

    def check_read(self, request: web.BaseRequest) -> Identity:
        """Return who sent anything else, by its headers."""
        ...

    def reload(self) -> None:
        """Read keys again that have changed. Raises ServerMisconfigured and keeps the old ones."""
        ...


class SharedToken:
    """One bearer token for everybody, compared in constant time."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()

    def check_call(self, request: web.BaseRequest, token: str | None) -> Identity:
        """Compare the head's token."""
        # surrogateescape is how aiohttp decodes header bytes; anything that cannot be encoded is no token.
        given = (token or "").encode(errors="surrogateescape")
        if not hmac.compare_digest(given, self._token):
            raise Refused(401, "Unauthorized: send the server's token as `Authorization: Bearer TOKEN`")
        return EVERYBODY

    def check_read(self, request: web.BaseRequest) -> Identity:
        """Compare the bearer token of the Authorization header."""
        return self.check_call(request, bearer_of(request))

    def reload(self) -> None:
        """Do nothing: the token is a setting."""


class OpenOnLoopback:
    """Everybody on this machine, except web pages of origins other than `origins`."""

    def __init__(self, origins: Collection[str] = ()) -> None:
        self._origins = frozenset(origins)

    def check_call(self, request: web.BaseRequest, token: str | None) -> Identity:
        """Refuse what a web page may have sent; a token is welcome but not needed."""
        return self.check_read(request)

    def check_read(self, request: web.BaseRequest) -> Identity:
        """Refuse what a web page or a proxy may have sent."""
        headers = request.headers
        host, origin = headers.get(hdrs.HOST, ""), headers.get(hdrs.ORIGIN)
        if not _names_loopback(host):
            raise Refused(
                403, f"Forbidden: without a token this server answers to localhost, not to {host!r}"
            )
        if origin is not None and urlsplit(origin).netloc != host and origin not in self._origins:
            raise Refused(403, f"Forbidden: pages of {origin!r} may not use this server")
        for name in FORWARDED:
            if name in headers:
                raise Refused(403, "Forbidden: behind a proxy this server needs a token or a JWT public key")
        return EVERYBODY

    def reload(self) -> None:
        """Do nothing: there are no keys."""


class SignedTokens:
    """JSON Web Tokens. `local` guards a server that accepts unsigned ones: there they prove nothing."""

    def __init__(self, verifier: TokenVerifier, local: OpenOnLoopback | None = None) -> None:
        self._verifier = verifier
        self._local = local

    def check_call(self, request: web.BaseRequest, token: str | None) -> Identity:
        """Verify the head's token."""
        if self._local is not None:
            self._local.check_read(request)
        return self._verifier.identify(token)

    def check_read(self, request: web.BaseRequest) -> Identity:
        """Verify the bearer token of the Authorization header."""
        return self.check_call(request, bearer_of(request))

    def reload(self) -> None:
        """Read the public keys again."""
        self._verifier.reload()


def bearer_of(request: web.BaseRequest) -> str | None:
    """Return the bearer token of the Authorization header."""
    value = request.headers.get(hdrs.AUTHORIZATION, "")
    return value[len(_BEARER) :].strip() if value[: len(_BEARER)].lower() == _BEARER else None


@lru_cache(maxsize=64)
def _names_loopback(host: str) -> bool:
    """Tell whether a Host header names this machine; every browser sends one, so its absence is harmless."""
    if host.startswith("["):
        return is_loopback(host[1:].partition("]")[0])
    return not host or is_loopback(host.partition(":")[0])


def authenticator(
    token: str | None, jwt: JwtSettings | None = None, origins: Collection[str] = ()
) -> Authenticator:
    """Return the authenticator for signed tokens, for a shared one, or the one that needs none.

    Raises ServerMisconfigured if the public keys cannot be read.
    """
    if jwt is not None:
        return SignedTokens(TokenVerifier(jwt), OpenOnLoopback(origins) if jwt.unsigned else None)
    return OpenOnLoopback(origins) if token is None else SharedToken(token)
