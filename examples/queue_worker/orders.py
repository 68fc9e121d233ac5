"""Work that comes by a queue: a slow message holds up no other, and none is lost or done twice."""

import argparse
import asyncio
from contextlib import aclosing

from examples.broker import DEFAULT, Broker, connected
from orchestrator import Context, Info, Orchestrator


def pack(order: str) -> None:
    print(f"packing order {order}", flush=True)


async def announce(info: Info, order: str) -> None:
    """Tell of it by a queue. The id is the promise's, so that a second telling is the same message."""
    print(f"order {order} is done", flush=True)
    await info.dependency(Broker).publish("done", info.promise_id, order)


async def fulfil(ctx: Context, order: str, wait_s: float) -> None:
    """Pack an order once its goods are there, in `wait_s` seconds."""
    await ctx.sleep(wait_s)
    await ctx.run(pack, order)
    await ctx.run(announce, order)


async def work(at: str, broker: str) -> None:
    app = Orchestrator.at(at, ttl_ms=2_000)
    app.register(fulfil)
    async with connected(broker) as queues:
        app.set_dependency(queues)
        async with app, aclosing(queues.taken("orders")) as messages:
            print("working; end with Ctrl-C", flush=True)
            async for message in messages:
                # It is durable when this returns: the message may go, and the next one may come.
                await app.begin_rpc(f"order-{message.id}", fulfil, message.id, message.body)
                await message.acknowledge()


async def put(broker: str, orders: list[tuple[str, float]]) -> None:
    async with connected(broker) as queues:
        for order, wait_s in orders:
            await queues.publish("orders", order, wait_s)
        wanted, came = {order for order, _ in orders}, list[str]()
        async with aclosing(queues.read("done")) as done:
            async for order in done:
                came += {order} & wanted
                if wanted <= set(came):
                    break
        print(f"done, in this order: {', '.join(came)}")


def order(text: str) -> tuple[str, float]:
    number, _, wait_s = text.partition("=")
    return number, float(wait_s or 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--broker", default=DEFAULT, help="the URL of a nats-server with JetStream")
    commands = parser.add_subparsers(required=True, metavar="work | put")
    added = commands.add_parser("work", help="fulfil orders as they come")
    added.set_defaults(command=work)
    added.add_argument("--at", default="sqlite:///orders.db", help="a store, or the URL of a server")
    added = commands.add_parser("put", help="put orders into the queue, and wait until they are done")
    added.set_defaults(command=put)
    added.add_argument(
        "orders",
        type=order,
        nargs="+",
        metavar="NUMBER[=SECONDS]",
        help="and how long its goods take to come",
    )
    arguments = vars(parser.parse_args())
    asyncio.run(arguments.pop("command")(**arguments))
