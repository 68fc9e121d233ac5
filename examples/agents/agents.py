"""Three agents in sequence: one researches, one writes, one reviews. No answer is paid for twice."""

import argparse
import asyncio

import aiohttp

from orchestrator import Constant, Context, Orchestrator

ROLES = ("research", "write", "review")


async def ask(model: str, role: str, message: str) -> str:
    """Ask the model for one answer."""
    print(f"asking for {role}", flush=True)
    asked = {"role": role, "messages": [message]}
    async with (
        aiohttp.ClientSession(raise_for_status=True) as session,
        session.post(f"{model}/complete", json=asked) as answer,
    ):
        text: str = (await answer.json())["text"]
        return text


async def article(ctx: Context, model: str, topic: str) -> str:
    text = topic
    for role in ROLES:
        text = await ctx.run(ask, model, role, text)
    return text


async def main(at: str, model: str, topic: str) -> None:
    app = Orchestrator.at(at, ttl_ms=2_000)
    app.register(ask, retry=Constant(delay_s=0.5))
    app.register(article)
    async with app:
        print(await app.run(f"article-{topic}", article, model, topic))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("topic", help="what to write about: the same topic is the same article")
    parser.add_argument("--model", default="http://127.0.0.1:8091", help="the model: ../stand_ins/model.py")
    parser.add_argument("--at", default="sqlite:///agents.db", help="a store, or the URL of a server")
    asyncio.run(main(**vars(parser.parse_args())))
