"""Tell a customer by three channels at once. One that fails is tried again; the others are not told twice."""

import argparse
import asyncio

from orchestrator import Constant, Context, Info, Orchestrator

CHANNELS = ("mail", "push", "sms")


async def send(info: Info, channel: str, order: int) -> str:
    """Stand for a provider; the one for SMS is out of order at first."""
    if channel == "sms" and info.attempt == 1:
        raise ConnectionError("the SMS provider does not answer")
    print(f"order {order} told by {channel}", flush=True)
    return channel


async def archive(order: int, told: list[str]) -> str:
    print(f"archiving order {order}", flush=True)
    return f"order {order}: {', '.join(told)}"


async def notify(ctx: Context, order: int) -> str:
    sent = [ctx.begin_run(send, channel, order) for channel in CHANNELS]
    return await ctx.run(archive, order, await ctx.gather(*sent))


async def main(at: str, order: int) -> None:
    app = Orchestrator.at(at, ttl_ms=2_000)
    app.register(send, retry=Constant(delay_s=0.2))
    app.register(notify)
    async with app:
        print(await app.run(f"notify-{order}", notify, order))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("order", type=int, help="its number: nobody is told twice about the same one")
    parser.add_argument("--at", default="sqlite:///notifications.db", help="a store, or the URL of a server")
    asyncio.run(main(**vars(parser.parse_args())))
