"""What commands print: tables and progress for people, JSON lines for programs, one line for an error."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import msgspec
import typer
from rich.box import SIMPLE_HEAD
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

UNFOLDED = 10_000
"""Columns where no terminal reads: an id stays one word."""
_CONTROLS = (*range(9), *range(11, 32), *range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_VISIBLE = {code: f"\\u{code:04x}" for code in _CONTROLS}
"""Characters that move the cursor, recolour or turn round what a terminal shows, but for tab and new line."""
out = Console()
err = Console(stderr=True)


def fail(message: str) -> NoReturn:
    """Print a one-line error and end the command with exit code 1."""
    err.print(f"[bold red]error:[/] {foreign(message)}", soft_wrap=True)
    raise typer.Exit(1)


def foreign(text: str) -> str:
    """Return words that somebody else wrote as they may be shown: one line, no markup, nothing unseen."""
    return escape(_visible(" ".join(text.split())))


def _visible(text: str) -> str:
    return text.translate(_VISIBLE)


def say(message: str, *, fold: bool = False) -> None:
    """Print a line for a person; markup is rendered.

    `fold` breaks a long one between words, on a terminal only: for prose, not for what is to be copied.
    """
    out.print(message, soft_wrap=not (fold and out.is_terminal), highlight=False)


def emit(record: Any) -> None:
    """Print one JSON document on a line of its own."""
    sys.stdout.write(msgspec.json.encode(record).decode() + "\n")
    sys.stdout.flush()


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table; cells may hold markup, numbers are aligned right.

    Where no terminal reads it, nothing is folded: a promise's id stays one word for grep.
    """
    shown = [[_visible(str(cell)) for cell in row] for row in rows]
    if not out.is_terminal:
        _plain_table(columns, shown)
        return
    grid = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    for index, column in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[index], int) for row in rows)
        grid.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in shown:
        grid.add_row(*row)
    out.print(grid)


def _plain_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    cells = [list(columns), *([Text.from_markup(cell).plain for cell in row] for row in rows)]
    widths = [max(map(cell_len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        padded = (set_cell_size(cell, width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write("  ".join(padded).rstrip() + "\n")


def draw(tree: Tree) -> None:
    """Print a tree; its lines are folded on a terminal only."""
    if out.is_terminal:
        out.print(tree)
        return
    unfolded = Console(file=sys.stdout, width=UNFOLDED, color_system=None, force_terminal=False)
    with unfolded.capture() as drawn:
        unfolded.print(tree)
    for line in drawn.get().splitlines():
        sys.stdout.write(line.rstrip() + "\n")


def record(title: str, fields: Mapping[str, object]) -> None:
    """Print named fields under each other."""
    table(title, ("field", "value"), [(name, escape(str(value))) for name, value in fields.items()])


def mark(right: bool | None) -> str:
    """Return the sign for right, wrong, or not asked."""
    if right is None:
        return "-"
    return "[green]✔[/]" if right else "[red]✘[/]"


def progress(*, quiet: bool = False) -> Progress:
    """Return a progress display: bars on a terminal, nothing moving elsewhere.

    The bars stay below what `say` prints only if both use one console; where a file takes the output, the
    bars alone are on the terminal.
    """
    console = out if out.is_terminal else err
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        disable=quiet or not console.is_terminal,
    )
