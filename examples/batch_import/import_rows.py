"""Import a CSV file into a database, batch by batch; after a crash go on at the first open batch."""

import argparse
import asyncio
import csv
import hashlib
import sqlite3
from contextlib import closing
from itertools import islice
from pathlib import Path

from orchestrator import Context, Orchestrator


def count_rows(source: str) -> int:
    with open(source, newline="", encoding="utf-8") as file:
        return sum(1 for _ in csv.reader(file)) - 1  # without the heading


def import_batch(source: str, target: str, first: int, size: int) -> int:
    """Write one batch in one transaction. The row's number is its key: writing it again changes nothing."""
    with open(source, newline="", encoding="utf-8") as file:
        rows = list(islice(csv.reader(file), first + 1, first + 1 + size))
    with closing(sqlite3.connect(target)) as database, database:
        database.execute("CREATE TABLE IF NOT EXISTS imported (number INTEGER PRIMARY KEY, fields TEXT)")
        numbered = [(first + index, ",".join(row)) for index, row in enumerate(rows)]
        database.executemany("INSERT OR REPLACE INTO imported VALUES (?, ?)", numbered)
    print(f"rows {first} to {first + len(rows) - 1} are in {Path(target).name}", flush=True)
    return len(rows)


async def import_file(ctx: Context, source: str, target: str, size: int) -> int:
    imported = 0
    for first in range(0, await ctx.run(count_rows, source), size):
        imported += await ctx.run(import_batch, source, target, first, size)
    return imported


def name_of(source: Path, size: int) -> str:
    """Return the import's id. The file's content is part of it: a changed file is another import."""
    return f"import-{hashlib.sha256(source.read_bytes()).hexdigest()[:16]}-{size}"


async def main(at: str, source: Path, target: Path, size: int) -> None:
    app = Orchestrator.at(at, ttl_ms=2_000)
    app.register(import_file)
    async with app:
        rows = await app.run(name_of(source, size), import_file, str(source), str(target), size)
        print(f"{rows} rows imported")


def existing(text: str) -> Path:
    path = Path(text)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"there is no file {text!r}: name a CSV file with a heading")
    return path.resolve()


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of rows: give 1 or more")
    return int(text)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=existing, help="the CSV file, with a heading")
    parser.add_argument("--target", type=Path, default=Path("imported.db"), help="the SQLite file to write")
    parser.add_argument("--size", type=positive, default=100, help="rows in a batch")
    parser.add_argument("--at", default="sqlite:///import.db", help="a store, or the URL of a server")
    asyncio.run(main(**vars(parser.parse_args())))
