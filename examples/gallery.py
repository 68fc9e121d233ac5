"""All examples: the problem of each, and how it is played, with or without a crash."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass

import aiohttp

from examples.stage import Crash, Program, Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """`play` returns what the example came to, the same with and without a crash.

    `root` is the invocation to draw, in the store `store` of the stage's folder; `crash` tells where the
    crash falls.
    """

    folder: str
    problem: str
    crash: str
    root: str
    store: str
    play: Callable[[Stage], Awaitable[str]]


async def hello_world(stage: Stage) -> str:
    """Crash between the two steps."""
    return await stage.run("hello_world/hello.py", "1", "ada", crash=Crash(step="compose"))


async def batch_import(stage: Stage) -> str:
    """Crash in the third of five batches; the rows in the database count, too."""
    rows = "".join(f"{number},person {number}\n" for number in range(455))
    (stage.folder / "people.csv").write_text(f"number,name\n{rows}", encoding="utf-8")
    said = await stage.run(
        "batch_import/import_rows.py", "people.csv", crash=Crash(step="import_batch", number=3)
    )
    with closing(sqlite3.connect(stage.folder / "imported.db")) as database:
        stored = database.execute("SELECT count(*), max(number) FROM imported").fetchone()
    return f"{said}, {stored[0]} in the database"


async def saga(stage: Stage) -> str:
    """Crash half-way through the compensations."""
    said = await stage.run("saga/trip.py", "1", "--sold-out", "car", crash=Crash(step="cancel", number=2))
    kept = len(list(stage.folder.glob("*.booked")))
    return f"{said}; {kept} bookings kept"


async def human_in_the_loop(stage: Stage) -> str:
    """Crash between question and answer: the worker dies when it is about to ask."""
    url = await stage.server()
    program = "human_in_the_loop/purchase.py"
    await stage.keep(program, "--at", url, "work", crash=Crash(step="ask"))
    request = await stage.start(program, "--at", url, "request", "7", "120")
    decide = await stage.start(program, "--at", url, "decide", "7", "yes")
    await decide.result()
    return await request.result()


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


async def _outcome(url: str, arguments: dict[str, object]) -> list[str]:
    async with aiohttp.ClientSession() as session, session.post(url, json=arguments) as response:
        value: list[str] = (await response.json())["value"]
        return value


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
        folder="batch_import",
        problem="A long import that resumes at its first open batch",
        crash="in the third batch",
        root="import-e4c2a3c381d3a9d6-100",
        store="import.db",
        play=batch_import,
    ),
    Example(
        folder="saga",
        problem="All or nothing over several services",
        crash="between two compensations",
        root="trip-1",
        store="trips.db",
        play=saga,
    ),
    Example(
        folder="human_in_the_loop",
        problem="Waiting for a person's decision",
        crash="before the question is asked",
        root="purchase-7",
        store="server.db",
        play=human_in_the_loop,
    ),
    Example(
        folder="rpc_gateway",
        problem="Services that call each other behind an HTTP gateway",
        crash="in the second service",
        root="order-1",
        store="server.db",
        play=rpc_gateway,
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
