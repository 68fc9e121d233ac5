"""How a server listens, whom it believes and what it bounds.

Invariant: settings that would expose an unauthenticated server beyond this machine cannot be constructed.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass, field

from orchestrator.server.errors import ServerMisconfigured

LOOPBACK = "127.0.0.1"
DEFAULT_PORT = 8001
PORT_MAX = 65_535
TOKEN_LENGTH_MIN = 16
_POSITIVE = (
    "body_bytes_max",
    "connections_max",
    "buffer_messages",
    "buffer_bytes",
    "keep_alive_s",
    "stall_s",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """Everything that an operator may set on the HTTP server.

    `port` 0 takes a free one. `token` is the bearer token shared by all clients; without one only loopback
    addresses are served. `body_bytes_max` bounds a request, `connections_max` the delivery streams,
    `buffer_messages` and `buffer_bytes` what waits on each of them. A comment is sent after `keep_alive_s`
    of silence; a reader that takes nothing for `stall_s` is let go. Shutdown waits `shutdown_s` for requests
    in flight.
    `access_log` writes a line for every request, never its payload; refusals of the server itself and
    failures are logged in any case.

    Raises ServerMisconfigured, with all faults at once.
    """

    host: str = LOOPBACK
    port: int = DEFAULT_PORT
    token: str | None = field(default=None, repr=False)
    body_bytes_max: int = 8 * 1024 * 1024
    connections_max: int = 1000
    buffer_messages: int = 100
    buffer_bytes: int = 16 * 1024 * 1024
    keep_alive_s: float = 15.0
    stall_s: float = 60.0
    shutdown_s: float = 10.0
    access_log: bool = False

    def __post_init__(self) -> None:
        faults = tuple(self._faults())
        if faults:
            raise ServerMisconfigured(*faults)

    def _faults(self) -> Iterator[str]:
        if self.token is None and not is_loopback(self.host):
            yield (
                f"host {self.host!r} is reachable from other machines, and no token is configured: "
                f"set a token of at least {TOKEN_LENGTH_MIN} characters, or listen on {LOOPBACK}"
            )
        if self.token is not None:
            yield from _faults_of_token(self.token)
        if not 0 <= self.port <= PORT_MAX:
            yield f"port {self.port} does not exist: choose 1 to {PORT_MAX}, or 0 for a free one"
        for name in (
            "body_bytes_max",
            "connections_max",
            "buffer_messages",
            "buffer_bytes",
            "keep_alive_s",
            "stall_s",
        ):
            if getattr(self, name) <= 0:
                yield f"{name} is {getattr(self, name)}: it must be greater than zero"
        if self.shutdown_s < 0:
            yield f"shutdown_s is {self.shutdown_s}: it must not be negative"


def _faults_of_token(token: str) -> Iterator[str]:
    if len(token) < TOKEN_LENGTH_MIN:
        yield f"the token has {len(token)} characters: use at least {TOKEN_LENGTH_MIN} random ones"
    if not token.isascii() or not token.isprintable() or " " in token:
        yield "the token must consist of printable ASCII characters without spaces"


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach `host`; a name other than localhost is not believed."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
