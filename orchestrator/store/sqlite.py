"""The SQLite store: one file, one owner, one connection, one transaction at a time.

Invariants: a transaction runs from BEGIN to COMMIT in one thread and never beside another; WAL with
synchronous=FULL makes a commit durable before `run` returns; whatever a program raises, the transaction is
rolled back; a file that was moved or deleted meanwhile soon takes no more commits: nobody would find them.
Transactions run in the store's own thread, so that the loop goes on while the disk writes; but
where they have lately been shorter than the hop to that thread and back is worth, they run in the caller's.
"""

from __future__ import annotations

import asyncio
import math
import sqlite3
import threading
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, TypeVar

import structlog

from orchestrator.domain.promise import PromiseRecord
from orchestrator.store.errors import InvalidRow, StoreError
from orchestrator.store.flushes import Flushes
from orchestrator.store.migration import check_revision, create_tables, prepare_file, revision_of
from orchestrator.store.ownership import Ownership
from orchestrator.store.port import Insert, InsertAll, Program, Query
from orchestrator.store.sqlite_groups import Connection, forget_limits
from orchestrator.store.sqlite_insert import Addition, carried_out, insert, insert_all, prepared
from orchestrator.store.sqlite_log import CopyingDue, LogRoom
from orchestrator.store.sqlite_queries import QUERIES
from orchestrator.store.sqlite_thread import StoreThread

T = TypeVar("T")
BUSY_TIMEOUT_S = 2.0
INLINE_BELOW_S = 0.0006
"""A lone commit on a fast disk takes 0.15 ms, and the hop as much again. The loop is not held for longer."""
PACE_WEIGHT = 0.1
"""How much the newest transaction counts in the moving average; a slow one counts whole."""
LOOK_PAUSE_S = 0.05
"""How often the file is looked after: that it still has its name, and its log room."""
CACHE_KIB = 8_192
"""Small, as what is not there comes from the system's cache in microseconds: where a page has been split
SQLite looks through all that it holds when it commits (`pcache1Truncate`): a millisecond for 64 MiB.
"""
CHECKPOINT_PAGES = 8_000
"""So much of the log (32 MiB) is gathered before its pages are copied into the file. Ids are random: in a
full file the thousand that SQLite would wait for are nearly all different, of more fewer are. Copying takes
tens of milliseconds, in the store's thread; a commit does it only where there is twice as much.
"""
LOG_ROOM_PAGES = CHECKPOINT_PAGES + 1_000
COPY = "PRAGMA wal_checkpoint(PASSIVE)"
_log = structlog.get_logger(__name__)
# The driver binds None and booleans as they are, but asks both sides for an adapter before, by attributes
# whose absence costs an exception each: a sixth of a plain promise. These say at once what it finds so.
sqlite3.register_adapter(type(None), {}.get)  # type: ignore[arg-type] # its overloads, not its answer
sqlite3.register_adapter(bool, int)
_PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA temp_store = MEMORY",
    f"PRAGMA cache_size = -{CACHE_KIB}",
    f"PRAGMA wal_autocheckpoint = {2 * CHECKPOINT_PAGES}",
)


class SqliteStore:
    """A store in a SQLite file, or in memory where `path` is None."""

    apart = False  # what is left of a batch would need a commit of its own

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._name = str(path) if path else ":memory:"
        self._ownership = Ownership(path) if path else None
        self._connection: Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._look_at = 0.0
        self._room: LogRoom | None = None
        self._copying = CopyingDue(CHECKPOINT_PAGES)
        self._thread: StoreThread | None = None
        self._turn = threading.Lock()
        self._pace_s = math.inf
        self.flushes = Flushes()

    async def open(self) -> None:
        """Become the file's owner, upgrade its schema and connect. Raises StoreError."""
        if self._thread is not None:
            raise StoreError(f"store {self._name} is open already")
        self._thread = StoreThread("sqlite-store")
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._open)
        except BaseException:
            await self.close()
            raise

    def _open(self) -> None:
        if self._path is not None:
            _check_place(self._path)
        if self._ownership is not None:
            self._ownership.take()
        try:
            self._connection = self._connect()
            self._identity = _identity_of(self._path)
            self._room = LogRoom(self._path, LOG_ROOM_PAGES) if self._path else None
        except sqlite3.Error as error:
            raise _opening_error(self._name, error) from error

    def _connect(self) -> Connection:
        connection = sqlite3.connect(
            self._path or ":memory:",
            factory=Connection,
            timeout=BUSY_TIMEOUT_S,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
        )
        try:
            if self._path is None:
                create_tables(connection)  # a database in memory has no past to migrate from
            elif check_revision(revision := revision_of(connection, self._name), self._name):
                prepare_file(connection, self._path, revision)
            for pragma in _PRAGMAS:
                connection.execute(pragma)
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("COMMIT")
        except BaseException:
            connection.close()
            raise
        return connection

    async def close(self) -> None:
        """Close the connection and give the file up. Closing twice is harmless."""
        if self._thread is None:
            return
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown()
        self._thread = None

    def _close(self) -> None:
        with self._turn:
            if self._room is not None:
                self._room.close()
            if self._connection is not None:
                self._connection.close()
                self._connection = None
        if self._ownership is not None:
            self._ownership.release()

    async def run(self, make_program: Callable[[int], Program[T]], now_ms: int) -> T:
        """Drive one program in one transaction of the store's thread; see the port."""
        if self._thread is None:
            raise StoreError(f"store {self._name} is closed; open it first")
        if self._may_run_here():
            return self._use_here(lambda connection: _carry_out(connection, make_program(now_ms), now_ms))
        return await asyncio.get_running_loop().run_in_executor(
            self._thread,
            self._use_in_turn,
            lambda connection: _carry_out(connection, make_program(now_ms), now_ms),
        )

    def run_at_once(self, make_program: Callable[[int], Program[T]], now_ms: int) -> T | None:
        """Drive one program in the caller's thread, or return None if that might take long; see the port."""
        if not self._may_run_here():
            return None
        return self._use_here(lambda connection: _carry_out(connection, make_program(now_ms), now_ms))

    async def add(self, inserts: Sequence[Insert], now_ms: int) -> list[PromiseRecord | None]:
        """Add promises in the store's thread, which needs hardly any of the interpreter; see the port.

        One alone is added in the caller's where that takes no time.
        """
        if self._thread is None:
            raise StoreError(f"store {self._name} is closed; open it first")
        try:
            if len(inserts) == 1 and self._may_run_here():
                return [self._use_here(lambda connection: insert(connection, inserts[0], now_ms))]
            addition = prepared(inserts, now_ms)
            loop = asyncio.get_running_loop()
            return addition.told(await loop.run_in_executor(self._thread, self._add_in_turn, addition))
        except (StoreError, InvalidRow):  # a program finds the one that it is about, or says it again
            return [None] * len(inserts)

    def independent(self, _: Collection[Insert]) -> bool:
        """Return True: they are carried out one after the other; see the port."""
        return True

    def _add_in_turn(self, addition: Addition) -> set[object]:
        started = perf_counter()
        declined = self._use_in_turn(lambda connection: _add(connection, addition))
        self.flushes.observe(len(addition.promises), perf_counter() - started)
        return declined

    def _may_run_here(self) -> bool:
        return self._pace_s < INLINE_BELOW_S and self._turn.acquire(blocking=False)

    def _use_here(self, use: Callable[[Connection], T]) -> T:
        """Use the connection, whose turn it is already, and give the turn up."""
        started = perf_counter()
        try:
            return self._use(use)
        finally:
            self._keep_pace(perf_counter() - started)
            self._turn.release()

    def _use_in_turn(self, use: Callable[[Connection], T]) -> T:
        self._turn.acquire()
        return self._use_here(use)

    def _keep_pace(self, elapsed: float) -> None:
        slow = elapsed >= INLINE_BELOW_S or self._pace_s == math.inf
        self._pace_s = elapsed if slow else self._pace_s + PACE_WEIGHT * (elapsed - self._pace_s)

    def _look(self) -> None:
        """Look after the file and its log, now and then, for it costs."""
        if self._path is None or perf_counter() < self._look_at:
            return
        self._check_file()
        self._look_at = perf_counter() + LOOK_PAUSE_S
        self._tend_log()

    def _check_file(self) -> None:
        """Refuse to go on with a file that nobody would find again."""
        if _identity_of(self._path) != self._identity:
            raise StoreError(
                f"store {self._name} was moved, deleted or replaced while it was open: put it back, or start "
                "this process again on the right file",
                transient=True,
            )

    def _tend_log(self) -> None:
        """Have room made for the log, and its pages copied, where it is time for that."""
        if self._room is not None:
            self._room.look()
        if self._thread and self._connection and self._copying.ask(self._connection.total_changes):
            self._thread.start(self._copy_log)

    def _copy_log(self) -> None:
        """Copy the log's pages into the database, in the store's thread; SQLite then begins it anew."""
        with self._turn:
            connection = self._connection
            if connection is None:
                return
            pages = -1
            try:
                _, pages, _ = connection.execute(COPY).fetchone()
            except sqlite3.Error as error:  # a commit does it, or tells of it
                _log.info("log_not_copied", store=self._name, reason=str(error))
            self._copying.copied(connection.total_changes, pages)

    def _use(self, use: Callable[[Connection], T]) -> T:
        """Use the connection. Raises InvalidRow and StoreError for what the driver raises."""
        connection = self._connection
        if connection is None:
            raise StoreError(f"store {self._name} is closed; open it first")
        self._look()
        try:
            return use(connection)
        except (UnicodeEncodeError, OverflowError, sqlite3.InterfaceError) as error:
            raise InvalidRow(f"a value cannot be stored: {error}") from error
        except sqlite3.Error as error:
            raise _running_error(self._name, error) from error


def _add(connection: Connection, addition: Addition) -> set[object]:
    """Add promises in a transaction, which one statement is by itself; return what was not added, by id."""
    if len(addition.statements) == 1:
        return carried_out(connection, addition)
    return _in_transaction(connection, lambda: carried_out(connection, addition))


def _carry_out(connection: sqlite3.Connection, program: Program[T], now_ms: int) -> T:
    query: Query[Any] | None = None
    try:
        query = program.send(None)
        if type(query) is Insert:
            query = program.send(insert(connection, query, now_ms))
    except StopIteration as stop:
        result: T = stop.value
        return result
    return _in_transaction(connection, lambda: _drive(connection, program, query, now_ms))


def _in_transaction(connection: sqlite3.Connection, use: Callable[[], T]) -> T:
    connection.execute("BEGIN IMMEDIATE")
    try:
        result = use()
        connection.execute("COMMIT")
    except BaseException:
        forget_limits(connection)
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return result


def _drive(connection: sqlite3.Connection, program: Program[T], query: Query[Any], now_ms: int) -> T:
    try:
        if type(query) is InsertAll:
            query = program.send(insert_all(connection, query, now_ms))
        while True:
            query = program.send(QUERIES[type(query)](connection, query))
    except StopIteration as stop:
        result: T = stop.value
        return result


def _identity_of(path: Path | None) -> tuple[int, int] | None:
    """Return which file a path names; None where there is none."""
    if path is None:
        return None
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _running_error(name: str, error: sqlite3.Error) -> StoreError:
    text, advice = str(error), "check the disk's space and rights"
    if "locked" in text or "busy" in text:
        advice = "another program holds it: close that program, it is tried again"
    elif "full" in text:
        advice = "make room on its disk, it is tried again"
    return StoreError(f"store {name} failed: {text}; {advice}", transient=True)


def _check_place(path: Path) -> None:
    if not path.parent.is_dir():
        raise StoreError(
            f"cannot open store {path}: directory {path.parent} does not exist; "
            "create it or choose another file"
        )
    if path.is_dir():
        raise StoreError(f"cannot open store {path}: it is a directory; name a file in it")


def _opening_error(name: str, error: sqlite3.Error) -> StoreError:
    text = str(error)
    if "not a database" in text or "malformed" in text:
        return StoreError(
            f"cannot open store {name}: it is not a SQLite database, or damaged; "
            "restore it or choose another file"
        )
    if "locked" in text or "busy" in text:
        return StoreError(
            f"cannot open store {name}: another program holds it locked; close that program", transient=True
        )
    if "readonly" in text:
        return StoreError(f"cannot open store {name}: it is read-only; make it and its directory writable")
    return StoreError(f"cannot open store {name}: {text}; check that the file can be read and written")
