"""What PostgreSQL and its driver say, in this program's words: what to do, and whether a repeat helps.

No message carries a password: places are named by `place_of`, never by their URL.
"""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qs, unquote, urlsplit

import asyncpg

from orchestrator.domain.errors import OrchestratorError
from orchestrator.store.errors import InvalidRow, StoreError

UNSENT = (asyncpg.InternalClientError,)
"""The driver had taken in that the connection was ending, and would send nothing any more."""
FAULTS = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, asyncio.TimeoutError, *UNSENT)
"""Everything by which the driver can fail."""
REPEATABLE = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)
"""The server has rolled back; the same transaction may succeed at once."""
LOST = (
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.InterfaceError,
    OSError,
    asyncio.TimeoutError,
    *UNSENT,
)
"""The connection is of no further use."""
CUT = (
    asyncpg.AdminShutdownError,
    asyncpg.ConnectionDoesNotExistError,
    asyncpg.ConnectionFailureError,
    *UNSENT,
)
"""Somebody ended the connection, of a database that answers."""
_UNSTORABLE = (asyncpg.DataError, asyncpg.ProgramLimitExceededError)


def place_of(url: str) -> str:
    """Return a URL without its password and options, to name the database in messages."""
    parts = urlsplit(url)
    host = parts.hostname or parse_qs(parts.query).get("host", ["localhost"])[0]
    user = f"{unquote(parts.username)}@" if parts.username else ""
    port = f":{parts.port}" if parts.port else ""
    return f"postgresql://{user}{host}{port}{parts.path}"


def opening_error(place: str, error: BaseException) -> StoreError:
    """Return why a connection could not be made."""
    match error:
        case asyncpg.InvalidPasswordError() | asyncpg.InvalidAuthorizationSpecificationError():
            advice = "correct user and password in the URL, or set PGPASSWORD"
        case asyncpg.InvalidCatalogNameError():
            advice = "create the database with `createdb`, or correct its name in the URL"
        case asyncpg.TooManyConnectionsError():
            advice = "raise max_connections of the server, or stop what else uses it"
            return StoreError(f"store {place}: {_told(error)}; {advice}", transient=True)
        case asyncpg.CannotConnectNowError():
            message = f"store {place}: {_told(error)}; wait until it is up"
            return StoreError(message, transient=True, connection_lost=True)
        case _ if isinstance(error, CUT):
            message = f"store {place} cut the connection off: {_told(error)}; it is sought again, try later"
            return StoreError(message, transient=True, connection_lost=True)
        case OSError() | asyncio.TimeoutError():
            advice = "start PostgreSQL there, or correct host and port in the URL"
            message = f"store {place} cannot be reached: {_told(error)}; {advice}"
            return StoreError(message, transient=True, connection_lost=True)
        case _:
            advice = "see the server's log"
    return StoreError(f"store {place}: {_told(error)}; {advice}")


def running_error(place: str, error: BaseException) -> OrchestratorError:
    """Return why a program failed: InvalidRow for a value that cannot be stored, else StoreError."""
    if isinstance(error, _UNSTORABLE):
        return InvalidRow(f"a value cannot be stored in PostgreSQL: {_told(error)}")
    if isinstance(error, LOST):
        message = f"store {place} lost its connection: {_told(error)}; it is sought again, try later"
        return StoreError(message, transient=True, connection_lost=True)
    full = isinstance(error, asyncpg.DiskFullError)
    advice = "make room on the disk of the database" if full else "see the server's log"
    return StoreError(f"store {place} failed: {_told(error)}; {advice}", transient=True)


def _told(error: BaseException) -> str:
    if isinstance(error, asyncio.TimeoutError):
        return "no answer in time"
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())
