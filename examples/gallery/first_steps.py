"""First steps, and durable work behind a web site's handlers."""

from __future__ import annotations

import aiohttp

from examples.gallery.example import Example
from examples.stage import Crash, Program, Stage


async def hello_world(stage: Stage) -> str:
    """Crash between the two steps."""
    return await stage.run("hello_world/hello.py", "1", "ada", crash=Crash(step="compose"))


async def fastapi_orders(stage: Stage) -> str:
    """Crash the site between the two steps of an order."""
    return await _placed(stage, "fastapi_orders/site.py")


async def flask_orders(stage: Stage) -> str:
    """Crash the site between the two steps of an order."""
    return await _placed(stage, "flask_orders/site.py")


async def _placed(stage: Stage, program: str) -> str:
    site = await stage.start(program, "--port", "0", crash=Crash(step="send"))
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{await _where(site)}/orders/7") as response:
            placed = (await response.json())["id"]
        if stage.crashing:
            await stage.crashed(site)
            site = await stage.start(program, "--port", "0")
        async with session.get(f"{await _where(site)}/orders/7") as response:
            return f"{placed}: {(await response.json())['result']}"


async def _where(site: Program) -> str:
    """Return the URL that a site of either framework prints when it listens."""
    line = await site.line("http://127.0.0.1:")
    return line[line.index("http://") :].split()[0]


EXAMPLES = (
    Example(
        folder="hello_world",
        problem="Steps that happen once, whatever happens",
        crash="between two steps",
        root="hello-1",
        store="hello.db",
        play=hello_world,
    ),
    Example(
        folder="fastapi_orders",
        problem="Work behind a FastAPI handler",
        crash="of the site, between two steps",
        root="order-7",
        store="orders.db",
        play=fastapi_orders,
    ),
    Example(
        folder="flask_orders",
        problem="Work behind a Flask handler",
        crash="of the site, between two steps",
        root="order-7",
        store="orders.db",
        play=flask_orders,
    ),
)
