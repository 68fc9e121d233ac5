"""An MCP server over stdio with one tool, which calls a workflow: what is asked again is not done again."""

import argparse
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from mcp.server import MCPServer

from orchestrator import Constant, Context, Orchestrator

ROLES = ("research", "write", "review")


async def ask(model: str, role: str, text: str) -> str:
    print(f"asking the model to {role}", flush=True)
    asked = {"role": role, "messages": [text]}
    async with (
        aiohttp.ClientSession(raise_for_status=True) as session,
        session.post(f"{model}/complete", json=asked) as answer,
    ):
        said: str = (await answer.json())["text"]
        return said


async def article(ctx: Context, model: str, topic: str) -> str:
    text = topic
    for role in ROLES:
        text = await ctx.run(ask, model, role, text)
    return text


def tools(at: str, model: str) -> MCPServer[None]:
    durable = Orchestrator.at(at, ttl_ms=2_000)
    durable.register(ask, retry=Constant(delay_s=0.5))
    durable.register(article)

    @asynccontextmanager
    async def running(_: MCPServer[None]) -> AsyncIterator[None]:
        async with durable:
            yield

    server = MCPServer("articles", lifespan=running, log_level="WARNING")

    @server.tool()
    async def write_article(topic: str) -> str:
        """Research a topic, write about it and have it reviewed. The same topic is the same article."""
        return await durable.run(f"article-{topic}", article, model, topic)

    return server


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="http://127.0.0.1:8091", help="the model: ../stand_ins/model.py")
    parser.add_argument("--at", default="sqlite:///articles.db", help="a store, or the URL of a server")
    tools(**vars(parser.parse_args())).run()
