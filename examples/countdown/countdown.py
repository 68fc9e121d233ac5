"""Count down to zero. A process that dies goes on where it was; no pause begins again."""

import argparse
import asyncio

from orchestrator import Context, Orchestrator


def tell(left: int) -> None:
    print(f"{left} ...", flush=True)


async def countdown(ctx: Context, start: int, pause_s: float) -> str:
    for left in range(start, 0, -1):
        await ctx.run(tell, left)
        await ctx.sleep(pause_s)
    return "lift-off"


async def main(at: str, name: str, start: int, pause_s: float) -> None:
    app = Orchestrator.at(at, ttl_ms=2_000)
    app.register(countdown)
    async with app:
        print(await app.run(f"countdown-{name}", countdown, start, pause_s))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="of the countdown: the same name is the same one")
    parser.add_argument("start", type=int, help="where to begin")
    parser.add_argument("--pause-s", type=float, default=1.0, help="seconds between two numbers")
    parser.add_argument("--at", default="sqlite:///countdown.db", help="a store, or the URL of a server")
    asyncio.run(main(**vars(parser.parse_args())))
