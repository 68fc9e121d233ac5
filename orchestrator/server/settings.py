"""How a server listens, whom it believes and what it bounds.

Invariant: settings that would expose an unauthenticated server beyond this machine cannot be constructed.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.server.errors import ServerMisconfigured

LOOPBACK = "127.0.0.1"
DEFAULT_PORT = 8001
PORT_MAX = 65_535
TOKEN_LENGTH_MIN = 16
LEEWAY_S_MAX = 300.0
ANY_ORIGIN = "*"
_ORIGIN = re.compile(r"https?://[^/?#@\s,]+")
_POSITIVE = (
    "body_bytes_max",
    "connections_max",
    "sockets_max",
    "buffer_messages",
    "buffer_bytes",
    "keep_alive_s",
    "stall_s",
    "headers_s",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class JwtSettings:
    """Which JSON Web Tokens are believed.

    `public_key` is a PEM file of one public key or several; `issuer` and `audience` are required of tokens
    if set; clocks may differ by `leeway_s`. `unsigned` accepts tokens that nobody has signed (`alg: none`),
    for trying things out on loopback.
    """

    public_key: Path | None = None
    issuer: str | None = None
    audience: str | None = None
    leeway_s: float = 10.0
    unsigned: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSettings:
    """The PEM files of the certificate (with its chain) and of its key, which must have no passphrase."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """Everything that an operator may set on the HTTP server.

    `port` 0 takes a free one. `token` is the bearer token shared by all clients; without one only loopback
    addresses are served. `jwt` takes its place where clients have tokens of their own. `tls` serves HTTPS;
    where a proxy does, `trusted_proxies` (addresses or networks) are believed about who asks. Pages of
    `cors_origins` may use the server, `*` meaning all. `open_metrics` and `open_proofs` show metrics and
    proofs to those without a token, too. `body_bytes_max` bounds a request, `connections_max` the delivery
    streams, `buffer_messages` and `buffer_bytes` what waits on each of them, `sockets_max` all connections
    together (fewer where the system lets this process open fewer files). A comment is sent after
    `keep_alive_s` of silence; a reader that takes nothing for `stall_s` is let go, and so is a new
    connection that has sent no complete request line and headers within `headers_s`. Shutdown waits
    `shutdown_s` for requests in flight.
    `access_log` writes a line for every request, never its payload; refusals of the server itself and
    failures are logged in any case. `debug` lets callers steer an engine that is being debugged: on loopback
    only.

    Raises ServerMisconfigured, with all faults at once.
    """

    host: str = LOOPBACK
    port: int = DEFAULT_PORT
    token: str | None = field(default=None, repr=False)
    jwt: JwtSettings | None = None
    tls: TlsSettings | None = None
    trusted_proxies: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    open_metrics: bool = False
    open_proofs: bool = False
    body_bytes_max: int = 8 * 1024 * 1024
    connections_max: int = 1000
    sockets_max: int = 4000
    buffer_messages: int = 100
    buffer_bytes: int = 16 * 1024 * 1024
    keep_alive_s: float = 15.0
    stall_s: float = 60.0
    headers_s: float = 15.0
    shutdown_s: float = 10.0
    access_log: bool = False
    debug: bool = False

    def __post_init__(self) -> None:
        faults = tuple(self._faults())
        if faults:
            raise ServerMisconfigured(*faults)

    def _faults(self) -> Iterator[str]:
        yield from self._faults_of_exposure()
        if self.token is not None:
            yield from _faults_of_token(self.token)
        if self.jwt is not None:
            yield from self._faults_of_jwt(self.jwt)
        if self.debug and (self.trusted_proxies or not is_loopback(self.host)):
            yield f"debug lets callers wipe the store: listen on {LOOPBACK} without proxies, or switch it off"
        yield from self._faults_of_origins()
        for proxy in self.trusted_proxies:
            if not _is_network(proxy):
                yield f"trusted proxy {proxy!r} is no address or network: write 10.0.0.1 or 10.0.0.0/8"
        if not 0 <= self.port <= PORT_MAX:
            yield f"port {self.port} does not exist: choose 1 to {PORT_MAX}, or 0 for a free one"
        for name in _POSITIVE:
            if getattr(self, name) <= 0:
                yield f"{name} is {getattr(self, name)}: it must be greater than zero"
        if 0 < self.sockets_max <= self.connections_max:
            yield f"sockets_max is {self.sockets_max}: it must exceed connections_max, {self.connections_max}"
        if self.shutdown_s < 0:
            yield f"shutdown_s is {self.shutdown_s}: it must not be negative"

    def _faults_of_exposure(self) -> Iterator[str]:
        if self.token is not None or self.jwt is not None:
            return
        remedy = f"set a token of at least {TOKEN_LENGTH_MIN} characters or a JWT public key"
        if not is_loopback(self.host):
            yield (
                f"host {self.host!r} is reachable from other machines, and no token is configured: "
                f"{remedy}, or listen on {LOOPBACK}"
            )
        if self.trusted_proxies:
            yield f"a proxy makes this server reachable for others, and no token is configured: {remedy}"

    def _faults_of_jwt(self, jwt: JwtSettings) -> Iterator[str]:
        if self.token is not None:
            yield "a shared token and JWT are both configured: set one of them, a shared token never expires"
        if jwt.unsigned == (jwt.public_key is not None):
            yield "JWT needs a public key, or `unsigned` in its place"
        if jwt.unsigned and (self.trusted_proxies or not is_loopback(self.host)):
            yield (
                "unsigned tokens prove nothing: they are accepted only where other machines cannot reach the "
                f"server, so listen on {LOOPBACK} without proxies, or set a JWT public key"
            )
        if not 0 <= jwt.leeway_s <= LEEWAY_S_MAX:
            yield f"JWT leeway_s is {jwt.leeway_s}: it must be between 0 and {LEEWAY_S_MAX:g}"
        for name, value in (("issuer", jwt.issuer), ("audience", jwt.audience)):
            if value == "":
                yield f"JWT {name} is empty: name it, or leave it out"

    def _faults_of_origins(self) -> Iterator[str]:
        guarded = self.token is not None or (self.jwt is not None and not self.jwt.unsigned)
        for origin in self.cors_origins:
            if origin == ANY_ORIGIN:
                if not guarded:
                    yield "CORS origin '*' lets every web page use a server without tokens: name the origins"
            elif not _ORIGIN.fullmatch(origin) or origin != origin.lower():
                yield f"CORS origin {origin!r} is none: write it as browsers do, like https://app.example:8443"


def _faults_of_token(token: str) -> Iterator[str]:
    if len(token) < TOKEN_LENGTH_MIN:
        yield f"the token has {len(token)} characters: use at least {TOKEN_LENGTH_MIN} random ones"
    if not token.isascii() or not token.isprintable() or " " in token:
        yield "the token must consist of printable ASCII characters without spaces"


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach `host`; a name other than localhost is not believed."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
