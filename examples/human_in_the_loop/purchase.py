"""Buy something once somebody has approved it, be it in a minute or next week."""

import argparse
import asyncio

from orchestrator import Context, Orchestrator

WEEK_S = 7 * 24 * 3600.0


def ask(order: int, amount: int, promise_id: str) -> None:
    """Stand for a mail to whoever decides; it may come twice."""
    print(f"may order {order} over {amount} be paid? answer {promise_id}", flush=True)


def pay(order: int, amount: int) -> str:
    """Stand for the payment; `order` is what makes a second call the same payment."""
    print(f"paying {amount} for order {order}", flush=True)
    return f"order {order} paid"


async def purchase(ctx: Context, order: int, amount: int) -> str:
    decision = ctx.promise(f"approval-{order}", timeout_s=WEEK_S)
    await ctx.run(ask, order, amount, decision.id)
    if not await decision:
        return f"order {order} declined"
    return await ctx.run(pay, order, amount)


async def work(at: str) -> None:
    app = Orchestrator.remote(at, group="purchases", ttl_ms=2_000)
    app.register(purchase)
    async with app:
        print("working; end with Ctrl-C", flush=True)
        await asyncio.Event().wait()


async def request(at: str, order: int, amount: int) -> None:
    async with Orchestrator.remote(at, group="purchases", worker=False) as app:
        print(await app.rpc(f"purchase-{order}", "purchase", order, amount))


async def decide(at: str, order: int, answer: str) -> None:
    async with Orchestrator.remote(at, group="purchases", worker=False) as app:
        await app.promises.create(f"approval-{order}")  # the answer may come before the question
        decided = await app.promises.resolve(f"approval-{order}", answer == "yes")
        print(f"{decided.id} {decided.state}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--at", default="http://127.0.0.1:8001", help="the URL of the server")
    commands = parser.add_subparsers(required=True, metavar="work | request | decide")
    for command, words in ((work, "execute purchases"), (request, "ask for one"), (decide, "decide on one")):
        added = commands.add_parser(command.__name__, help=words)
        added.set_defaults(command=command)
        if command is not work:
            added.add_argument("order", type=int, help="its number: the same number is the same purchase")
    commands.choices["request"].add_argument("amount", type=int, help="what it costs")
    commands.choices["decide"].add_argument("answer", choices=("yes", "no"))
    arguments = vars(parser.parse_args())
    asyncio.run(arguments.pop("command")(**arguments))
