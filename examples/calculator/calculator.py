"""A calculator over two groups: one adds, one multiplies, and each can be replaced while the other works."""

import argparse
import asyncio

from orchestrator import Context, Orchestrator

GROUPS = ("adders", "multipliers")


async def add(first: int, second: int) -> int:
    print(f"{first} + {second}", flush=True)
    return first + second


async def multiply(first: int, second: int) -> int:
    print(f"{first} * {second}", flush=True)
    return first * second


async def sum_of_squares(ctx: Context, numbers: list[int]) -> int:
    squares = [ctx.options(target="multipliers").begin_rpc(multiply, number, number) for number in numbers]
    total = 0
    for square in await ctx.gather(*squares):
        total = await ctx.options(target="adders").rpc(add, total, square)
    return total


async def work(at: str, group: str) -> None:
    app = Orchestrator.remote(at, group=group, ttl_ms=2_000)
    app.register(add if group == "adders" else multiply)
    async with app:
        print(f"working as {group}; end with Ctrl-C", flush=True)
        await asyncio.Event().wait()


async def calculate(at: str, name: str, numbers: list[int]) -> None:
    app = Orchestrator.remote(at, group="calculators", ttl_ms=2_000)
    app.register(sum_of_squares)
    async with app:
        print(await app.run(f"squares-{name}", sum_of_squares, numbers))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--at", default="http://127.0.0.1:8001", help="the URL of the server")
    commands = parser.add_subparsers(required=True, metavar="work | calculate")
    added = commands.add_parser("work", help="be one of the groups")
    added.add_argument("group", choices=GROUPS)
    added.set_defaults(command=work)
    added = commands.add_parser("calculate", help="have the sum of some squares calculated")
    added.add_argument("name", help="of the calculation: the same name is the same one")
    added.add_argument("numbers", type=int, nargs="+", help="what to square and add")
    added.set_defaults(command=calculate)
    arguments = vars(parser.parse_args())
    asyncio.run(arguments.pop("command")(**arguments))
