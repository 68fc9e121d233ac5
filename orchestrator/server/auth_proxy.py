"""Who really asks when a proxy stands before the server.

Invariant: what a request says about its origin (`X-Forwarded-For`) counts only if a trusted proxy sent it,
and then only the entries that trusted proxies wrote: a client can put anything before them.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from aiohttp import web

FORWARDED_FOR = "X-Forwarded-For"
FORWARDED = ("Forwarded", FORWARDED_FOR, "X-Forwarded-Host")
"""The headers by which a request shows that it came through a proxy."""
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Proxies:
    """The proxies that are believed, as addresses or networks. Raises ValueError for anything else."""

    def __init__(self, trusted: Sequence[str] = ()) -> None:
        self._networks: tuple[Network, ...] = tuple(map(ipaddress.ip_network, trusted))

    def client_of(self, request: web.BaseRequest) -> str:
        """Return the address of whoever asks: the nearest one that is no trusted proxy."""
        address = request.remote or "unknown"
        hops = [hop.strip() for line in request.headers.getall(FORWARDED_FOR, ()) for hop in line.split(",")]
        while hops and self._trusts(address):
            address = hops.pop()
        return address[:64]

    def _trusts(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._networks)
