"""JSON Web Tokens: a signature that proves who issued a token, and claims that say what it allows.

`exp` is required and checked; `iss` and `aud` are if configured. The claim `role` "admin" (in any case)
allows everything; otherwise `prefix` must be a string, and "" allows everything. Claims follow the
published protocol, except that `aud` may be a string as well as a list, as RFC 7519 has it.

Invariants: (1) what is wrong with a token is told with 401, what it lacks with 403, and neither raises
anything else. (2) A verified token is remembered, a refused one never; expiry is checked at every use.
"""

from __future__ import annotations

import binascii
import time
from base64 import urlsafe_b64decode
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import jwt
import msgspec

from orchestrator.domain.errors import Refused
from orchestrator.protocol.nesting import too_deep
from orchestrator.server.auth_identity import Identity
from orchestrator.server.auth_keys import VerificationKey, load_keys
from orchestrator.server.settings import JwtSettings

TOKEN_LENGTH_MAX = 16 * 1024
_REMEMBERED_MAX = 1024
# Later than any clock, and within what a float holds.
_EXPIRY_MAX = 2**53
_UNSIGNED = "none"
_ADMIN = "admin"
_REASONS: tuple[tuple[type[jwt.PyJWTError], str], ...] = (
    (jwt.ExpiredSignatureError, "the token has expired, get a new one"),
    (jwt.ImmatureSignatureError, "the token is not valid yet, check the clocks"),
    (
        jwt.MissingRequiredClaimError,
        "the token lacks a claim that this server requires: exp, and iss or aud if set",
    ),
    (jwt.InvalidAudienceError, "the token is for another audience"),
    (jwt.InvalidIssuerError, "the token is of another issuer"),
    (jwt.InvalidSignatureError, "the token is signed by another key"),
)


class _Header(msgspec.Struct, frozen=True):
    alg: str
    crit: Any = None


class TokenVerifier:
    """Turns tokens into identities. Making one, or reloading, raises ServerMisconfigured."""

    def __init__(self, settings: JwtSettings) -> None:
        self._settings = settings
        self._keys: tuple[VerificationKey, ...] = ()
        self._known: OrderedDict[str, Identity] = OrderedDict()
        self.reload()

    def reload(self) -> None:
        """Read the keys again; tokens of a key that has gone are refused from now on."""
        if self._settings.public_key is not None:
            self._keys = load_keys(self._settings.public_key)
        self._known.clear()

    def identify(self, token: str | None) -> Identity:
        """Return whom a token speaks for. Raises Refused(401) or Refused(403)."""
        if not token:
            raise _unauthorized("send a token")
        known = self._known.get(token)
        if known is not None:
            if known.expires_at is not None and known.expires_at <= time.time():
                del self._known[token]
                raise _unauthorized("the token has expired, get a new one")
            self._known.move_to_end(token)
            return known
        identity = self._identity(self._claims(token))
        self._known[token] = identity
        if len(self._known) > _REMEMBERED_MAX:
            self._known.popitem(last=False)
        return identity

    def _claims(self, token: str) -> Mapping[str, Any]:
        algorithm = _algorithm(token)
        if self._settings.unsigned and algorithm == _UNSIGNED and token.endswith("."):
            return self._decode(token, None, _UNSIGNED)
        keys = [each for each in self._keys if algorithm in each.algorithms]
        if not keys:
            raise _unauthorized(f"the algorithm {algorithm[:16]!r} is not one of this server's keys")
        for each in keys[:-1]:
            try:
                return self._decode(token, each, algorithm)
            except _WrongKey:
                continue
        return self._decode(token, keys[-1], algorithm)

    def _decode(self, token: str, key: VerificationKey | None, algorithm: str) -> Mapping[str, Any]:
        settings = self._settings
        required = ["exp"]
        required += ["iss"] if settings.issuer is not None else []
        required += ["aud"] if settings.audience is not None else []
        try:
            return jwt.decode(
                token,
                key.key if key else "",
                algorithms=[algorithm],
                audience=settings.audience,
                issuer=settings.issuer,
                leeway=settings.leeway_s,
                options={
                    "require": required,
                    "verify_signature": key is not None,
                    "verify_exp": True,
                    "verify_nbf": True,
                    "verify_iat": True,
                    "verify_iss": True,
                    "verify_aud": settings.audience is not None,
                    "verify_sub": False,
                    "verify_jti": False,
                },
            )
        except jwt.InvalidSignatureError as error:
            raise _WrongKey(401, _reason(error)) from error
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
            raise Refused(401, _reason(error)) from error

    def _identity(self, claims: Mapping[str, Any]) -> Identity:
        # Leeway is for clocks that disagree: what the token opened lasts as long as it is believed.
        expires_at = min(int(claims["exp"]), _EXPIRY_MAX) + self._settings.leeway_s
        role = claims.get("role")
        if isinstance(role, str) and role.lower() == _ADMIN:
            return Identity(expires_at=expires_at)
        prefix = claims.get("prefix")
        if not isinstance(prefix, str):
            raise Refused(
                403,
                'Forbidden: the token has neither the role "admin" nor a string `prefix`: issue it with one',
            )
        return Identity(prefix=prefix, expires_at=expires_at)


class _WrongKey(Refused):
    """Another key may fit."""


def _algorithm(token: str) -> str:
    """Return the algorithm that a token names, if it has the form of one at all."""
    if len(token) > TOKEN_LENGTH_MAX:
        raise _unauthorized(f"the token is longer than {TOKEN_LENGTH_MAX} characters")
    try:
        part = token.encode("ascii").partition(b".")[0]
        text = urlsafe_b64decode(part + b"=" * (-len(part) % 4))
        if too_deep(text):
            raise _unauthorized("the token's header is nested too deeply")
        header = msgspec.json.decode(text, type=_Header)
    except (UnicodeError, binascii.Error, msgspec.DecodeError) as error:
        raise _unauthorized("this is not a JSON Web Token") from error
    if header.crit is not None:
        raise _unauthorized("the token demands extensions (crit) that this server does not have")
    return header.alg


def _unauthorized(reason: str) -> Refused:
    return Refused(401, f"Unauthorized: {reason}")


def _reason(error: Exception) -> str:
    for kind, reason in _REASONS:
        if isinstance(error, kind):
            return f"Unauthorized: {reason}"
    return "Unauthorized: the token is malformed"
