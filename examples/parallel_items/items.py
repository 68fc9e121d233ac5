"""Work on many items at once. Each has steps of its own, and one that fails takes nobody with it."""

import argparse
import asyncio

from orchestrator import ApplicationError, Context, Never, Orchestrator


class Unreadable(Exception):
    """An item that no attempt will make good."""


def read(item: str) -> int:
    if not item.isalpha():
        raise Unreadable(f"{item} is no word")
    print(f"reading {item}", flush=True)
    return len(item)


def keep(item: str, letters: int) -> str:
    print(f"keeping {item}", flush=True)
    return f"{item} has {letters}"


async def work(ctx: Context, item: str) -> str:
    return await ctx.run(keep, item, await ctx.run(read, item))


async def all_items(ctx: Context, items: list[str]) -> list[str]:
    begun = [ctx.begin_run(work, item) for item in items]
    done = await ctx.gather(*begun, return_exceptions=True)
    return [str(one) if isinstance(one, ApplicationError) else one for one in done]


async def main(at: str, name: str, items: list[str]) -> None:
    app = Orchestrator.at(at, ttl_ms=2_000)
    app.register(read, retry=Never())
    for workflow in (work, all_items):
        app.register(workflow)
    async with app:
        print(", ".join(await app.run(f"items-{name}", all_items, items)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="of the batch: the same name is the same batch")
    parser.add_argument("items", nargs="+", help="words")
    parser.add_argument("--at", default="sqlite:///items.db", help="a store, or the URL of a server")
    asyncio.run(main(**vars(parser.parse_args())))
