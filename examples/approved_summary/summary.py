"""Have a text summarised, ask a person, and summarise again until the person is content."""

import argparse
import asyncio

import aiohttp

from orchestrator import Constant, Context, Orchestrator

VERSIONS_MAX = 5


async def summarise(model: str, text: str, version: int) -> str:
    print(f"asking for version {version}", flush=True)
    asked = {"role": "write", "messages": [f"{text} ({version})"]}
    async with (
        aiohttp.ClientSession(raise_for_status=True) as session,
        session.post(f"{model}/complete", json=asked) as answer,
    ):
        summary: str = (await answer.json())["text"]
        return summary


async def show(summary: str, promise_id: str) -> None:
    """Stand for a message to whoever decides; it may come twice."""
    print(f"{summary}: answer {promise_id}", flush=True)


async def approved(ctx: Context, model: str, article: str, text: str) -> str:
    for version in range(1, VERSIONS_MAX + 1):
        summary = await ctx.run(summarise, model, text, version)
        decision = ctx.promise(f"review-{article}-{version}")
        await ctx.run(show, summary, decision.id)
        if await decision:
            return summary
    return "nothing was approved"


async def work(at: str, model: str) -> None:
    app = Orchestrator.remote(at, group="editors", ttl_ms=2_000)
    app.register(summarise, retry=Constant(delay_s=0.5))
    app.register(approved)
    async with app:
        print(f"working with {model}; end with Ctrl-C", flush=True)
        await asyncio.Event().wait()


async def request(at: str, model: str, article: str, text: str) -> None:
    async with Orchestrator.remote(at, group="editors", worker=False) as app:
        print(await app.rpc(f"summary-{article}", "approved", model, article, text))


async def review(at: str, model: str, article: str, version: int, answer: str) -> None:
    async with Orchestrator.remote(at, group="editors", worker=False) as app:
        promise_id = f"review-{article}-{version}"
        await app.promises.create(promise_id)
        print(f"version {version}: {(await app.promises.resolve(promise_id, answer == 'yes')).state}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--at", default="http://127.0.0.1:8001", help="the URL of the server")
    parser.add_argument("--model", default="http://127.0.0.1:8091", help="the model: ../stand_ins/model.py")
    commands = parser.add_subparsers(required=True, metavar="work | request | review")
    for command, words in ((work, "summarise"), (request, "ask for a summary"), (review, "decide on one")):
        added = commands.add_parser(command.__name__, help=words)
        added.set_defaults(command=command)
        if command is not work:
            added.add_argument("article", help="its name: the same name is the same summary")
    commands.choices["request"].add_argument("text", help="what to summarise")
    commands.choices["review"].add_argument("version", type=int, help="of the summary, from 1")
    commands.choices["review"].add_argument("answer", choices=("yes", "no"))
    arguments = vars(parser.parse_args())
    asyncio.run(arguments.pop("command")(**arguments))
