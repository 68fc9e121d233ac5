"""The doctor's question to the orchestrator, and the connection that others use."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from orchestrator import Refused, Unavailable
from orchestrator.protocol.commands import PromiseSearch
from orchestrator.transport.http import HttpTransport
from scorers.doctor.values import Fault, Skipped, Surroundings
from scorers.settings import token_of

TIMEOUT_S = 10.0
UNAUTHORIZED = frozenset({401, 403})


async def server(around: Surroundings) -> str:
    """Ask whether it answers, and takes the token."""
    settings = around.settings
    try:
        async with asking(around) as transport:
            await transport.call(PromiseSearch(limit=1))
    except Unavailable as error:
        if "server" in settings.model_fields_set:
            raise Fault(f"{error}; start it with dao-scorer serve, or correct --server") from error
        raise Skipped(f"none at {settings.server}: dao-scorer serve or up starts it") from error
    except Refused as error:
        if error.status in UNAUTHORIZED:
            raise Fault(f"{settings.server} refuses the token: {error}") from error
        raise
    return f"{settings.server} answers" + (" and takes the token" if settings.token else "")


@asynccontextmanager
async def asking(around: Surroundings) -> AsyncIterator[HttpTransport]:
    """Hold a connection."""
    token = token_of(around.settings)
    transport = HttpTransport(around.settings.server, token=token, timeout_s=TIMEOUT_S)
    try:
        yield transport
    finally:
        await transport.close()
