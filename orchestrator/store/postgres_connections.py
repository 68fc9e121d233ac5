"""The connections of one PostgreSQL store: few, made when needed, thrown away when anything was wrong.

Invariants: at most `most` are open for transactions at once, and whoever waits longer than a while is told
so; a connection that failed is never used again; one that is kept too long is cut off, for its database may
have fallen silent; a database that does not answer is asked with growing pauses, and everybody is refused at
once in between.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import asyncpg
import structlog

from orchestrator.store.errors import StoreError
from orchestrator.store.postgres_faults import CUT, FAULTS, LOST, opening_error, place_of

_log = structlog.get_logger(__name__)
VERSION_MIN = 14
CONNECT_TIMEOUT_S = 5.0
COMMAND_TIMEOUT_S = 30.0
"""So long a statement may take on a connection of the caller's own."""
LENT_S_MAX = 30.0
"""So long a connection may be lent. The driver's own limit is a timer for each statement, which costs a
fifteenth of a lone one; here one look a while serves all."""
LOOK_S = 1.0
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


class Connection(asyncpg.Connection):  # type: ignore[misc]
    """One connection, which keeps the statements that are used most at hand."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._at_hand: dict[str, asyncpg.prepared_stmt.PreparedStatement[Any]] = {}

    async def fetchval_often(self, query: str, *given: object) -> Any:
        """Return what `fetchval` does, without a search for what the driver knows of the statement."""
        statement = self._at_hand.get(query)
        if statement is None:
            statement = self._at_hand[query] = await self.prepare(query)
        try:
            return await statement.fetchval(*given)
        except asyncpg.InvalidCachedStatementError:  # the schema was changed; nothing has happened
            del self._at_hand[query]
            return await self.fetchval(query, *given)


def heed_cancellation(task: asyncio.Task[Any] | None = None, before: int = 0) -> None:
    """Raise CancelledError if a task, this one, has been asked to end more often than `before`.

    The driver may lose a cancellation that comes with the end of a query or of its connection, and a task
    that loops would then go on for ever.
    """
    if _cancellations(task or asyncio.current_task()) > before:
        raise asyncio.CancelledError


def _cancellations(task: asyncio.Task[Any] | None) -> int:
    """Return how often a task has been asked to end: more than 0 while it cleans up."""
    return 0 if task is None else task.cancelling()


class Lent:
    """A connection for a while; see `Connections.lent`. Not a generator, as every statement pays for it."""

    __slots__ = ("_before", "_connection", "_connections", "_task")

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._task = asyncio.current_task()
        self._before = _cancellations(self._task)

    async def __aenter__(self) -> Connection:
        connections = self._connections
        try:
            self._connection = connections.lend_idle() or await connections.lend()
        except Exception:
            heed_cancellation(self._task, self._before)
            raise
        return self._connection

    async def __aexit__(self, _: object, error: BaseException | None, __: object) -> None:
        self._connections.take_back(self._connection, error)
        heed_cancellation(self._task, self._before)


class Connections:
    """Lends connections to one database."""

    def __init__(self, url: str, most: int) -> None:
        self.place = place_of(url)
        self._url = url
        self._most = most
        self._idle: list[Connection] = []
        self._lent: dict[Connection, float] = {}
        self._taken = 0  # places of what is lent, or being made for somebody
        self._freed = asyncio.Event()
        self._look: asyncio.TimerHandle | None = None
        self._refusal: StoreError | None = None
        self._retry_at_s = 0.0
        self._pause_s = PAUSE_S_MIN

    async def connect(self, *, command_timeout_s: float | None = COMMAND_TIMEOUT_S) -> Connection:
        """Return a new connection of the caller's own, whose statements are timed. Raises StoreError."""
        if self._refusal is not None and time.monotonic() < self._retry_at_s:
            raise StoreError(str(self._refusal), transient=True, connection_lost=True)
        try:
            connection = await self._connect(command_timeout_s)
        except StoreError as error:
            self._refusal = error
            self._retry_at_s = time.monotonic() + self._pause_s
            self._pause_s = min(self._pause_s * 2, PAUSE_S_MAX)
            raise
        self._refusal, self._pause_s = None, PAUSE_S_MIN
        return connection

    async def _connect(self, command_timeout_s: float | None) -> Connection:
        try:
            try:
                return await self._connect_once(command_timeout_s)
            except CUT:  # whoever ends all connections may have met this one while it was being made
                return await self._connect_once(command_timeout_s)
        except FAULTS as error:
            raise opening_error(self.place, error) from error
        except ValueError as error:  # the URL itself
            raise StoreError(f"store {self.place}: {error}; correct the URL") from error

    async def _connect_once(self, command_timeout_s: float | None) -> Connection:
        connection: Connection = await asyncpg.connect(
            self._url,
            connection_class=Connection,
            timeout=CONNECT_TIMEOUT_S,
            command_timeout=command_timeout_s,
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
        encoding, commit = await connection.fetchrow(_CHECK, timeout=CONNECT_TIMEOUT_S) or ("", "")
        if encoding != "UTF8":
            raise StoreError(
                f"store {self.place} is encoded in {encoding}; create a database with encoding UTF8"
            )
        if commit == "off":  # an acknowledged write must last
            await connection.execute("SET synchronous_commit = on", timeout=CONNECT_TIMEOUT_S)

    def lent(self) -> Lent:
        """Lend a connection (`async with`); it is kept only if it comes back whole. Raises StoreError."""
        return Lent(self)

    def lend_idle(self) -> Connection | None:
        """Return what `lend` does, if a place is free and a connection idle."""
        while self._idle and self._taken < self._most:
            connection = self._idle.pop()  # the last one used has its statements in the cache
            if not connection.is_closed():
                self._taken += 1
                self._note(connection)
                return connection
        return None

    async def lend(self) -> Connection:
        """Return a connection that is idle or new; `take_back` follows. Raises StoreError."""
        if self._taken >= self._most:
            await self._wait_for_place()
        connection = self.lend_idle()
        if connection is None:
            self._taken += 1
            try:
                connection = await self.connect(command_timeout_s=None)
            except BaseException:
                self._free_place()
                raise
            self._note(connection)
        return connection

    async def _wait_for_place(self) -> None:
        try:
            async with asyncio.timeout(BUSY_TIMEOUT_S):
                while self._taken >= self._most:
                    self._freed.clear()
                    await self._freed.wait()
        except TimeoutError as error:
            raise StoreError(
                f"store {self.place}: all {self._most} connections are busy; try again later", transient=True
            ) from error

    def _free_place(self) -> None:
        self._taken -= 1
        self._freed.set()

    def _note(self, connection: Connection) -> None:
        self._lent[connection] = time.monotonic()
        if self._look is None:
            self._look_later()

    def _look_later(self) -> None:
        self._look = asyncio.get_running_loop().call_later(LOOK_S, self._cut_late)

    def _cut_late(self) -> None:
        """Cut off what has been lent for too long, and look again soon if anything else is."""
        before = time.monotonic() - LENT_S_MAX
        for connection in [each for each, since in self._lent.items() if since < before]:
            _log.warning("no answer in time, connection cut off", store=self.place, seconds=LENT_S_MAX)
            connection.terminate()
        self._look = None
        if self._lent:
            self._look_later()

    def take_back(self, connection: Connection, error: BaseException | None) -> None:
        """Keep a connection for the next, unless it may be of no use after this error."""
        # Whoever is cancelled leaves a statement under way, and nobody knows what becomes of it.
        cut_off = error is not None and (not isinstance(error, Exception) or isinstance(error, LOST))
        closed = connection.is_closed()
        if not closed and (cut_off or connection.is_in_transaction()):
            connection.terminate()
        elif not closed:
            self._idle.append(connection)
        self._lent.pop(connection, None)
        self._free_place()

    def forget_idle(self) -> None:
        """Throw away what is idle: its server has most likely gone."""
        while self._idle:
            self._idle.pop().terminate()

    async def close(self) -> None:
        """Close everything; what is lent is cut off."""
        if self._look is not None:  # the next loop looks by itself
            self._look.cancel()
            self._look = None
        for connection in list(self._lent):
            connection.terminate()
        while self._idle:
            connection = self._idle.pop()
            try:
                await connection.close(timeout=CONNECT_TIMEOUT_S)
            except FAULTS:
                connection.terminate()
