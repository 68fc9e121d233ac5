"""Take an order that may be cancelled for some seconds, and charge for it only then."""

import argparse
import asyncio

from orchestrator import Context, Orchestrator


def confirm(order: int) -> None:
    print(f"order {order} taken", flush=True)


def charge(order: int) -> str:
    """Stand for the payment; `order` is what makes a second call the same payment."""
    print(f"charging order {order}", flush=True)
    return f"order {order} charged"


async def take(ctx: Context, order: int, window_s: float) -> str:
    await ctx.run(confirm, order)
    cancelled = ctx.promise(f"cancel-{order}")
    if await ctx.race(cancelled, ctx.sleep(window_s)):
        return f"order {order} cancelled"
    return await ctx.run(charge, order)


async def work(at: str) -> None:
    app = Orchestrator.remote(at, group="orders", ttl_ms=2_000)
    app.register(take)
    async with app:
        print("working; end with Ctrl-C", flush=True)
        await asyncio.Event().wait()


async def place(at: str, order: int, window_s: float) -> None:
    async with Orchestrator.remote(at, group="orders", worker=False) as app:
        print(await app.rpc(f"order-{order}", "take", order, window_s))


async def cancel(at: str, order: int) -> None:
    async with Orchestrator.remote(at, group="orders", worker=False) as app:
        await app.promises.create(f"cancel-{order}")  # the wish may come before the order
        print(f"asked to cancel: {(await app.promises.resolve(f'cancel-{order}', True)).state}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--at", default="http://127.0.0.1:8001", help="the URL of the server")
    commands = parser.add_subparsers(required=True, metavar="work | place | cancel")
    for command, words in ((work, "execute orders"), (place, "place one"), (cancel, "cancel one")):
        added = commands.add_parser(command.__name__, help=words)
        added.set_defaults(command=command)
        if command is not work:
            added.add_argument("order", type=int, help="its number: the same number is the same order")
    commands.choices["place"].add_argument(
        "--window-s", type=float, default=30.0, help="seconds to think again"
    )
    arguments = vars(parser.parse_args())
    asyncio.run(arguments.pop("command")(**arguments))
