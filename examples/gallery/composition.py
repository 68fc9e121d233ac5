"""Functions that call others: in parallel, in other groups, recursively."""

from __future__ import annotations

import json

import aiohttp

from examples.gallery.example import Example, one_program
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


async def graph_walk(stage: Stage) -> str:
    """Crash at the second of five nodes; the graph has two cycles."""
    links = {"a": ["b", "c"], "b": ["a", "d"], "c": ["d"], "d": ["e", "b"], "e": []}
    (stage.folder / "graph.json").write_text(json.dumps(links), encoding="utf-8")
    return await stage.run("graph_walk/walk.py", "graph.json", "a", crash=Crash(step="links_of", number=2))


async def calculator(stage: Stage) -> str:
    """Crash the adders in the middle of the sum."""
    url = await stage.server()
    program = "calculator/calculator.py"
    await stage.start(program, "--at", url, "work", "multipliers")
    await stage.keep(program, "--at", url, "work", "adders", crash=Crash(step="add", number=2))
    asked = await stage.start(program, "--at", url, "calculate", "first", "1", "2", "3")
    return await asked.result()


EXAMPLES = (
    Example(
        folder="notifications",
        problem="Several at once, of which one has to be tried again",
        crash="when all have been told",
        root="notify-7",
        store="notifications.db",
        play=one_program("notifications/notify.py", "7", crash=Crash(step="archive")),
    ),
    Example(
        folder="recursion",
        problem="A function that calls itself, each result computed once",
        crash="in the fourth of six additions",
        root="fibonacci-7",
        store="recursion.db",
        play=one_program("recursion/recursive.py", "fibonacci", "7", crash=Crash(step="add", number=4)),
    ),
    Example(
        folder="calculator",
        problem="One calculation over two groups of workers",
        crash="of the adders, in the middle of the sum",
        root="squares-first",
        store="server.db",
        play=calculator,
    ),
    Example(
        folder="research",
        problem="A tree of work that any worker takes a part of",
        crash="before the last of three summaries",
        root="research-salt",
        store="research.db",
        play=one_program("research/research.py", "salt", crash=Crash(step="summarise", number=3)),
    ),
    Example(
        folder="graph_walk",
        problem="A graph with cycles, each node visited once",
        crash="at the second node",
        root="graph.json-a",
        store="walk.db",
        play=graph_walk,
    ),
    Example(
        folder="game",
        problem="A game whose record does not grow: each round starts the next",
        crash="in the third round",
        root="game-7-round-3",
        store="game.db",
        play=one_program("game/dice.py", "7", crash=Crash(step="roll", number=3)),
    ),
    Example(
        folder="rpc_gateway",
        problem="Services that call each other behind an HTTP gateway",
        crash="in the second service",
        root="order-1",
        store="server.db",
        play=rpc_gateway,
    ),
)
