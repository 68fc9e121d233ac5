"""How a command runs: its settings, its connection to the server, and one line for every known error."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import wraps
from typing import Any, ParamSpec

from orchestrator import Orchestrator, event_loop
from orchestrator.client.encryption import Keyring
from orchestrator.client.sealing import SealingTransport
from orchestrator.domain.errors import Refused
from orchestrator.protocol.transport import Transport
from orchestrator.transport.http import HttpTransport
from scorers.cli import INTERRUPTED
from scorers.cli.output import fail
from scorers.errors import UnknownPromise, UnknownRecord
from scorers.settings import Settings, token_of

P = ParamSpec("P")
NOT_FOUND = 404
KNOWN_ERRORS = (
    "contracts.artifacts:ArtifactNotFoundError",
    "contracts.bindings:BindingError",
    "contracts.bindings:MalformedLogError",
    "contracts.dao:DaoError",
    "contracts.rpc:RpcError",
    "contracts.transactions:SignerError",
    "contracts.transactions:WrongSigner",
    "hardhat_free_chain:ListenError",
    "hardhat_free_chain:SettingsError",
    "listener:ListenerError",
    "orchestrator.commitments:CommitmentError",
    "orchestrator.domain.errors:OrchestratorError",
    "orchestrator.store:StoreError",
    "scorers.claim:EvidenceError",
    "scorers.errors:ScorerError",
    "scorers.policy:PolicyMismatch",
    "scorers.steps.proposal:WrongRegistry",
)
"""The roots of what may go wrong without a fault in this program: each has a message for the operator.

Named rather than imported: no command waits for what it does not use, and what is not loaded raises nothing.
"""


def command(run: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Make a coroutine function a command: run it to its end, tell known errors in one line."""

    @wraps(run)
    def synchronous(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            with asyncio.Runner(loop_factory=event_loop) as runner:
                runner.run(run(*args, **kwargs))
        except BrokenPipeError:
            raise  # Whoever read the output has seen enough; that is no error to tell them.
        except KeyboardInterrupt:
            raise SystemExit(INTERRUPTED) from None
        except Exception as error:
            known = _first_known(error)
            if known is None:
                raise
            fail(_told(known))

    return synchronous


@contextmanager
def cleared_away() -> Iterator[None]:
    """Unwind a command at SIGTERM and at the end of its terminal, too: no files and children are left."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None  # noqa: S101 - commands are coroutines
    heard: list[signal.Signals] = []

    def unwind(number: signal.Signals) -> None:
        heard.append(number)
        task.cancel()

    caught = (signal.SIGTERM, signal.SIGHUP)
    for number in caught:
        loop.add_signal_handler(number, unwind, number)
    try:
        yield
    except BaseException:
        if not heard:
            raise
        raise SystemExit(128 + heard[0]) from None
    finally:
        for number in caught:
            loop.remove_signal_handler(number)


@contextmanager
def stop_signals() -> Iterator[asyncio.Event]:
    """Set the event at SIGTERM or SIGINT; a second signal ends the process as it would any other."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    caught = (signal.SIGTERM, signal.SIGINT)

    def asked() -> None:
        stop.set()
        for number in caught:
            loop.remove_signal_handler(number)

    for number in caught:
        loop.add_signal_handler(number, asked)
    try:
        yield stop
    finally:
        for number in caught:
            loop.remove_signal_handler(number)


@asynccontextmanager
async def started(app: Orchestrator, stop: asyncio.Event) -> AsyncIterator[None]:
    """Hold the application. A server that is away is waited for until `stop` is set."""
    starting = asyncio.create_task(app.start())
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
        yield
    finally:
        stopping.cancel()
        if starting.done():
            await app.stop()
        else:
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)


def _first_known(error: BaseException) -> BaseException | None:
    """Return the first known error of one, or of a group in which nothing else went wrong."""
    wrong = [leaf for leaf in _leaves(error) if not isinstance(leaf, asyncio.CancelledError)]
    return wrong[0] if wrong and all(map(_is_known, wrong)) else None


def _is_known(error: BaseException) -> bool:
    """Tell whether the operator can act on it; anything else is a fault here and keeps its traceback."""
    places = (place.split(":") for place in KNOWN_ERRORS)
    roots = (getattr(sys.modules.get(module), name, OSError) for module, name in places)
    return isinstance(error, (OSError, *roots))


def _told(error: BaseException) -> str:
    """Return the message of an error; those of the operating system name what they are about first."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}: check the path and its permissions"
    return str(error) or type(error).__name__


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]


def keys_of(settings: Settings) -> Keyring | None:
    """Return the keys that values are encrypted with, if there are any. Raises KeyFault."""
    file = settings.encryption_key_file
    return Keyring.from_file(file) if file is not None else None


@asynccontextmanager
async def server(settings: Settings) -> AsyncIterator[Transport]:
    """Hold a connection to the orchestrator server; values pass in plain text where the keys are given."""
    keys = keys_of(settings)
    transport = HttpTransport(settings.server, token=token_of(settings))
    try:
        yield transport if keys is None else SealingTransport(transport, keys)
    finally:
        await transport.close()


@contextmanager
def naming(record_id: str, settings: Settings, kind: str = "promise") -> Iterator[None]:
    """Tell which promise, task or schedule is meant where the server says that it does not exist.

    Raises UnknownPromise, or UnknownRecord for another kind.
    """
    try:
        yield
    except Refused as error:
        if error.status != NOT_FOUND:
            raise
        if kind == "promise":
            raise UnknownPromise(record_id, settings.server) from error
        raise UnknownRecord(kind, record_id, settings.server) from error
