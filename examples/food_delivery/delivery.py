"""Deliver food: the customer pays, the kitchen cooks, a driver comes. Without a driver all is undone."""

import argparse
import asyncio

import aiohttp

from orchestrator import Constant, Context, Info, Orchestrator, Saga


class NoDriver(Exception):
    """Nobody took the order in time, so that another attempt would not help."""

    retryable = False


async def change(info: Info, bank: str, customer: str, amount: int) -> None:
    """Charge or refund. The promise's id is the key: whoever repeats this attempt repeats nothing there."""
    print(f"booking {amount:+} for {customer}", flush=True)
    headers = {"Idempotency-Key": info.promise_id}
    async with (
        aiohttp.ClientSession(raise_for_status=True) as session,
        session.post(f"{bank}/accounts/{customer}", json={"change": amount}, headers=headers),
    ):
        pass


def cook(order: int) -> None:
    print(f"cooking order {order}", flush=True)


def discard(order: int) -> None:
    print(f"the kitchen drops order {order}", flush=True)


def call_drivers(order: int) -> None:
    """Stand for a message to all drivers; it may come twice."""
    print(f"who drives order {order}? delivery.py accept {order} NAME", flush=True)


def hand_over(order: int, driver: str) -> str:
    print(f"{driver} takes order {order}", flush=True)
    return f"order {order} is brought by {driver}"


async def deliver(
    ctx: Context, order: int, *, bank: str, customer: str, price: int, patience_s: float
) -> str:
    async with Saga(ctx) as saga:
        await ctx.run(change, bank, customer, -price)
        saga.undo(change, bank, customer, price)
        saga.undo(discard, order)
        await ctx.run(cook, order)
        accepted = ctx.promise(f"driver-{order}")
        await ctx.run(call_drivers, order)
        driver = await ctx.race(accepted, ctx.sleep(patience_s))
        if driver is None:
            raise NoDriver(f"no driver for order {order}")
        return await ctx.run(hand_over, order, driver)


async def work(at: str) -> None:
    app = Orchestrator.remote(at, group="kitchen", ttl_ms=2_000)
    app.register(change, retry=Constant(delay_s=0.5))
    app.register(deliver)
    async with app:
        print("working; end with Ctrl-C", flush=True)
        await asyncio.Event().wait()


async def place(at: str, order: int, **wanted: str | float) -> None:
    async with Orchestrator.remote(at, group="kitchen", worker=False) as app:
        handle = await app.begin_rpc(f"delivery-{order}", "deliver", order, **wanted)
        failure = await handle.exception()
        print(f"paid back: {failure}" if failure else await handle.result())


async def accept(at: str, order: int, driver: str) -> None:
    async with Orchestrator.remote(at, group="kitchen", worker=False) as app:
        await app.promises.create(f"driver-{order}")  # a driver may know before the kitchen asks
        taken = await app.promises.resolve(f"driver-{order}", driver)
        print(f"{taken.id} {taken.state}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--at", default="http://127.0.0.1:8001", help="the URL of the server")
    commands = parser.add_subparsers(required=True, metavar="work | place | accept")
    for command, words in ((work, "deliver"), (place, "order food"), (accept, "drive an order")):
        added = commands.add_parser(command.__name__, help=words)
        added.set_defaults(command=command)
        if command is not work:
            added.add_argument("order", type=int, help="its number: the same number is the same order")
    placing = commands.choices["place"]
    placing.add_argument("customer", help="the account that pays; a new one has 100")
    placing.add_argument("price", type=int)
    placing.add_argument("--bank", default="http://127.0.0.1:8090", help="the bank: ../stand_ins/bank.py")
    placing.add_argument("--patience-s", type=float, default=300.0, help="how long to wait for a driver")
    commands.choices["accept"].add_argument("driver")
    arguments = vars(parser.parse_args())
    asyncio.run(arguments.pop("command")(**arguments))
