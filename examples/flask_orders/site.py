"""A Flask site that ships orders: each once by its number, however often it is placed."""

import argparse

from flask import Flask

from orchestrator import Context, Orchestrator, Refused, SyncOrchestrator


def pack(order: int) -> str:
    print(f"packing order {order}", flush=True)
    return f"parcel {order}"


def send(parcel: str) -> str:
    print(f"sending {parcel}", flush=True)
    return f"{parcel} sent"


async def ship(ctx: Context, order: int) -> str:
    return await ctx.run(send, await ctx.run(pack, order))


def site(durable: SyncOrchestrator) -> Flask:
    """Return the site. Its handlers run in threads, so they use the interface that blocks."""
    made = Flask(__name__)

    @made.errorhandler(Refused)
    def refused(error: Refused) -> tuple[dict[str, str], int]:
        return {"error": error.message}, error.status

    @made.post("/orders/<int:number>")
    def place(number: int) -> tuple[dict[str, str], int]:
        handle = durable.begin_run(f"order-{number}", ship, number)
        return {"id": handle.id}, 202

    @made.get("/orders/<int:number>")
    def status(number: int) -> dict[str, str]:
        handle = durable.get(f"order-{number}")
        if not handle.done():
            return {"state": "pending"}
        return {"state": "done", "result": handle.result()}

    return made


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8080, help="0 takes a free one")
    parser.add_argument("--at", default="sqlite:///orders.db", help="a store, or the URL of a server")
    arguments = parser.parse_args()
    app = Orchestrator.at(arguments.at, ttl_ms=2_000)
    app.register(ship)
    with app.sync() as durable:
        site(durable).run(port=arguments.port)
