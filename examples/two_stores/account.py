"""Open an account in two stores without a common transaction: what is read first is written last."""

import argparse
import asyncio
import sqlite3
from contextlib import closing

from orchestrator import Context, Orchestrator

REFERENCE, RECORD = "customers.db", "ledger.db"
"""What is known about customers; and the ledger, in which an account exists or does not."""


async def write(store: str, account: int, owner: str) -> None:
    """Write one row; written twice it is the same row."""
    print(f"writing account {account} to {store}", flush=True)
    with closing(sqlite3.connect(store)) as database, database:
        database.execute("CREATE TABLE IF NOT EXISTS accounts (id INTEGER PRIMARY KEY, owner TEXT NOT NULL)")
        database.execute("INSERT OR IGNORE INTO accounts VALUES (?, ?)", (account, owner))


async def read(store: str, account: int) -> str | None:
    with closing(sqlite3.connect(store)) as database:
        row = database.execute("SELECT owner FROM accounts WHERE id = ?", (account,)).fetchone()
    return row[0] if row else None


async def open_account(ctx: Context, account: int, owner: str) -> str:
    await ctx.run(write, REFERENCE, account, owner)
    await ctx.run(write, RECORD, account, owner)  # from here on it exists
    return await ctx.run(look_up, account)


async def look_up(account: int) -> str:
    """Read the ledger first: what is there is in the other store as well."""
    if await read(RECORD, account) is None:
        return f"account {account} does not exist"
    return f"account {account} belongs to {await read(REFERENCE, account)}"


async def main(at: str, account: int, owner: str) -> None:
    app = Orchestrator.at(at, ttl_ms=2_000)
    app.register(open_account)
    async with app:
        print(await app.run(f"account-{account}", open_account, account, owner))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("account", type=int, help="its number: the same number is the same account")
    parser.add_argument("owner", help="whose it is")
    parser.add_argument("--at", default="sqlite:///accounts.db", help="a store, or the URL of a server")
    asyncio.run(main(**vars(parser.parse_args())))
