"""Greet somebody in two steps, with a durable pause between them."""

import argparse
import asyncio

from orchestrator import Context, Orchestrator


def look_up(name: str) -> str:
    """Stand for anything slow that should happen once."""
    print(f"looking up {name}", flush=True)
    return name.title()


def compose(name: str, number: int) -> str:
    print(f"writing greeting {number}", flush=True)
    return f"Hello, {name}!"


async def greet(ctx: Context, number: int, name: str) -> str:
    known = await ctx.run(look_up, name)
    await ctx.sleep(0.5)
    return await ctx.run(compose, known, number)


async def main(at: str, number: int, name: str) -> None:
    app = Orchestrator.at(at, ttl_ms=2_000)
    app.register(greet)
    async with app:
        print(await app.run(f"hello-{number}", greet, number, name))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("number", type=int, help="of the greeting: the same number is the same greeting")
    parser.add_argument("name", help="whom to greet")
    parser.add_argument("--at", default="sqlite:///hello.db", help="a store, or the URL of a server")
    asyncio.run(main(**vars(parser.parse_args())))
