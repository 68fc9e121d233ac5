"""Roll a die until the sum is 20. Every round is an invocation of its own, which starts the next one."""

import argparse
import asyncio
from zlib import crc32

from orchestrator import Context, Info, Orchestrator

GOAL = 20


def roll(game: int, number: int) -> int:
    """Roll a die that is loaded: a game has the same rolls whenever it is played."""
    eyes = 1 + crc32(f"{game}-{number}".encode()) % 6
    print(f"roll {number}: {eyes}", flush=True)
    return eyes


async def end(info: Info, game: int, rolls: int) -> None:
    """Settle the promise that the whole game is; to settle it twice changes nothing."""
    print(f"game {game} is over", flush=True)
    await info.dependency("application").promises.resolve(f"game-{game}", rolls)


async def play(ctx: Context, game: int, number: int, total: int) -> int:
    total += await ctx.run(roll, game, number)
    if total >= GOAL:
        await ctx.run(end, game, number)
    else:
        ctx.options(id=f"game-{game}-round-{number + 1}").detached(play, game, number + 1, total)
    return total


async def main(at: str, game: int) -> None:
    app = Orchestrator.at(at, ttl_ms=2_000)
    app.register(play)
    app.set_dependency(app, "application")
    async with app:
        await app.promises.create(f"game-{game}")
        await app.begin_rpc(f"game-{game}-round-1", play, game, 1, 0)
        rolls = await (await app.get(f"game-{game}")).result()
        for number in range(1, rolls + 1):  # one whose process died ends when its lease has
            await (await app.get(f"game-{game}-round-{number}")).result()
        print(f"over after {rolls} rolls")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("game", type=int, help="its number: the same number is the same game")
    parser.add_argument("--at", default="sqlite:///game.db", help="a store, or the URL of a server")
    asyncio.run(main(**vars(parser.parse_args())))
