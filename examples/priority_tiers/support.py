"""Requests of two tiers, few workers: those who pay are served first, and only so many at once."""

import argparse
import asyncio

from orchestrator import Context, Orchestrator

GROUP = "support"
TIERS = {"gold": 10, "free": 0}


async def answer(customer: str) -> str:
    print(f"answering {customer}", flush=True)
    return customer


async def serve(ctx: Context, customer: str) -> int:
    """Answer, and return when (Unix milliseconds)."""
    await ctx.run(answer, customer)
    return await ctx.now()


async def work(at: str) -> None:
    app = Orchestrator.remote(at, group=GROUP, ttl_ms=2_000)
    app.register(serve)
    async with app:
        print("working; end with Ctrl-C", flush=True)
        await asyncio.Event().wait()


async def ask(at: str, customers: list[str]) -> None:
    async with Orchestrator.remote(at, group=GROUP, worker=False) as app:
        await app.groups.set(GROUP, concurrency=1)
        await app.groups.pause(GROUP)  # until all have asked
        asked = {}
        for customer in customers:
            tier = customer.partition("-")[0]
            calls = app.options(priority=TIERS[tier])
            asked[customer] = await calls.begin_rpc(f"request-{customer}", "serve", customer)
        await app.groups.resume(GROUP)
        answered = {customer: await request.result() for customer, request in asked.items()}
        print(" ".join(sorted(answered, key=lambda customer: answered[customer])))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--at", default="http://127.0.0.1:8001", help="the URL of the server")
    commands = parser.add_subparsers(required=True, metavar="work | ask")
    commands.add_parser("work", help="answer requests").set_defaults(command=work)
    added = commands.add_parser("ask", help="send some at once")
    added.set_defaults(command=ask)
    added.add_argument("customers", nargs="+", help="such as gold-ada or free-bob")
    arguments = vars(parser.parse_args())
    asyncio.run(arguments.pop("command")(**arguments))
