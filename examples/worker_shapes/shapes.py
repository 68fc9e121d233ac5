"""The same three workflows in three shapes: a process, a part of a web server, a stateless function."""

import argparse
import asyncio
from functools import partial

from aiohttp import web

from orchestrator import Context, Orchestrator
from orchestrator.server import Gateway, attach, push_handler


def tell(what: str) -> str:
    print(what, flush=True)
    return what


async def countdown(ctx: Context, name: str, start: int) -> str:
    for left in range(start, 0, -1):
        await ctx.run(tell, f"{name}: {left}")
        await ctx.sleep(0.1)
    return "lift-off"


async def order(ctx: Context, name: str) -> str:
    paid = await ctx.run(tell, f"{name} paid")
    await ctx.promise(f"{name}-packed")
    return await ctx.run(tell, f"{paid}, packed and sent")


async def fan_out(ctx: Context, name: str, channels: list[str]) -> list[str]:
    return await ctx.gather(*[ctx.rpc(tell, f"{name} by {channel}") for channel in channels])


def registered(app: Orchestrator) -> Orchestrator:
    for function in (tell, countdown, order, fan_out):
        app.register(function)
    return app


async def work(at: str) -> None:
    async with registered(Orchestrator.remote(at, group="process", ttl_ms=2_000)):
        print("working; end with Ctrl-C", flush=True)
        await asyncio.Event().wait()


def process(at: str) -> None:
    """Run until stopped, and take what the group is sent."""
    asyncio.run(work(at))


def server(at: str, port: int) -> None:
    """Serve HTTP, and execute what is asked for in the same process."""
    app = registered(Orchestrator.remote(at, group="server", ttl_ms=2_000))
    site = Gateway(app, {"countdown": app, "order": app, "fan_out": app}).application()
    attach(site, app)
    web.run_app(site, host="127.0.0.1", port=port)


def function(at: str, port: int, token: str) -> None:
    """Execute what the server posts, one request at a time, and hold nothing between two."""
    app = registered(Orchestrator.remote(at, group=f"http://127.0.0.1:{port}/run", ttl_ms=2_000))
    site = web.Application()
    site.router.add_post("/run", push_handler(partial(app.handle_push, token=token)))
    web.run_app(site, host="127.0.0.1", port=port)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--at", default="http://127.0.0.1:8001", help="the URL of the orchestrator's server")
    commands = parser.add_subparsers(required=True, metavar="process | server | function")
    for shape in (process, server, function):
        added = commands.add_parser(shape.__name__, help=shape.__doc__)
        added.set_defaults(shape=shape)
        if shape is not process:
            added.add_argument("--port", type=int, default=8080)
    added.add_argument("--token", default="a-token-for-the-function", help="what the server must send")
    arguments = vars(parser.parse_args())
    arguments.pop("shape")(**arguments)
