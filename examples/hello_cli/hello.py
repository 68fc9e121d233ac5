"""A worker with two functions, of one step and of two, that are started from the command line."""

import argparse
import asyncio

from orchestrator import Context, Orchestrator


def look_up(name: str) -> str:
    print(f"looking up {name}", flush=True)
    return name.title()


def compose(name: str) -> str:
    print(f"writing to {name}", flush=True)
    return f"Hello, {name}!"


async def greet(ctx: Context, name: str) -> str:
    return await ctx.run(compose, name)


async def greet_known(ctx: Context, name: str) -> str:
    return await ctx.run(compose, await ctx.run(look_up, name))


async def main(at: str) -> None:
    app = Orchestrator.remote(at, group="hello", ttl_ms=2_000)
    for function in (greet, greet_known):
        app.register(function)
    async with app:
        print("working; end with Ctrl-C", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--at", default="http://127.0.0.1:8001", help="the URL of the server")
    asyncio.run(main(**vars(parser.parse_args())))
