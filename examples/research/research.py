"""Research a topic by splitting it into smaller ones, each of which any worker of the group may take."""

import argparse
import asyncio

from orchestrator import Context, Orchestrator

PARTS = ("history", "economics")


async def read_up(topic: str) -> str:
    """Stand for whatever is slow and costs money: a search, a model."""
    print(f"reading up on {topic}", flush=True)
    return f"notes on {topic}"


async def summarise(topic: str, notes: list[str]) -> str:
    print(f"summarising {topic}", flush=True)
    return f"{topic}: {len(notes)} parts, {sum(len(note) for note in notes)} characters"


async def research(ctx: Context, topic: str, depth: int) -> str:
    if depth == 0:
        return await ctx.run(read_up, topic)
    parts = [ctx.begin_rpc(research, f"{part} of {topic}", depth - 1) for part in PARTS]
    return await ctx.run(summarise, topic, await ctx.gather(*parts))


async def main(at: str, topic: str, depth: int) -> None:
    app = Orchestrator.at(at, ttl_ms=2_000)
    app.register(research)
    async with app:
        print(await app.rpc(f"research-{topic}", research, topic, depth))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("topic", help="the same topic is the same research")
    parser.add_argument("--depth", type=int, default=2, help="how often to split")
    parser.add_argument("--at", default="sqlite:///research.db", help="a store, or the URL of a server")
    asyncio.run(main(**vars(parser.parse_args())))
