"""Functions as a service: a router sends each call to the executor of that name, and each can be replaced."""

import argparse
import asyncio
from collections.abc import Callable

from aiohttp import web

from orchestrator import Context, Orchestrator
from orchestrator.server import Gateway, attach

OFFERED: dict[str, Callable[[str], str]] = {
    "upper": str.upper,
    "reverse": lambda text: text[::-1],
    "count": lambda text: f"{text} ({len(text)})",
}


def execute(function: str, text: str) -> str:
    print(f"{function} of {text}", flush=True)
    return OFFERED[function](text)


async def route(ctx: Context, functions: list[str], text: str) -> str:
    """Send the text through some functions. The router knows none: an executor is whoever joins the group."""
    for function in functions:
        text = await ctx.options(target=f"executor-{function}").rpc("execute", function, text)
    return text


async def work(at: str, function: str) -> None:
    app = Orchestrator.remote(at, group=f"executor-{function}", ttl_ms=2_000)
    app.register(execute)
    async with app:
        print(f"working as {function}; end with Ctrl-C", flush=True)
        await asyncio.Event().wait()


def executor(at: str, function: str) -> None:
    asyncio.run(work(at, function))


def router(at: str, port: int) -> None:
    app = Orchestrator.remote(at, group="router", ttl_ms=2_000)
    app.register(route)
    site = Gateway(app, {"route": app}).application()
    attach(site, app)
    web.run_app(site, host="127.0.0.1", port=port)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--at", default="http://127.0.0.1:8001", help="the URL of the orchestrator's server")
    commands = parser.add_subparsers(required=True, metavar="executor | router")
    added = commands.add_parser("executor", help="execute one of the functions")
    added.add_argument("function", choices=OFFERED)
    added.set_defaults(command=executor)
    added = commands.add_parser("router", help="take calls by HTTP")
    added.add_argument("--port", type=int, default=8080)
    added.set_defaults(command=router)
    arguments = vars(parser.parse_args())
    arguments.pop("command")(**arguments)
