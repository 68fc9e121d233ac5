"""Countdowns that are asked for by a queue, any number at once, and told by another."""

import argparse
import asyncio
from contextlib import aclosing

from examples.broker import DEFAULT, Broker, connected
from orchestrator import Context, Info, Orchestrator


async def tell(info: Info, name: str, left: int) -> None:
    """Tell a number by a queue. The id is the promise's, so that a second telling is the same message."""
    print(f"{name}: {left} ...", flush=True)
    await info.dependency(Broker).publish(f"told-{name}", info.promise_id, left)


async def countdown(ctx: Context, name: str, start: int, pause_s: float) -> None:
    for left in range(start, 0, -1):
        await ctx.run(tell, name, left)
        await ctx.sleep(pause_s)
    await ctx.run(tell, name, 0)


async def work(at: str, broker: str) -> None:
    app = Orchestrator.at(at, ttl_ms=2_000)
    app.register(countdown)
    async with connected(broker) as queues:
        app.set_dependency(queues)
        async with app, aclosing(queues.taken("countdowns")) as messages:
            print("working; end with Ctrl-C", flush=True)
            async for message in messages:
                await app.begin_rpc(f"countdown-{message.id}", countdown, message.id, **message.body)
                await message.acknowledge()


async def put(broker: str, name: str, start: int, pause_s: float) -> None:
    async with connected(broker) as queues:
        await queues.publish("countdowns", name, {"start": start, "pause_s": pause_s})
        numbers = []
        async with aclosing(queues.read(f"told-{name}")) as told:
            async for left in told:
                numbers.append(str(left))
                if not left:
                    break
        print(f"{name}: {', '.join(numbers)}, lift-off")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--broker", default=DEFAULT, help="the URL of a nats-server with JetStream")
    commands = parser.add_subparsers(required=True, metavar="work | put")
    added = commands.add_parser("work", help="count down whatever the queue asks for")
    added.set_defaults(command=work)
    added.add_argument("--at", default="sqlite:///countdown.db", help="a store, or the URL of a server")
    added = commands.add_parser("put", help="ask for a countdown, and listen to it")
    added.set_defaults(command=put)
    added.add_argument("name", help="of the countdown, a word: the same name is the same one")
    added.add_argument("start", type=int, help="where to begin")
    added.add_argument("--pause-s", type=float, default=1.0, help="seconds between two numbers")
    arguments = vars(parser.parse_args())
    asyncio.run(arguments.pop("command")(**arguments))
