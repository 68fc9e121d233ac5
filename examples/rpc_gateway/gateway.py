"""An HTTP gateway before nine services: a chain that is awaited, a detached one, and three at once."""

import argparse
import asyncio
from contextlib import AsyncExitStack
from itertools import pairwise

from aiohttp import web

from orchestrator import Context, Orchestrator
from orchestrator.server import Gateway, attach

AWAITED = ("stock", "payment", "shipping")
DETACHED = ("invoice", "ledger", "archive")
AT_ONCE = ("mail", "push", "sms")
SERVICES = AWAITED + DETACHED + AT_ONCE
FOLLOWING = {**dict(pairwise(AWAITED)), **dict(pairwise(DETACHED))}


def work(service: str, order: int) -> str:
    """Stand for what a service does; `order` is what makes a second call the same one."""
    print(f"{service} handles order {order}", flush=True)
    return f"{service} done"


async def await_chain(ctx: Context, service: str, order: int) -> list[str]:
    """Do this service's work, then await the rest of the chain."""
    done = [await ctx.run(work, service, order)]
    following = FOLLOWING.get(service)
    if following is None:
        return done
    return done + await ctx.options(target=following).rpc(await_chain, following, order)


async def detached_chain(ctx: Context, service: str, order: int) -> list[str]:
    """Do this service's work, start the rest of the chain, and wait for nothing."""
    done = [await ctx.run(work, service, order)]
    following = FOLLOWING.get(service)
    if following is not None:
        ctx.options(target=following).detached(detached_chain, following, order)
    return done


async def fan_out(ctx: Context, order: int) -> list[str]:
    """Have three services work at once. It runs in the gateway's own process."""
    calls = [ctx.options(target=service).begin_rpc(work, service, order) for service in AT_ONCE]
    return await ctx.gather(*calls)


async def work_as(at: str, names: list[str]) -> None:
    async with AsyncExitStack() as stack:
        for name in names:
            app = Orchestrator.remote(at, group=name, ttl_ms=2_000)
            for function in (work, await_chain, detached_chain):
                app.register(function)
            await stack.enter_async_context(app)
        print(f"working as {', '.join(names)}; end with Ctrl-C", flush=True)
        await asyncio.Event().wait()


def service(at: str, names: list[str]) -> None:
    """Run some of the services in this process; each is a worker group of its own."""
    asyncio.run(work_as(at, names))


def gateway(at: str, port: int) -> None:
    """Serve HTTP."""
    app = Orchestrator.remote(at, group="gateway", ttl_ms=2_000)
    app.register(fan_out)
    functions = {
        "await_chain": app.options(target=AWAITED[0]),
        "detached_chain": app.options(target=DETACHED[0]),
        "fan_out": app,
    }
    site = Gateway(app, functions).application()
    attach(site, app)
    web.run_app(site, host="127.0.0.1", port=port)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--at", default="http://127.0.0.1:8001", help="the URL of the orchestrator's server")
    commands = parser.add_subparsers(required=True, metavar="service | gateway")
    added = commands.add_parser("service", help=service.__doc__)
    added.add_argument("names", choices=SERVICES, nargs="+", help="which ones")
    added.set_defaults(command=service)
    added = commands.add_parser("gateway", help=gateway.__doc__)
    added.add_argument("--port", type=int, default=8080)
    added.set_defaults(command=gateway)
    arguments = vars(parser.parse_args())
    arguments.pop("command")(**arguments)
