"""An HTTP gateway before three services that call each other: in a chain, detached, all at once."""

import argparse
import asyncio

from aiohttp import web

from orchestrator import Context, Orchestrator
from orchestrator.server import Gateway

FOLLOWING = {"stock": "payment", "payment": "shipping", "shipping": None}


def work(service: str, order: int) -> str:
    """Stand for what a service does; `order` is what makes a second call the same one."""
    print(f"{service} handles order {order}", flush=True)
    return f"{service} done"


async def await_chain(ctx: Context, service: str, order: int) -> list[str]:
    """Do this service's work, then await the rest of the chain."""
    done = [await ctx.run(work, service, order)]
    following = FOLLOWING[service]
    if following is None:
        return done
    return done + await ctx.options(target=following).rpc(await_chain, following, order)


async def detached_chain(ctx: Context, service: str, order: int) -> list[str]:
    """Do this service's work, start the rest of the chain, and wait for nothing."""
    done = [await ctx.run(work, service, order)]
    following = FOLLOWING[service]
    if following is not None:
        ctx.options(target=following).detached(detached_chain, following, order)
    return done


async def fan_out(ctx: Context, order: int) -> list[str]:
    """Have all services work at once. It runs in the gateway's own process."""
    calls = [ctx.options(target=service).begin_rpc(work, service, order) for service in FOLLOWING]
    return await ctx.gather(*calls)


async def serve_until_stopped(app: Orchestrator, ready: str) -> None:
    async with app:
        print(ready, flush=True)
        await asyncio.Event().wait()


async def service(at: str, name: str) -> None:
    app = Orchestrator.remote(at, group=name, ttl_ms=2_000)
    for function in (work, await_chain, detached_chain):
        app.register(function)
    await serve_until_stopped(app, f"working as {name}")


async def gateway(at: str, port: int) -> None:
    app = Orchestrator.remote(at, group="gateway", ttl_ms=2_000)
    app.register(fan_out)
    first = app.options(target="stock")
    functions = {"await_chain": first, "detached_chain": first, "fan_out": app}
    runner = web.AppRunner(Gateway(app, functions).application())
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    await serve_until_stopped(app, f"serving http://127.0.0.1:{site.port}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--at", default="http://127.0.0.1:8001", help="the URL of the orchestrator's server")
    commands = parser.add_subparsers(required=True, metavar="service | gateway")
    added = commands.add_parser("service", help="run one of the services")
    added.add_argument("name", choices=FOLLOWING, help="which one")
    added.set_defaults(command=service)
    added = commands.add_parser("gateway", help="serve HTTP")
    added.add_argument("--port", type=int, default=8080, help="0 takes a free one")
    added.set_defaults(command=gateway)
    arguments = vars(parser.parse_args())
    asyncio.run(arguments.pop("command")(**arguments))
