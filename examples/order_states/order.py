"""An order through its states: paid, packed, shipped, each told from outside; or cancelled before that."""

import argparse
import asyncio

from orchestrator import Context, Orchestrator

STATES = ("paid", "packed", "shipped")


async def enter(order: int, state: str) -> None:
    """Stand for what follows from a state: a mail, an entry in the books."""
    print(f"order {order} is {state}", flush=True)


async def refund(order: int) -> str:
    print(f"refunding order {order}", flush=True)
    return f"order {order} cancelled"


async def follow(ctx: Context, order: int) -> str:
    cancelled = ctx.promise(f"order-{order}-cancelled")
    for state in STATES:
        # Where the program stands is the state: there is no table to keep beside it.
        if await ctx.race(ctx.promise(f"order-{order}-{state}"), ctx.shield(cancelled)) == "cancelled":
            return await ctx.run(refund, order)
        await ctx.run(enter, order, state)
    return f"order {order} has left"


async def work(at: str) -> None:
    app = Orchestrator.remote(at, group="orders", ttl_ms=2_000)
    app.register(follow)
    async with app:
        print("working; end with Ctrl-C", flush=True)
        await asyncio.Event().wait()


async def place(at: str, order: int) -> None:
    async with Orchestrator.remote(at, group="orders", worker=False) as app:
        print(await app.rpc(f"follow-{order}", "follow", order))


async def tell(at: str, order: int, state: str) -> None:
    async with Orchestrator.remote(at, group="orders", worker=False) as app:
        promise_id = f"order-{order}-{state}"
        await app.promises.create(promise_id)
        print(f"told that it is {state}: {(await app.promises.resolve(promise_id, state)).state}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--at", default="http://127.0.0.1:8001", help="the URL of the server")
    commands = parser.add_subparsers(required=True, metavar="work | place | tell")
    for command, words in ((work, "follow orders"), (place, "place one"), (tell, "tell what happened")):
        added = commands.add_parser(command.__name__, help=words)
        added.set_defaults(command=command)
        if command is not work:
            added.add_argument("order", type=int, help="its number: the same number is the same order")
    commands.choices["tell"].add_argument("state", choices=(*STATES, "cancelled"))
    arguments = vars(parser.parse_args())
    asyncio.run(arguments.pop("command")(**arguments))
