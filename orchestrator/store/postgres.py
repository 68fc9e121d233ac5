"""The PostgreSQL store: one database, any number of servers, no leader.

Invariants: a transaction runs at READ COMMITTED and holds the locks of every promise that its program reads
for a decision before it reads any (`postgres_locks`), so that two programs never interleave on the same
promises; its time is the database's, read after locking; a program that meets promises beyond its locks
starts again with the larger set, having written nothing; whatever a program raises, everything is rolled
back. What the database has certainly not committed is repeated here; where a connection was lost while a
commit was under way nobody knows, and the caller is told so.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from operator import attrgetter
from time import perf_counter
from typing import Any, TypeVar

import msgspec

from orchestrator.domain.promise import PromiseRecord
from orchestrator.store import postgres_statements as sql
from orchestrator.store.errors import InvalidRow, StoreError
from orchestrator.store.flushes import Flushes
from orchestrator.store.port import Insert, InsertAll, LoadRows, Outbox, Program, Query, Row, Write
from orchestrator.store.postgres_clock import DatabaseClock, TimeSource
from orchestrator.store.postgres_connections import Connection, Connections
from orchestrator.store.postgres_faults import FAULTS, LOST, REPEATABLE, UNSENT, running_error
from orchestrator.store.postgres_groups import Remembered
from orchestrator.store.postgres_held import Held
from orchestrator.store.postgres_insert import any_fenced, insert, insert_all
from orchestrator.store.postgres_locks import TRY_KEYS, TRY_WHOLE, Locks, LocksTooFew, is_origin
from orchestrator.store.postgres_migration import bring_up_to_date
from orchestrator.store.postgres_notices import Notices
from orchestrator.store.postgres_optimistic import Conflict, Optimistic
from orchestrator.store.postgres_queries import answer, execute_of, rows_of, unblock_of
from orchestrator.store.sharing import Sighting, Waiting

T = TypeVar("T")
CONNECTIONS = 4
ATTEMPTS_MAX = 16
LOST_MAX = 3
LOOK_FROM_MS = 2_000
LOOK_UNTIL_MS = 12_000
LOOK_MAX = 200
_ID_OF = attrgetter("promise_id")
_BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED"


class PostgresStore:
    """A store in a PostgreSQL database that other servers may use at the same time.

    `connections` bounds the transactions that run at once; one connection more serves notifications. With
    `time_from="caller"` the moments given to `run` count instead of the database's: for tests whose servers
    share a clock.
    """

    apart = True

    def __init__(
        self, url: str, *, connections: int = CONNECTIONS, time_from: TimeSource = "database"
    ) -> None:
        self.clock = DatabaseClock()
        self._connections = Connections(url, connections)
        self._notices = Notices(self._connections)
        self._time_from = time_from
        self._open = False
        self.remembered = Remembered()
        self.flushes = Flushes()

    async def open(self) -> None:
        """Connect, upgrade the schema, listen to other servers. Raises StoreError."""
        if self._open:
            raise StoreError(f"store {self._connections.place} is open already")
        await bring_up_to_date(self._connections)
        self._notices.start()
        self._open = True

    async def close(self) -> None:
        """Close all connections. Closing twice is harmless."""
        self._open = False
        await self._notices.stop()
        await self._connections.close()

    async def run(self, make_program: Callable[[int], Program[T]], now_ms: int) -> T:
        """Drive one program in one transaction; see the port."""
        program = make_program(now_ms)
        try:
            first = next(program, None)
            if isinstance(first, (Insert, InsertAll)):
                first = program.send(None)  # who wants that asks `add`
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            program.close()
        if isinstance(first, LoadRows):
            if first.new and (self.clock.observed or self._time_from == "caller"):
                with suppress(Conflict):
                    return await self._optimistic(make_program, now_ms, first, unread=True)
            with suppress(Conflict):
                return await self._optimistic(make_program, now_ms, first)
        return await self._transact(make_program, now_ms, first)

    async def add(self, inserts: Sequence[Insert], now_ms: int) -> list[PromiseRecord | None]:
        """Add promises by one statement; see the port.

        Where nobody knows what became of it, creations may be repeated; what is fenced may not, since its
        fence might not hold any more, and the caller would be told that nothing was written.
        """
        self._check_open()
        given_ms = now_ms if self._time_from == "caller" else None
        try:
            async with self._connections.lent() as connection:
                if len(inserts) == 1:
                    return [await insert(connection, inserts[0], now_ms, given_ms)]
                started = perf_counter()
                added = await insert_all(connection, inserts, now_ms, given_ms)
                self.flushes.observe(len(inserts), perf_counter() - started)
                return added
        except FAULTS as error:
            if not isinstance(running_error(self._connections.place, error), InvalidRow):
                self._check_repeatable(error, harmless=not any_fenced(inserts))
            return [None] * len(inserts)

    def independent(self, inserts: Collection[Insert]) -> bool:
        """Tell whether none may lack a lock because another holds it; see the port."""
        return all(map(is_origin, map(_ID_OF, inserts))) and not any_fenced(inserts)

    async def _optimistic(
        self, make_program: Callable[[int], Program[T]], now_ms: int, first: LoadRows, *, unread: bool = False
    ) -> T:
        """Try to drive a program by two statements, or `unread` by one. Raises Conflict where that failed."""
        self._check_open()
        timed = self._time_from == "database"
        attempt = Optimistic(first, self.remembered, lambda told: self.told(told, now_ms), timed=timed)
        try:
            async with self._connections.lent() as connection:
                if unread:
                    moment = self.clock.now_ms() if timed else now_ms
                    return await attempt.run_unread(connection, make_program, moment)
                return await attempt.run(connection, make_program)
        except FAULTS as error:
            self._check_repeatable(error, harmless=not attempt.writing)
            raise Conflict from error

    def _check_repeatable(self, error: BaseException, *, harmless: bool) -> None:
        """Raise the store's error unless another attempt is worth it; `harmless`: two are as good as one."""
        if isinstance(error, LOST):
            self._connections.forget_idle()
            harmless = harmless or isinstance(error, UNSENT)
        else:
            harmless = isinstance(error, REPEATABLE)
        if not harmless:
            raise running_error(self._connections.place, error) from error

    async def _transact(
        self, make_program: Callable[[int], Program[T]], now_ms: int, first: Query[Any] | None
    ) -> T:
        """Drive one program that asks `first` as its first question in one transaction."""
        locks = Locks()
        if isinstance(first, LoadRows):
            locks = locks.with_keys(locks.missing(first.ids))
        lost = 0
        for attempt in range(ATTEMPTS_MAX):
            self._check_open()
            try:
                async with self._connections.lent() as connection:
                    return await _Transaction(self, connection, first, locks).run(make_program, now_ms)
            except LocksTooFew as few:
                locks = locks.with_keys(few.keys)
            except REPEATABLE:
                await asyncio.sleep(random.uniform(0, 0.01) * (attempt + 1))  # noqa: S311  # to part rivals
            except FAULTS as error:
                lost += 1
                if not isinstance(error, LOST) or lost == LOST_MAX:
                    raise running_error(self._connections.place, error) from error
                self._connections.forget_idle()
        raise StoreError(
            f"store {self._connections.place}: others were in the way {ATTEMPTS_MAX} times; try again later",
            transient=True,
        )

    @property
    def place(self) -> str:
        """The database, named without its password."""
        return self._connections.place

    async def moment(self, connection: Connection, now_ms: int) -> tuple[int, int | None]:
        """Return the time of a transaction, and the revision of what is set about groups if it came with it.

        `now_ms` is the caller's time.
        """
        if self._time_from == "caller":
            return now_ms, None
        database_ms, revision = await connection.fetchrow(sql.NOW)
        return self.told(database_ms, now_ms), revision

    def told(self, database_ms: int, now_ms: int) -> int:
        """Return which of both counts, and take in the database's."""
        if self._time_from == "caller":
            return now_ms
        self.clock.observe(database_ms)
        return database_ms

    def _check_open(self) -> None:
        if not self._open:
            raise StoreError(f"store {self._connections.place} is closed; open it first")

    # -- beside other servers; see SharedStore

    async def look(self, groups: Sequence[str]) -> Sighting:
        """Return the next deadline, and what has waited for these groups for some seconds."""
        async with self._lent() as connection:
            row = await connection.fetchrow(sql.LOOK, list(groups), LOOK_UNTIL_MS, LOOK_FROM_MS, LOOK_MAX)
        now_ms, deadline, executes, unblocks = row
        self.clock.observe(now_ms)
        waiting = Waiting(
            executes=[(key, moment, address) for key, moment, address in msgspec.json.decode(executes)],
            unblocks=[(key, moment, address) for key, moment, address in msgspec.json.decode(unblocks)],
        )
        more = max(len(waiting.executes), len(waiting.unblocks)) == LOOK_MAX
        return Sighting(deadline=deadline, waiting=waiting, more=more)

    async def claim(self, waiting: Waiting) -> Outbox:
        """Return those of the messages that nobody has claimed or removed before."""
        executes, unblocks = [], []
        async with self._lent() as connection, connection.transaction():
            if waiting.executes:
                ids, moments, _ = zip(*waiting.executes, strict=True)
                rows = await connection.fetch(sql.CLAIM_EXECUTES, ids, moments)
                executes = [execute_of(row) for row in rows]
            if waiting.unblocks:
                ids, moments, addresses = zip(*waiting.unblocks, strict=True)
                rows = await connection.fetch(sql.CLAIM_UNBLOCKS, ids, addresses, moments)
                unblocks = [unblock_of(row) for row in rows]
        return Outbox(executes=executes, unblocks=unblocks, more=False)

    def tell(self, waiting: Waiting) -> None:
        """Tell other servers, soon, of messages for which nobody listens here."""
        self._notices.tell(waiting)

    def listen(self, heard: Callable[[Waiting], None]) -> None:
        """Call `heard` with what other servers tell."""
        self._notices.heard = heard

    @asynccontextmanager
    async def _lent(self) -> AsyncIterator[Connection]:
        self._check_open()
        try:
            async with self._connections.lent() as connection:
                yield connection
        except FAULTS as error:
            if isinstance(error, LOST):
                self._connections.forget_idle()
            raise running_error(self._connections.place, error) from error


class _Transaction:
    """One attempt to drive a program, from BEGIN to COMMIT."""

    def __init__(
        self, store: PostgresStore, connection: Connection, first: Query[Any] | None, locks: Locks
    ) -> None:
        self._store = store
        self._connection = connection
        self._first = first
        self._locks = locks
        self._wrote = False

    async def run(self, make_program: Callable[[int], Program[T]], now_ms: int) -> T:
        """Return the program's result once it is committed. Raises LocksTooFew, and what else happens."""
        connection = self._connection
        try:
            # Several statements in one message, each with a snapshot of its own.
            await connection.execute(f"{_BEGIN}; {self._locks.statement()}")
            result = await self._drive_locked(make_program, now_ms)
        except BaseException as error:
            if isinstance(error, Exception) and not isinstance(error, LOST):
                await connection.execute("ROLLBACK")
            raise  # a connection still within its transaction is thrown away
        try:
            await connection.execute("COMMIT")
        except LOST as error:
            raise running_error(self._store.place, error) from error  # never repeated here
        return result

    async def _drive_locked(self, make_program: Callable[[int], Program[T]], now_ms: int) -> T:
        while True:
            try:
                return await self._drive(make_program, now_ms)
            except LocksTooFew as few:
                if not await self._extend(few.keys):
                    raise

    async def _extend(self, keys: frozenset[int]) -> bool:
        """Take more locks without waiting, as waiting out of order might never end; tell whether it could."""
        if self._wrote:
            return False
        larger = self._locks.with_keys(keys)
        if larger.whole:
            taken = await self._connection.fetchval(TRY_WHOLE)
        else:
            taken = await self._connection.fetchval(TRY_KEYS, sorted(keys))
        if taken:
            self._locks = larger
        return bool(taken)

    async def _drive(self, make_program: Callable[[int], Program[T]], now_ms: int) -> T:
        rows, moment, revision = await self._read_first(now_ms)
        held = Held(self._connection, self._locks, self._store.remembered, revision)
        program = make_program(moment)
        answered: Any = None
        try:
            while True:
                query = program.send(answered)
                if rows is not None and query == self._first:
                    answered, rows = rows, None
                    continue
                self._wrote = self._wrote or isinstance(query, Write)
                answered = await answer(held, query)
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            program.close()

    async def _read_first(self, now_ms: int) -> tuple[list[Row] | None, int, int | None]:
        """Return the rows of the first query, if it is one for rows, the transaction's time and revision."""
        store = self._store
        if not isinstance(self._first, LoadRows):
            return None, *await store.moment(self._connection, now_ms)
        records = await self._connection.fetch(sql.LOAD_ROWS_AND_NOW, self._first.ids)
        return rows_of(records), store.told(records[0]["now"], now_ms), records[0]["revision"]
