"""Walk a graph that has cycles: each node is an invocation by its own id, so that it is visited once."""

import argparse
import asyncio
import json
from pathlib import Path

from orchestrator import Context, Orchestrator


def links_of(graph: str, node: str) -> list[str]:
    """Stand for whatever finds a node's neighbours: a page's links, an account's counterparties."""
    print(f"visiting {node}", flush=True)
    found: list[str] = json.loads(Path(graph).read_text(encoding="utf-8"))[node]
    return found


async def visit(ctx: Context, graph: str, node: str) -> list[str]:
    links = await ctx.run(links_of, graph, node)
    for link in links:
        # A node that somebody visits already is attached to: the walk ends although the graph has cycles.
        ctx.options(id=f"{graph}-{link}").detached(visit, graph, link)
    return links


async def main(at: str, graph: str, start: str) -> None:
    app = Orchestrator.at(at, ttl_ms=2_000)
    app.register(links_of, executor="inline")
    app.register(visit)
    async with app:
        await app.begin_rpc(f"{graph}-{start}", visit, graph, start)
        seen = [start]
        for node in seen:  # grows while it is walked through
            links = await (await app.get(f"{graph}-{node}")).result()
            seen += [link for link in links if link not in seen]
        print(" ".join(seen))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("graph", help="a JSON file: each node with the list of those it links to")
    parser.add_argument("start", help="the node to begin at")
    parser.add_argument("--at", default="sqlite:///walk.db", help="a store, or the URL of a server")
    asyncio.run(main(**vars(parser.parse_args())))
