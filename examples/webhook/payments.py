"""Ship what has been paid: a webhook's event does its work once, however often the provider delivers it."""

import argparse
from typing import Any

from aiohttp import web

from orchestrator import Context, Orchestrator
from orchestrator.server import Gateway, attach, secret_of, standard_signature, webhook


def book(order: int, amount: int) -> str:
    print(f"booking {amount} for order {order}", flush=True)
    return f"order {order} is paid"


def ship(order: int) -> str:
    print(f"shipping order {order}", flush=True)
    return f"order {order} is on its way"


async def paid(ctx: Context, event: dict[str, Any]) -> str:
    order, amount = event["data"]["order"], event["data"]["amount"]
    await ctx.run(book, order, amount)
    return await ctx.run(ship, order)


def site(at: str, secret: bytes) -> web.Application:
    durable = Orchestrator.at(at, ttl_ms=2_000)
    durable.register(paid)
    gateway = Gateway(durable, {})

    made = web.Application()
    hook = webhook(gateway, "paid", durable, standard_signature(secret), source="payment")
    made.router.add_post("/hooks/payments", hook)
    made.add_subapp("/durable", gateway.application())
    attach(made, durable)
    return made


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8080, help="0 takes a free one")
    parser.add_argument(
        "--secret", type=secret_of, required=True, help="shared with the provider: whsec_ and base64"
    )
    parser.add_argument("--at", default="sqlite:///payments.db", help="a store, or the URL of a server")
    arguments = parser.parse_args()
    web.run_app(site(arguments.at, arguments.secret), host="127.0.0.1", port=arguments.port)
