"""Imports, transfers and everything else that must not be done by halves."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from examples.gallery.example import Example
from examples.stage import Crash, Stage


async def batch_import(stage: Stage) -> str:
    """Crash in the third of five batches; the rows in the database count, too."""
    rows = "".join(f"{number},person {number}\n" for number in range(455))
    (stage.folder / "people.csv").write_text(f"number,name\n{rows}", encoding="utf-8")
    said = await stage.run(
        "batch_import/import_rows.py", "people.csv", crash=Crash(step="import_batch", number=3)
    )
    with closing(sqlite3.connect(stage.folder / "imported.db")) as database:
        stored = database.execute("SELECT count(*), max(number) FROM imported").fetchone()
    return f"{said}, {stored[0]} in the database"


async def saga(stage: Stage) -> str:
    """Crash half-way through the compensations."""
    said = await stage.run("saga/trip.py", "1", "--sold-out", "car", crash=Crash(step="cancel", number=2))
    kept = len(list(stage.folder.glob("*.booked")))
    return f"{said}; {kept} bookings kept"


EXAMPLES = (
    Example(
        folder="batch_import",
        problem="A long import that resumes at its first open batch",
        crash="in the third batch",
        root="import-e4c2a3c381d3a9d6-100",
        store="import.db",
        play=batch_import,
    ),
    Example(
        folder="saga",
        problem="All or nothing over several services",
        crash="between two compensations",
        root="trip-1",
        store="trips.db",
        play=saga,
    ),
)
