"""Watch a file for new lines, for ever: each is told once, and the record does not grow with the years."""

import argparse
import asyncio
from pathlib import Path

from orchestrator import Context, Orchestrator

ROUND = 5
"""After so many looks the workflow starts over, and forgets what came before."""


def look(feed: str, first: int) -> list[str]:
    """Return the lines of the feed from this one on, two at most."""
    return Path(feed).read_text(encoding="utf-8").splitlines()[first : first + 2]


def tell(line: str) -> None:
    print(f"new: {line}", flush=True)


async def monitor(
    ctx: Context, feed: str, pause_s: float, first: int = 0, seen: frozenset[str] = frozenset()
) -> int:
    for _ in range(ROUND):
        for line in await ctx.run(look, feed, first):
            first += 1
            if line == "end":
                return len(seen)
            if line not in seen:
                seen |= {line}
                await ctx.run(tell, line)
        await ctx.sleep(pause_s)
    return ctx.continue_as(feed, pause_s, first, seen)


async def main(at: str, feed: str, pause_s: float) -> None:
    app = Orchestrator.at(at, ttl_ms=2_000)
    app.register(monitor)
    async with app:
        print(f"{await app.run(f'monitor-{feed}', monitor, feed, pause_s)} different lines")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("feed", help="a text file; its line `end` ends the monitor")
    parser.add_argument("--pause-s", type=float, default=1.0, help="seconds between two looks")
    parser.add_argument("--at", default="sqlite:///monitor.db", help="a store, or the URL of a server")
    asyncio.run(main(**vars(parser.parse_args())))
