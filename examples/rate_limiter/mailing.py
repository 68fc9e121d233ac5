"""Send a mailing at the pace that the provider allows, by sleeping between its batches."""

import argparse
import asyncio

from orchestrator import Context, Orchestrator


def send(addresses: list[str]) -> int:
    """Stand for one call of the provider."""
    print(f"sending to {', '.join(addresses)}", flush=True)
    return len(addresses)


async def mail(ctx: Context, addresses: list[str], together: int, pause_s: float) -> str:
    sent = 0
    for start in range(0, len(addresses), together):
        pause = ctx.sleep(pause_s)  # runs while the batch is sent
        sent += await ctx.run(send, addresses[start : start + together])
        await pause
    return f"{sent} sent"


async def main(at: str, number: int, addresses: list[str], together: int, pause_s: float) -> None:
    app = Orchestrator.at(at, ttl_ms=2_000)
    app.register(mail)
    async with app:
        print(await app.run(f"mailing-{number}", mail, addresses, together, pause_s))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("number", type=int, help="of the mailing: the same number is the same mailing")
    parser.add_argument("addresses", nargs="+", help="whom to write to")
    parser.add_argument("--together", type=int, default=2, help="how many in one call of the provider")
    parser.add_argument("--pause-s", type=float, default=0.5, help="seconds from one call to the next")
    parser.add_argument("--at", default="sqlite:///mailing.db", help="a store, or the URL of a server")
    asyncio.run(main(**vars(parser.parse_args())))
