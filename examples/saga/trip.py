"""Book a trip: flight, hotel and car, or nothing. What was booked is cancelled, last first, if one fails."""

import argparse
import asyncio
from pathlib import Path

from orchestrator import Context, Orchestrator, Saga

PARTS = ("flight", "hotel", "car")


class SoldOut(Exception):
    """Nothing is left, so that another attempt would not help."""

    retryable = False


def book(part: str, number: int, sold_out: str | None) -> str:
    """Book one part at its provider, here a file. The trip's number makes a second booking the same one."""
    if part == sold_out:
        raise SoldOut(f"no {part} is left for trip {number}")
    print(f"booking {part}", flush=True)
    _booking(part, number).touch()
    return f"{part}-{number}"


def cancel(part: str, number: int) -> None:
    """Cancel a booking; one that was never made is none to cancel."""
    print(f"cancelling {part}", flush=True)
    _booking(part, number).unlink(missing_ok=True)


def _booking(part: str, number: int) -> Path:
    return Path(f"{part}-{number}.booked")


async def book_trip(ctx: Context, number: int, sold_out: str | None) -> list[str]:
    booked = []
    async with Saga(ctx) as saga:
        for part in PARTS:
            saga.undo(cancel, part, number)
            booked.append(await ctx.run(book, part, number, sold_out))
    return booked


async def main(at: str, number: int, sold_out: str | None) -> None:
    app = Orchestrator.at(at, ttl_ms=2_000)
    app.register(book_trip)
    async with app:
        handle = await app.begin_run(f"trip-{number}", book_trip, number, sold_out)
        failure = await handle.exception()
        print(f"not booked: {failure}" if failure else f"booked: {', '.join(await handle.result())}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("number", type=int, help="of the trip: the same number is the same trip")
    parser.add_argument("--sold-out", choices=PARTS, help="which part cannot be had")
    parser.add_argument("--at", default="sqlite:///trips.db", help="a store, or the URL of a server")
    asyncio.run(main(**vars(parser.parse_args())))
