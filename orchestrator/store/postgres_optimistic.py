"""A program of the usual kind in two statements: one that reads, one that writes if that still holds.

Why that is right beside transactions that lock, read, decide and write (`postgres_locks`): what is read is
one snapshot, of which every row carries a mark (`xmin`, the transaction that wrote it). The statement that
writes begins with the function `dao_scorer_unchanged`, which takes the same locks as a transaction would and
then looks again: at the marks, at what was absent, at who waits for what is settled, at what is set about
groups, at the time; then `dao_scorer_childless`, where a preload was empty, whether it still is. Their
statements see what others committed until the locks were held, and after that nobody commits anything of
these promises. So the decision is the one that would have been made under the locks; where anything differs
nothing is written, and a transaction decides. What the parts of the statement see is older than the locks,
but not other: the same rows were looked at before and after it began.

Who only reads needs no locks: the snapshot is what was true at that moment. And who most likely finds
nothing, because he creates, need not read: that nothing was there is looked at when it is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence, Set
from typing import Any, TypeVar

from orchestrator.store import port
from orchestrator.store import postgres_statements as sql
from orchestrator.store.grouping import LoadLimits
from orchestrator.store.port import Changes, Program, Query, Row
from orchestrator.store.postgres_connections import Connection
from orchestrator.store.postgres_groups import Remembered
from orchestrator.store.postgres_locks import LOCKS_MAX, key_of
from orchestrator.store.postgres_parts import if_unchanged
from orchestrator.store.postgres_writes import ids_of, statements_of
from orchestrator.store.rows import PROMISE_COLUMNS, TASK_COLUMNS, promise_of, task_of

T = TypeVar("T")
_TASK_AT = len(PROMISE_COLUMNS)
_MARKS_AT = _TASK_AT + len(TASK_COLUMNS)
_HEAD_AT = _MARKS_AT + 2
_ABSENT = (None, None)
GUESS_MS_MAX = 1_000
"""By less than this a moment that was not read may lie behind the database's."""


class Conflict(Exception):
    """Nothing was written: what was read has changed, or the program asks for more than is told here."""


class Optimistic:
    """One attempt to drive a program that asks `first` first.

    `told` turns the database's time into the program's; without `timed` that may be any other.
    """

    def __init__(
        self,
        first: port.LoadRows,
        remembered: Remembered,
        told: Callable[[int], int],
        *,
        timed: bool = True,
    ) -> None:
        self.writing = False
        self._first = first
        self._remembered = remembered
        self._told = told
        self._timed = timed
        self._rows: dict[str, Row] = {}
        self._marks = dict[str, tuple[int | None, int | None]].fromkeys(first.ids, _ABSENT)
        self._callbacks: list[tuple[str, str]] = []
        self._listeners: list[tuple[str, str]] = []
        self._childless: list[str] = []
        self._answered_childless: list[str] = []
        self._revision = 0

    async def run(self, connection: Connection, make_program: Callable[[int], Program[T]]) -> T:
        """Return the program's result once it is committed.

        Raises Conflict, what the program raises, and what the driver raises: once it is `writing`, nobody
        knows whether anything was written.
        """
        now_ms = await self._read(connection)
        result, changes = self._drive(make_program(now_ms))
        if changes is not None:
            await self._write(connection, changes, self._until_ms(now_ms))
        return result

    async def run_unread(
        self, connection: Connection, make_program: Callable[[int], Program[T]], now_ms: int
    ) -> T:
        """Do what `run` does on the guess that it is about `now_ms`, and that nothing exists.

        Raises Conflict also where the program writes nothing, as nobody would notice that it was wrong.
        """
        self._revision = self._remembered.revision
        try:
            result, changes = self._drive(make_program(now_ms))
        except Exception as error:
            raise Conflict from error
        if changes is None:
            raise Conflict
        await self._write(connection, changes, now_ms + GUESS_MS_MAX if self._timed else None)
        return result

    def _drive(self, program: Program[T]) -> tuple[T, Changes | None]:
        """Return a program's result, and what it would have written."""
        changes: Changes | None = None
        answered: Any = None
        try:
            while True:
                query = program.send(answered)
                if changes is not None:
                    raise Conflict  # it would read what it has written
                if isinstance(query, port.Write):
                    changes, answered = query.changes, None
                else:
                    answered = self._answer(query)
        except StopIteration as stop:
            return stop.value, changes
        finally:
            program.close()

    async def _read(self, connection: Connection) -> int:
        """Read the rows and who waits for those that may settle, and return the time."""
        now_ms, first = 0, self._first
        for record in await connection.fetch(sql.READ, first.ids, first.settling, first.preloading):
            if record[0] is None:
                now_ms, self._revision, callbacks, listeners, self._childless = record[_HEAD_AT:]
                self._callbacks = [(awaited, awaiter) for awaited, awaiter in callbacks]
                self._listeners = [(promise_id, address) for promise_id, address in listeners]
            else:
                promise = promise_of(record)
                self._rows[promise.id] = (promise, task_of(record[_TASK_AT:_MARKS_AT]))
                self._marks[promise.id] = record[_MARKS_AT:_HEAD_AT]
        return self._told(now_ms)

    def _until_ms(self, now_ms: int) -> int | None:
        """Return when the first of the promises would be another by time alone, None if never."""
        open_ones = (promise for promise, _ in self._rows.values() if promise.pending)
        ends = (promise.timeout_at for promise in open_ones if promise.timeout_at > now_ms)
        return min(ends, default=None) if self._timed else None

    def _answer(self, query: Query[Any]) -> Any:
        match query:
            case port.Insert() | port.InsertAll():
                return None
            case port.LoadRows() if self._marks.keys() >= set(query.ids):
                return self._rows_of(query.ids)
            case port.LoadChain() if set(query.ids) <= set(self._first.settling):
                return self._chain_of(query.ids)
            case port.LoadPreloads() if set(self._childless) >= {key for key, _ in query.keys}:
                self._answered_childless = [key for key, _ in query.keys]
                return {key: [] for key in self._answered_childless}
            case LoadLimits() if self._revision == self._remembered.revision:
                return self._remembered.limits
            case _:
                raise Conflict

    def _rows_of(self, ids: Iterable[str]) -> list[Row]:
        return [self._rows[key] for key in ids if key in self._rows]

    def _chain_of(self, ids: Sequence[str]) -> port.Chain:
        asked = set(ids)
        callbacks = [pair for pair in self._callbacks if pair[0] in asked]
        listeners = [pair for pair in self._listeners if pair[0] in asked]
        awaiters = sorted({awaiter for _, awaiter in callbacks})
        return port.Chain(callbacks=callbacks, awaiters=self._rows_of(awaiters), listeners=listeners)

    async def _write(self, connection: Connection, changes: Changes, until_ms: int | None) -> None:
        keys = set(map(key_of, self._marks))
        statements = statements_of(changes)
        if len(statements) > 1 or len(keys) > LOCKS_MAX or not _told_here(changes, self._marks.keys()):
            raise Conflict
        promises, tasks = zip(*self._marks.values(), strict=True)
        childless = self._answered_childless
        given = (
            sorted(keys),
            until_ms,
            self._revision,
            list(self._marks),
            promises,
            tasks,
            self._first.settling,
            list(map(list, self._callbacks)),  # the driver takes tuples for rows
            list(map(list, self._listeners)),
            *([childless] if childless else []),
        )
        parts = [part for parts in statements for part in parts]
        values = [value for _, values in parts for value in values]
        texts = tuple((text, len(values)) for text, values in parts)
        text = if_unchanged(texts, childless=bool(childless))
        self.writing = True
        if not await connection.fetchval(text, *given, *values):
            raise Conflict


def _told_here(changes: Changes, seen: Set[str]) -> bool:
    """Tell whether changes are of nothing but what was looked at."""
    beyond = changes.grouping is not None or changes.schedules or changes.schedules_removed
    return not beyond and seen >= set(ids_of(changes))
