"""Accounts kept as the events that happened to them; what is shown of them is made from the events."""

import argparse
import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager

from orchestrator import Context, Info, Orchestrator

SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    number INTEGER PRIMARY KEY, command TEXT UNIQUE, account TEXT, amount INTEGER);
CREATE TABLE IF NOT EXISTS views (view TEXT, account TEXT, value INTEGER, PRIMARY KEY (view, account));
CREATE TABLE IF NOT EXISTS places (view TEXT PRIMARY KEY, number INTEGER);
"""
SINCE = "SELECT number, account, amount FROM events WHERE number > ? ORDER BY number"
FOLD = """
INSERT INTO views VALUES (?, ?, ?) ON CONFLICT (view, account) DO UPDATE SET value = value + excluded.value
"""
VIEWS = {"balance": lambda amount: amount, "turnover": abs}


@contextmanager
def transaction(path: str) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None)) as database, database:
        database.executescript(SCHEMA)
        database.execute("BEGIN IMMEDIATE")
        yield database


def append(info: Info, path: str, account: str, amount: int) -> bool:
    """Decide on a command by what has happened; append what follows. The promise's id is the command's."""
    print(f"deciding on {amount:+} for {account}", flush=True)
    with transaction(path) as log:
        if log.execute("SELECT 1 FROM events WHERE command = ?", (info.promise_id,)).fetchone():
            return True
        amounts = log.execute("SELECT amount FROM events WHERE account = ?", (account,)).fetchall()
        if sum(before for (before,) in amounts) + amount < 0:
            return False
        event = (info.promise_id, account, amount)
        log.execute("INSERT INTO events (command, account, amount) VALUES (?, ?, ?)", event)
        return True


def project(path: str, view: str) -> None:
    print(f"projecting {view}", flush=True)
    with transaction(path) as database:
        fold(database, view)


def fold(database: sqlite3.Connection, view: str) -> None:
    """Fold into a view what it has not seen; the place up to which it has moves in the same transaction."""
    places = database.execute("SELECT number FROM places WHERE view = ?", (view,)).fetchone()
    place = places[0] if places else 0
    for number, account, amount in database.execute(SINCE, (place,)).fetchall():
        database.execute(FOLD, (view, account, VIEWS[view](amount)))
        place = number
    database.execute("INSERT OR REPLACE INTO places VALUES (?, ?)", (view, place))


def rebuild(path: str) -> str:
    """Throw the views away and make them again from the events, all or nothing; return what they show."""
    with transaction(path) as database:
        database.execute("DELETE FROM views")
        database.execute("DELETE FROM places")
        for view in VIEWS:
            fold(database, view)
    return shown(path)


def shown(path: str) -> str:
    with transaction(path) as database:
        rows = database.execute("SELECT account, view, value FROM views ORDER BY account, view")
        return ", ".join(f"{account} {view} {value}" for account, view, value in rows)


async def change(ctx: Context, path: str, account: str, amount: int) -> bool:
    accepted = await ctx.run(append, path, account, amount)
    for view in VIEWS if accepted else ():
        await ctx.run(project, path, view)
    return accepted


async def main(at: str, path: str, name: str, commands: list[tuple[str, int]]) -> None:
    app = Orchestrator.at(at, ttl_ms=2_000)
    app.register(change)
    async with app:
        done = [
            await app.run(f"change-{name}-{number}", change, path, account, amount)
            for number, (account, amount) in enumerate(commands, 1)
        ]
    seen = shown(path)
    again = "the same" if rebuild(path) == seen else "something else"
    print(f"{done.count(False)} refused; {seen}; rebuilt from the events: {again}")


def command(text: str) -> tuple[str, int]:
    account, _, amount = text.partition("=")
    return account, int(amount)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="of these commands: the same name is the same ones")
    parser.add_argument("commands", type=command, nargs="+", metavar="ACCOUNT=AMOUNT", help="such as ada=-20")
    parser.add_argument("--path", default="accounts.db", help="the file with events and views")
    parser.add_argument("--at", default="sqlite:///commands.db", help="a store, or the URL of a server")
    asyncio.run(main(**vars(parser.parse_args())))
