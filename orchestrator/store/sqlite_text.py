"""Compiling statements to the text that SQLite's driver is given, with positional parameters."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

_DIALECT = sqlite.dialect(paramstyle="qmark")


def text(statement: sa.ClauseElement, *parameters: str) -> str:
    """Compile to text; `parameters` are the names in the order in which values will be given."""
    compiled = statement.compile(dialect=_DIALECT, compile_kwargs={"render_postcompile": True})
    found = tuple(getattr(compiled, "positiontup", None) or ())
    if found != parameters:
        raise TypeError(f"parameters stand in the order {found}, not {parameters}: {compiled}")
    return str(compiled)


def given(name: str) -> sa.ColumnElement[Any]:
    """Return a parameter; it is rendered once per use, in the order of use."""
    return sa.bindparam(name)


ZERO: sa.ColumnClause[int] = sa.literal_column("0")  # else the dialect binds an offset of its own


def each(name: str) -> sa.Select[Any]:
    """Return the elements of a parameter that is a JSON array."""
    return sa.select(sa.func.json_each(given(name)).table_valued("value").c.value)
