"""Functions that call others: in parallel, in other groups, recursively."""

from __future__ import annotations

import aiohttp

from examples.gallery.example import Example
from examples.stage import Crash, Stage


async def rpc_gateway(stage: Stage) -> str:
    """Crash a service in the middle of the chain; all three ways of calling are asked for."""
    url = await stage.server()
    program = "rpc_gateway/gateway.py"
    await stage.start(program, "--at", url, "service", "stock")
    shipping = await stage.start(program, "--at", url, "service", "shipping")
    await stage.keep(program, "--at", url, "service", "payment", crash=Crash(step="work"))
    gateway = await stage.start(program, "--at", url, "gateway", "--port", "0")
    where = (await gateway.line("serving ")).removeprefix("serving ")
    first: dict[str, object] = {"service": "stock"}
    asked: tuple[tuple[str, int, dict[str, object]], ...]
    asked = (("await_chain", 1, first), ("detached_chain", 2, first), ("fan_out", 3, {}))
    answers = [
        await _outcome(f"{where}/{function}/order-{order}?wait=50", {**arguments, "order": order})
        for function, order, arguments in asked
    ]
    await shipping.line("shipping handles order 2")
    return f"{', '.join(answers[0])}; detached: {', '.join(answers[1])}; at once: {', '.join(answers[2])}"


async def _outcome(url: str, arguments: dict[str, object]) -> list[str]:
    async with aiohttp.ClientSession() as session, session.post(url, json=arguments) as response:
        value: list[str] = (await response.json())["value"]
        return value


EXAMPLES = (
    Example(
        folder="rpc_gateway",
        problem="Services that call each other behind an HTTP gateway",
        crash="in the second service",
        root="order-1",
        store="server.db",
        play=rpc_gateway,
    ),
)
