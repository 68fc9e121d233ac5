"""How a command runs: its settings, its connection to the server, and one line for every known error."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

from contracts.artifacts import ArtifactNotFoundError
from contracts.bindings import BindingError, MalformedLogError
from contracts.rpc import RpcError
from contracts.transactions import SignerError
from listener import ListenerError
from orchestrator.commitments.errors import CommitmentError
from orchestrator.domain.errors import OrchestratorError
from orchestrator.protocol.transport import Transport
from orchestrator.store import StoreError
from orchestrator.transport.http import HttpTransport
from scorers.cli.output import fail
from scorers.errors import ScorerError
from scorers.settings import Settings

P = ParamSpec("P")
KNOWN_ERRORS = (
    ArtifactNotFoundError,
    BindingError,
    CommitmentError,
    ListenerError,
    MalformedLogError,
    OrchestratorError,
    RpcError,
    ScorerError,
    SignerError,
    StoreError,
)
"""The roots of what may go wrong without a fault in this program: each has a message for the operator."""


def command(run: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Make a coroutine function a command: run it to its end, tell known errors in one line."""

    @wraps(run)
    def synchronous(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            asyncio.run(run(*args, **kwargs))
        except BaseExceptionGroup as group:
            known = _first_known(group)
            if known is None:
                raise
            fail(str(known))
        except (*KNOWN_ERRORS, OSError) as error:
            fail(str(error))
        except KeyboardInterrupt:
            raise SystemExit(130) from None

    return synchronous


def _first_known(group: BaseExceptionGroup[BaseException]) -> BaseException | None:
    """Return the first known error of a group in which nothing else went wrong."""
    leaves = list(_leaves(group))
    wrong = [error for error in leaves if not isinstance(error, asyncio.CancelledError)]
    return wrong[0] if wrong and all(isinstance(error, (*KNOWN_ERRORS, OSError)) for error in wrong) else None


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]


@asynccontextmanager
async def server(settings: Settings) -> AsyncIterator[Transport]:
    """Hold a connection to the orchestrator server."""
    token = settings.token.get_secret_value() if settings.token else None
    transport = HttpTransport(settings.server, token=token)
    try:
        yield transport
    finally:
        await transport.close()


def sqlite_path(url: str) -> Path:
    """Return the file of an `sqlite:///FILE` URL."""
    return Path(url.removeprefix("sqlite:///"))
