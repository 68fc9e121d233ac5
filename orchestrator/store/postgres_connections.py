"""The connections of one PostgreSQL store: few, made when needed, thrown away when anything was wrong.

Invariants: at most `most` are open for transactions at once, and whoever waits longer than a while is told
so; a connection that failed is never used again; a database that does not answer is asked with growing
pauses, and everybody is refused at once in between.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, TypeAlias

import asyncpg

from orchestrator.store.errors import StoreError
from orchestrator.store.postgres_faults import CUT, FAULTS, LOST, opening_error, place_of

Connection: TypeAlias = "asyncpg.Connection[Any]"
VERSION_MIN = 14
CONNECT_TIMEOUT_S = 5.0
COMMAND_TIMEOUT_S = 30.0
BUSY_TIMEOUT_S = 10.0
PAUSE_S_MIN = 0.1
PAUSE_S_MAX = 5.0
STATEMENTS_MAX = 256
_SETTINGS = {
    "application_name": "dao-scorer",
    # Every statement finds its rows by an index. Statistics lag behind a young store, and a plan that was
    # made for ten rows would scan a million: so nothing else is offered to the planner.
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "plan_cache_mode": "force_generic_plan",
    "jit": "off",
    "lock_timeout": "10s",
    # A server that stopped in the middle of a transaction must not hold its locks for ever.
    "idle_in_transaction_session_timeout": "15s",
    "statement_timeout": "30s",
}
_CHECK = "SELECT current_setting('server_encoding'), current_setting('synchronous_commit')"


def cancellations() -> int:
    """Return how often this task has been asked to end: more than 0 while it cleans up."""
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


def heed_cancellation(before: int = 0) -> None:
    """Raise CancelledError if this task has been asked to end more often than `before`.

    The driver may lose a cancellation that comes with the end of a query or of its connection, and a task
    that loops would then go on for ever.
    """
    if cancellations() > before:
        raise asyncio.CancelledError


class Lent:
    """A connection for a while; see `Connections.lent`. Not a generator, as every statement pays for it."""

    __slots__ = ("_before", "_connection", "_connections")

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._before = cancellations()

    async def __aenter__(self) -> Connection:
        try:
            self._connection = await self._connections.lend()
        except Exception:
            heed_cancellation(self._before)
            raise
        return self._connection

    async def __aexit__(self, _: object, error: BaseException | None, __: object) -> None:
        self._connections.take_back(self._connection, error)
        heed_cancellation(self._before)


class Connections:
    """Lends connections to one database."""

    def __init__(self, url: str, most: int) -> None:
        self.place = place_of(url)
        self._url = url
        self._most = most
        self._idle: list[Connection] = []
        self._lent: set[Connection] = set()
        self._places = asyncio.Semaphore(most)
        self._refusal: StoreError | None = None
        self._retry_at_s = 0.0
        self._pause_s = PAUSE_S_MIN

    async def connect(self) -> Connection:
        """Return a new connection of the caller's own. Raises StoreError."""
        if self._refusal is not None and time.monotonic() < self._retry_at_s:
            raise StoreError(str(self._refusal), transient=True, connection_lost=True)
        try:
            connection = await self._connect()
        except StoreError as error:
            self._refusal = error
            self._retry_at_s = time.monotonic() + self._pause_s
            self._pause_s = min(self._pause_s * 2, PAUSE_S_MAX)
            raise
        self._refusal, self._pause_s = None, PAUSE_S_MIN
        return connection

    async def _connect(self) -> Connection:
        try:
            try:
                return await self._connect_once()
            except CUT:  # whoever ends all connections may have met this one while it was being made
                return await self._connect_once()
        except FAULTS as error:
            raise opening_error(self.place, error) from error
        except ValueError as error:  # the URL itself
            raise StoreError(f"store {self.place}: {error}; correct the URL") from error

    async def _connect_once(self) -> Connection:
        connection: Connection = await asyncpg.connect(
            self._url,
            timeout=CONNECT_TIMEOUT_S,
            command_timeout=COMMAND_TIMEOUT_S,
            statement_cache_size=STATEMENTS_MAX,
            max_cached_statement_lifetime=0,
            server_settings=_SETTINGS,
        )
        try:
            await self._check(connection)
        except BaseException:
            connection.terminate()
            raise
        return connection

    async def _check(self, connection: Connection) -> None:
        version = connection.get_server_version()
        if version.major < VERSION_MIN:
            raise StoreError(
                f"store {self.place} is PostgreSQL {version.major}, too old; "
                f"upgrade it to {VERSION_MIN} or later"
            )
        encoding, commit = await connection.fetchrow(_CHECK) or ("", "")
        if encoding != "UTF8":
            raise StoreError(
                f"store {self.place} is encoded in {encoding}; create a database with encoding UTF8"
            )
        if commit == "off":  # an acknowledged write must last
            await connection.execute("SET synchronous_commit = on")

    def lent(self) -> Lent:
        """Lend a connection (`async with`); it is kept only if it comes back whole. Raises StoreError."""
        return Lent(self)

    async def lend(self) -> Connection:
        """Return a connection that is idle or new; `take_back` follows. Raises StoreError."""
        if self._places.locked():
            await self._wait_for_place()
        else:
            await self._places.acquire()
        try:
            connection = self._idle_one() or await self.connect()
        except BaseException:
            self._places.release()
            raise
        self._lent.add(connection)
        return connection

    async def _wait_for_place(self) -> None:
        try:
            async with asyncio.timeout(BUSY_TIMEOUT_S):
                await self._places.acquire()
        except TimeoutError as error:
            raise StoreError(
                f"store {self.place}: all {self._most} connections are busy; try again later", transient=True
            ) from error

    def take_back(self, connection: Connection, error: BaseException | None) -> None:
        """Keep a connection for the next, unless it may be of no use after this error."""
        # Whoever is cancelled leaves a statement under way, and nobody knows what becomes of it.
        cut_off = error is not None and (not isinstance(error, Exception) or isinstance(error, LOST))
        if cut_off or (not connection.is_closed() and connection.is_in_transaction()):
            connection.terminate()
        self._lent.discard(connection)
        if not connection.is_closed():
            self._idle.append(connection)
        self._places.release()

    def _idle_one(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()  # the last one used has its statements in the cache
            if not connection.is_closed():
                return connection
        return None

    def forget_idle(self) -> None:
        """Throw away what is idle: its server has most likely gone."""
        while self._idle:
            self._idle.pop().terminate()

    async def close(self) -> None:
        """Close everything; what is lent is cut off."""
        for connection in list(self._lent):
            connection.terminate()
        while self._idle:
            connection = self._idle.pop()
            try:
                await connection.close(timeout=CONNECT_TIMEOUT_S)
            except FAULTS:
                connection.terminate()
