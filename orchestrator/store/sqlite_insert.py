"""Promises added to SQLite: one by one statement alone as a transaction of its own, many by one as well.

Nobody else writes to the file: what a statement sees stays so until it has written. The driver lets other
threads run during each statement, and has to wait for its turn after it, for up to five milliseconds while
the loop is busy: so a batch should be few statements.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from functools import cache
from itertools import chain
from sqlite3 import Connection
from typing import NamedTuple

from orchestrator.domain.promise import PromiseRecord
from orchestrator.store import forms
from orchestrator.store.forms import Form, Row
from orchestrator.store.port import Fence, Insert, InsertAll
from orchestrator.store.rows import PROMISE_ALL_COLUMNS, promise_row
from orchestrator.store.sqlite_steps import stands_by_id
from orchestrator.store.statements import INSERT_PROMISE

_ROWS_MAX = 128
"""Rows of one statement; with at most 19 values each they stay far below what SQLite takes (32,766)."""
_COLUMNS = ", ".join(PROMISE_ALL_COLUMNS)
_HELD = """
    EXISTS (
        SELECT 1 FROM tasks t JOIN promises p ON p.id = t.id
        WHERE t.id = {} AND t.version = {} AND t.state = 'acquired' AND t.releases = 0 AND t.attempts = 0
        AND t.left_behind IS NULL AND NOT t.cancelled AND t.touched_at > {}
        AND p.state = 'pending' AND p.timeout_at > {}
    )
"""
_WIDTH = len(PROMISE_ALL_COLUMNS)
"""The columns of a row, behind which those of its fence may stand."""
INSERT_IF_ABSENT = f"{INSERT_PROMISE} ON CONFLICT (id) DO NOTHING"
INSERT_FENCED = f"""
    INSERT INTO promises ({_COLUMNS}) SELECT {", ".join("?" * len(PROMISE_ALL_COLUMNS))}
    WHERE {_HELD.format(*"????")} ON CONFLICT (id) DO NOTHING
"""  # our own names
INSERTED_LAST = "SELECT id FROM promises WHERE rowid > ?"
"""What one statement has added: such rows are numbered on from the greatest number."""


_FORMS = (
    Form({**forms.SELDOM_FILLED, **forms.NO_PARAM, **forms.PENDING}),
    Form({**forms.SELDOM_FILLED, **forms.PENDING}),
    Form({**forms.SELDOM_FILLED, **forms.NO_PARAM}),
    Form(forms.SELDOM_FILLED),
    Form({}),
)
"""Narrower ones before wider ones; every row fits into the last."""


def insert(connection: Connection, query: Insert, now_ms: int) -> PromiseRecord | None:
    """Add a promise; None if it was not; see the port."""
    promise = query.made(now_ms)
    if query.fence is None:
        done = connection.execute(INSERT_IF_ABSENT, promise_row(promise))
    else:
        done = connection.execute(INSERT_FENCED, _fenced_row(promise, query.fence, now_ms))
    return promise if done.rowcount == 1 else None


def insert_all(connection: Connection, query: InsertAll, now_ms: int) -> list[PromiseRecord | None]:
    """Add promises within a transaction; None for each that was not. None depends on another."""
    inserts = query.inserts()
    if len(inserts) == 1:
        return [insert(connection, inserts[0], now_ms)]
    addition = prepared(inserts, now_ms)
    return addition.told(carried_out(connection, addition))


class Addition(NamedTuple):
    """Promises to add, and the statements that add them, each with its values and the rows that it adds."""

    promises: list[PromiseRecord]
    statements: list[tuple[str, tuple[object, ...], Sequence[Row]]]

    def told(self, declined: Set[object]) -> list[PromiseRecord | None]:
        """Return the promises, None for each whose id is among those of what was not added."""
        if not declined:
            return [*self.promises]
        return [None if promise.id in declined else promise for promise in self.promises]


def prepared(inserts: Sequence[Insert], now_ms: int) -> Addition:
    """Make ready all that needs no connection."""
    promises: list[PromiseRecord] = []
    plain: list[Row] = []
    fenced: list[Row] = []
    for each in inserts:
        promise = each.made(now_ms)
        promises.append(promise)
        if each.fence is None:
            plain.append(promise_row(promise))
        else:
            fenced.append(_fenced_row(promise, each.fence, now_ms))
    return Addition(promises, [*_statements(plain, fenced=False), *_statements(fenced, fenced=True)])


def carried_out(connection: Connection, addition: Addition) -> set[object]:
    """Add promises and return the ids of those that were not added."""
    declined: set[object] = set()
    for sql, values, rows in addition.statements:
        count = connection.execute(sql, values).rowcount
        if count == len(rows):
            continue
        declined.update(row[0] for row in rows)
        if count:
            last = connection.execute("SELECT last_insert_rowid()").fetchone()[0]
            declined.difference_update(row[0] for row in connection.execute(INSERTED_LAST, (last - count,)))
    return declined


def _fenced_row(promise: PromiseRecord, fence: Fence, now_ms: int) -> Row:
    row = promise_row(promise, by_id=stands_by_id(promise, fence))
    return (*row, fence.task_id, fence.version, now_ms - fence.touch_ms, now_ms)


def _statements(
    rows: Sequence[Row], *, fenced: bool
) -> Iterator[tuple[str, tuple[object, ...], Sequence[Row]]]:
    for start in range(0, len(rows), _ROWS_MAX):
        some = rows[start : start + _ROWS_MAX]
        columns = list(zip(*some, strict=True))
        form = next(form for form in _FORMS if form.fits(columns))
        given = form.given_of(columns) + tuple(columns[_WIDTH:])
        places = 1 << (len(some) - 1).bit_length()
        nothing = (None,) * len(given) * (places - len(some))
        values = (*chain.from_iterable(zip(*given, strict=True)), *nothing)
        yield _statement(places, fenced, form), values, some


@cache
def _statement(places: int, fenced: bool, form: Form) -> str:
    """Return the statement that adds up to `places` rows; where there are fewer, the others hold nulls."""
    width = len(form.given)
    names = [f"column{number}" for number in range(1, width + _HELD.count("{}") * fenced + 1)]
    row = f"({', '.join('?' * len(names))})"
    condition = _HELD.format(*names[width:]) if fenced else "column1 IS NOT NULL"
    return f"""
        INSERT INTO promises ({", ".join([*form.given, *form.literals])})
        SELECT {", ".join([*names[:width], *form.literals.values()])}
        FROM (VALUES {", ".join([row] * places)}) WHERE {condition} ON CONFLICT (id) DO NOTHING
    """  # noqa: S608
