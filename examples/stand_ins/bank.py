"""A bank behind HTTP that other examples pay with. It heeds the header Idempotency-Key, as real ones do."""

import argparse
import sqlite3

from aiohttp import web

SCHEMA = """
CREATE TABLE IF NOT EXISTS accounts (name TEXT PRIMARY KEY, amount INTEGER NOT NULL CHECK (amount >= 0));
CREATE TABLE IF NOT EXISTS bookings (key TEXT PRIMARY KEY, account TEXT NOT NULL, change INTEGER NOT NULL);
"""


def opened(path: str) -> sqlite3.Connection:
    """Open the bank's books, with 100 on each new account."""
    books = sqlite3.connect(path)
    books.executescript(SCHEMA)
    return books


def book(books: sqlite3.Connection, key: str, account: str, change: int) -> tuple[int, int]:
    """Change an account once for each key; return the HTTP status and what is there now."""
    with books:
        books.execute("INSERT OR IGNORE INTO accounts VALUES (?, 100)", (account,))
        (amount,) = books.execute("SELECT amount FROM accounts WHERE name = ?", (account,)).fetchone()
        if books.execute("SELECT 1 FROM bookings WHERE key = ?", (key,)).fetchone():
            return 200, amount
        if amount + change < 0:
            return 409, amount
        books.execute("INSERT INTO bookings VALUES (?, ?, ?)", (key, account, change))
        books.execute("UPDATE accounts SET amount = amount + ? WHERE name = ?", (change, account))
        return 201, amount + change


def site(path: str) -> web.Application:
    books = opened(path)

    async def change(request: web.Request) -> web.Response:
        wanted = await request.json()
        key = request.headers["Idempotency-Key"]
        status, amount = book(books, key, request.match_info["account"], int(wanted["change"]))
        if status == 201:
            print(f"{request.match_info['account']} {wanted['change']:+}: {amount}", flush=True)
        return web.json_response({"amount": amount}, status=status)

    made = web.Application()
    made.router.add_post("/accounts/{account}", change)
    return made


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8090, help="0 takes a free one")
    parser.add_argument("--books", default="bank.db", help="the file with the accounts")
    arguments = parser.parse_args()
    web.run_app(site(arguments.books), host="127.0.0.1", port=arguments.port)
