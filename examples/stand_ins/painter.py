"""A provider of images behind HTTP that charges for each, once for each Idempotency-Key, as real ones do."""

import argparse
import sqlite3
from hashlib import sha256

from aiohttp import web

SCHEMA = "CREATE TABLE IF NOT EXISTS bills (key TEXT PRIMARY KEY, cents INTEGER NOT NULL)"
CENTS = 4


def site(path: str) -> web.Application:
    books = sqlite3.connect(path)
    books.execute(SCHEMA)

    async def paint(request: web.Request) -> web.Response:
        """Paint an image, for money once for each key; the same wish gives the same image."""
        wanted, key = await request.json(), request.headers["Idempotency-Key"]
        with books:
            books.execute("INSERT OR IGNORE INTO bills VALUES (?, ?)", (key, CENTS))
        return web.json_response({"image": sha256(wanted["prompt"].encode()).hexdigest()[:8]})

    async def bill(_: web.Request) -> web.Response:
        (cents,) = books.execute("SELECT coalesce(sum(cents), 0) FROM bills").fetchone()
        return web.json_response({"cents": cents})

    made = web.Application()
    made.router.add_post("/images", paint)
    made.router.add_get("/bill", bill)
    return made


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8092, help="0 takes a free one")
    parser.add_argument("--books", default="painter.db", help="the file with the bills")
    arguments = parser.parse_args()
    web.run_app(site(arguments.books), host="127.0.0.1", port=arguments.port)
