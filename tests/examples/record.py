"""The record that a play leaves in its store, and how it is compared with that of undisturbed plays (W3).

What differs between two undisturbed plays (times, ports, what is drawn by chance) tells nothing of a crash:
there only its presence is compared. So it is with the state of a timer, which may go off while its worker is
dead.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

from orchestrator.domain import tags as tag

COLUMNS = ("state", "param_headers", "param_data", "value_headers", "value_data")
QUERY = f"SELECT id, tags, {', '.join(COLUMNS)} FROM promises"  # noqa: S608 - of our own names
TIMEOUT_S = 10.0
MOMENT = re.compile(r"\d{13}")
"""Unix milliseconds within an id: what is due at a moment is named after it."""
Entry = tuple[object, ...]
Record = dict[str, frozenset[Entry]]
"""The columns of each promise, by its id without the moments in it."""


async def recorded(url: str | Path) -> Record:
    """Return what stands in a SQLite file or a database, whoever uses it meanwhile."""
    return _record(_of_file(url) if isinstance(url, Path) else await _of_database(url))


def _of_file(path: Path) -> list[Entry]:
    uri = f"{path.resolve().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, timeout=TIMEOUT_S)) as connection:
        return list(connection.execute(QUERY))


async def _of_database(url: str) -> list[Entry]:
    import asyncpg  # noqa: PLC0415 - an extra

    connection = await asyncpg.connect(url, timeout=TIMEOUT_S)
    try:
        return [tuple(row) for row in await connection.fetch(QUERY, timeout=TIMEOUT_S)]
    finally:
        await connection.close(timeout=TIMEOUT_S)


def _record(rows: Iterable[Entry]) -> Record:
    found: defaultdict[str, set[Entry]] = defaultdict(set)
    for promise_id, tags, state, *columns in rows:
        is_timer = tag.TIMER in json.loads(str(tags))
        entry = ("timer" if is_timer else state, *columns)
        found[MOMENT.sub("MOMENT", str(promise_id))].add(entry)
    return {promise_id: frozenset(entries) for promise_id, entries in found.items()}


def differences(found: Record, undisturbed: Sequence[Record]) -> list[str]:
    """Return how a record differs from those of undisturbed plays, where they agree with one another."""
    return list(_differences(found, undisturbed))


def _differences(found: Record, undisturbed: Sequence[Record]) -> Iterator[str]:
    everywhere = set.intersection(*(set(record) for record in undisturbed))
    anywhere = set().union(*undisturbed)
    for promise_id in sorted(everywhere - set(found)):
        yield f"{promise_id} is missing in the record"
    for promise_id in sorted(set(found) - anywhere):
        yield f"{promise_id} is in no undisturbed record: {sorted(map(str, found[promise_id]))}"
    for promise_id in sorted(everywhere & set(found)):
        known = [record[promise_id] for record in undisturbed]
        for column, name in enumerate(COLUMNS):
            expected, *others = ({entry[column] for entry in entries} for entries in known)
            came = {entry[column] for entry in found[promise_id]}
            if came != expected and all(other == expected for other in others):
                yield f"{promise_id}: {name} is {came}, undisturbed {expected}"
