"""Move money from one account to another over HTTP: once, or not at all."""

import argparse
import asyncio

import aiohttp

from orchestrator import Constant, Context, Info, Orchestrator, Saga


class Declined(Exception):
    """The bank will not do it, so that another attempt would not help."""

    retryable = False


async def change(info: Info, bank: str, account: str, amount: int) -> int:
    """Book at the bank. The promise's id is the key: whoever repeats this attempt repeats nothing there."""
    print(f"booking {amount:+} for {account}", flush=True)
    async with aiohttp.ClientSession() as session:
        headers = {"Idempotency-Key": info.promise_id}
        url = f"{bank}/accounts/{account}"
        async with session.post(url, json={"change": amount}, headers=headers) as answer:
            if answer.status == 409:
                raise Declined(f"{account} does not have {-amount}")
            answer.raise_for_status()
            booked: int = (await answer.json())["amount"]
            return booked


async def transfer(ctx: Context, bank: str, source: str, destination: str, amount: int) -> str:
    async with Saga(ctx) as saga:
        left = await ctx.run(change, bank, source, -amount)
        saga.undo(change, bank, source, amount)
        there = await ctx.run(change, bank, destination, amount)
    return f"{source} has {left}, {destination} has {there}"


async def main(at: str, number: int, **order: str | int) -> None:
    app = Orchestrator.at(at, ttl_ms=2_000)
    app.register(change, retry=Constant(delay_s=0.5))
    app.register(transfer)
    async with app:
        handle = await app.begin_run(f"transfer-{number}", "transfer", **order)
        failure = await handle.exception()
        print(f"not done: {failure}" if failure else await handle.result())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("number", type=int, help="of the transfer: the same number is the same transfer")
    parser.add_argument("source", help="the account that pays; a new one has 100")
    parser.add_argument("destination", help="the account that is paid")
    parser.add_argument("amount", type=int, help="how much")
    parser.add_argument("--bank", default="http://127.0.0.1:8090", help="the bank: ../stand_ins/bank.py")
    parser.add_argument("--at", default="sqlite:///transfers.db", help="a store, or the URL of a server")
    asyncio.run(main(**vars(parser.parse_args())))
