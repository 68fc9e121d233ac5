"""A web route that answers with the result of a durable function, executed in the site's own process."""

import argparse

from aiohttp import web

from orchestrator import Context, Orchestrator
from orchestrator.server import attach


def rate(currency: str) -> float:
    """Stand for a provider that charges for every question."""
    print(f"asking for the rate of {currency}", flush=True)
    return {"EUR": 1.0, "USD": 1.1}.get(currency, 2.0)


def reserve(name: str, amount: int, at: float) -> str:
    print(f"reserving offer {name}", flush=True)
    return f"{amount / at:.2f} EUR"


async def offer(ctx: Context, name: str, amount: int, currency: str) -> str:
    return await ctx.run(reserve, name, amount, await ctx.run(rate, currency))


def site(at: str) -> web.Application:
    durable = Orchestrator.at(at, ttl_ms=2_000)
    durable.register(offer)

    async def make(request: web.Request) -> web.Response:
        name, wanted = request.match_info["name"], await request.json()
        # Whoever asks again, because the answer was lost, gets the same offer.
        price = await durable.run(f"offer-{name}", offer, name, wanted["amount"], wanted["currency"])
        return web.json_response({"name": name, "price": price})

    made = web.Application()
    made.router.add_post("/offers/{name}", make)
    attach(made, durable)
    return made


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8080, help="0 takes a free one")
    parser.add_argument("--at", default="sqlite:///offers.db", help="a store, or the URL of a server")
    arguments = parser.parse_args()
    web.run_app(site(arguments.at), host="127.0.0.1", port=arguments.port)
