"""A FastAPI site that ships orders: each once by its number, however often it is placed."""

import argparse
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from orchestrator import Context, Orchestrator, Refused


def pack(order: int) -> str:
    print(f"packing order {order}", flush=True)
    return f"parcel {order}"


def send(parcel: str) -> str:
    print(f"sending {parcel}", flush=True)
    return f"{parcel} sent"


async def ship(ctx: Context, order: int) -> str:
    return await ctx.run(send, await ctx.run(pack, order))


def site(at: str) -> FastAPI:
    durable = Orchestrator.at(at, ttl_ms=2_000)
    durable.register(ship)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with durable:
            yield

    made = FastAPI(lifespan=lifespan)

    @made.exception_handler(Refused)
    async def refused(_: Request, error: Refused) -> JSONResponse:
        return JSONResponse({"error": error.message}, status_code=error.status)

    @made.post("/orders/{number}", status_code=202)
    async def place(number: int) -> dict[str, str]:
        handle = await durable.begin_run(f"order-{number}", ship, number)
        return {"id": handle.id}

    @made.get("/orders/{number}")
    async def status(number: int) -> dict[str, str]:
        handle = await durable.get(f"order-{number}")
        if not await handle.done():
            return {"state": "pending"}
        return {"state": "done", "result": await handle.result()}

    return made


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8080, help="0 takes a free one")
    parser.add_argument("--at", default="sqlite:///orders.db", help="a store, or the URL of a server")
    arguments = parser.parse_args()
    uvicorn.run(site(arguments.at), port=arguments.port)
