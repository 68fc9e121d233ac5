"""What promises that are added together have in common, so that it is not given for each: a value costs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from operator import itemgetter

from orchestrator.domain.promise import PromiseState
from orchestrator.store.rows import PROMISE_ALL_COLUMNS

Row = tuple[object, ...]
SELDOM_FILLED: Mapping[str, str | None]
SELDOM_FILLED = dict.fromkeys(("value_headers", "origin", "branch", "parent", "schedule", "target"))
"""Columns that are empty for what belongs to no tree."""
NO_PARAM: Mapping[str, str | None] = dict.fromkeys(("param_headers", "param_data"))
"""Columns that are empty for finished steps, and for what waits for somebody outside."""
PENDING: Mapping[str, str | None]
PENDING = {"state": PromiseState.PENDING.value, "value_data": None, "settled_at": None}
"""The columns of an open promise that are no other for any."""


class Form:
    """Rows that hold the `same` in some columns of a promise; all others but `left_out` are `given`."""

    def __init__(self, same: Mapping[str, str | None], left_out: Collection[str] = ()) -> None:
        self.given = [name for name in PROMISE_ALL_COLUMNS if name not in same and name not in left_out]
        self.given_of = itemgetter(*map(PROMISE_ALL_COLUMNS.index, self.given))
        """What is given, out of all columns."""
        self.literals = {name: f"'{value}'" for name, value in same.items() if value is not None}
        """What a statement says by itself; the other columns are null."""
        self._same = [(PROMISE_ALL_COLUMNS.index(name), value) for name, value in same.items()]

    def fits(self, columns: Sequence[Sequence[object]]) -> bool:
        """Tell whether all rows hold that; each column has the values of all rows, in the order of theirs."""
        return all(columns[at].count(value) == len(columns[at]) for at, value in self._same)


PLAIN_NOW = Form({**SELDOM_FILLED, **PENDING}, left_out=("created_at",))
"""Open promises of no tree, created at the moment of the statement."""
