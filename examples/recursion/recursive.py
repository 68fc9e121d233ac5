"""Fibonacci and factorial by functions that call themselves over their group, each number once."""

import argparse
import asyncio

from orchestrator import Context, Orchestrator


async def add(first: int, second: int) -> int:
    print(f"{first} + {second}", flush=True)
    return first + second


async def multiply(first: int, second: int) -> int:
    print(f"{first} * {second}", flush=True)
    return first * second


async def fibonacci(ctx: Context, number: int) -> int:
    if number < 2:
        return number
    # By an id of its own a result is shared: whoever asks second attaches to the first call.
    parts = [
        ctx.options(id=f"fibonacci-{less}").begin_rpc(fibonacci, less) for less in (number - 1, number - 2)
    ]
    return await ctx.run(add, *await ctx.gather(*parts))


async def factorial(ctx: Context, number: int) -> int:
    if number < 2:
        return 1
    less = await ctx.options(id=f"factorial-{number - 1}").rpc(factorial, number - 1)
    return await ctx.run(multiply, number, less)


async def main(at: str, function: str, number: int) -> None:
    app = Orchestrator.at(at, ttl_ms=2_000)
    for registered in (fibonacci, factorial):
        app.register(registered)
    async with app:
        print(await app.rpc(f"{function}-{number}", function, number))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("function", choices=("fibonacci", "factorial"))
    parser.add_argument("number", type=int, help="from 0")
    parser.add_argument("--at", default="sqlite:///recursion.db", help="a store, or the URL of a server")
    asyncio.run(main(**vars(parser.parse_args())))
