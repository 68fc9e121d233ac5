"""A database that calls a webhook for each new user, from a trigger's outbox: at least once, in order."""

import argparse
import asyncio
import json
import sqlite3

import aiohttp

SCHEMA = """
CREATE TABLE IF NOT EXISTS users (id INTEGER PRIMARY KEY, name TEXT NOT NULL, mail TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS hooks (id INTEGER PRIMARY KEY, record TEXT NOT NULL);
CREATE TRIGGER IF NOT EXISTS tell AFTER INSERT ON users BEGIN
    INSERT INTO hooks (record) VALUES (json_object('id', NEW.id, 'name', NEW.name, 'mail', NEW.mail));
END;
"""
CALL_AGAIN_S = 0.3


async def call(session: aiohttp.ClientSession, hook: str, token: str, record: str) -> None:
    """Tell of one row, in the shape that hosted databases use, until somebody takes it."""
    told = {"type": "INSERT", "table": "users", "record": json.loads(record), "old_record": None}
    while True:
        try:
            async with session.post(hook, json=told, headers={"Authorization": f"Bearer {token}"}) as answer:
                if answer.ok:
                    return
        except (aiohttp.ClientError, TimeoutError):
            pass
        await asyncio.sleep(CALL_AGAIN_S)


async def main(*, path: str, name: str, mail: str, hook: str, token: str, times: int) -> None:
    database = sqlite3.connect(path)
    database.executescript(SCHEMA)
    with database:
        database.execute("INSERT OR IGNORE INTO users (name, mail) VALUES (?, ?)", (name, mail))
    told = 0
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        for number, record in database.execute("SELECT id, record FROM hooks ORDER BY id").fetchall():
            for _ in range(times):
                await call(session, hook, token, record)
            with database:
                database.execute("DELETE FROM hooks WHERE id = ?", (number,))
            told += 1
    print(f"told of {told} new users")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="of the new user")
    parser.add_argument("mail", help="the address, of which there is one user")
    parser.add_argument("--token", required=True, help="shared with the receiver")
    parser.add_argument("--hook", default="http://127.0.0.1:8080/hooks/users", help="whom to tell")
    parser.add_argument("--times", type=int, default=2, help="how often to tell of each")
    parser.add_argument("--path", default="users.db", help="the file of the database")
    asyncio.run(main(**vars(parser.parse_args())))
