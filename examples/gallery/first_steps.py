"""First steps, and durable work behind a web site's handlers."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from examples.gallery.example import Example
from examples.program import ProgramFailed
from examples.stage import Crash, Stage, free_port

TITLE = "First steps"
POLL_S = 0.2
FUNCTION_TOKEN = "a-token-for-the-function"  # noqa: S105 - of a program that the reader runs at home


async def hello_world(stage: Stage) -> str:
    """Crash between the two steps."""
    return await stage.run("hello_world/hello.py", "1", "ada", crash=Crash(step="compose"))


async def hello_cli(stage: Stage) -> str:
    """Crash the worker in the second greeting; both are started by `dao-scorer invoke`."""
    url = await stage.server()
    await stage.keep("hello_cli/hello.py", "--at", url, crash=Crash(step="compose", number=2))
    greetings = [("hello-1", "greet", "ada"), ("hello-2", "greet_known", "grace")]
    said = []
    for promise_id, function, name in greetings:
        called = ("--group", "hello", "--func", function, "--arg", name, "--wait", "--server", url)
        said.append(await (await stage.command("invoke", promise_id, *called)).result())
    return ", ".join(said)


async def inline_route(stage: Stage) -> str:
    """Crash the site between the two steps; the caller asks again."""
    port = str(free_port())
    await stage.keep("inline_route/site.py", "--port", port, crash=Crash(step="reserve"))
    wanted = {"amount": 100, "currency": "USD"}
    return await stage.ask("POST", f"http://127.0.0.1:{port}/offers/7", wanted)


async def status_polling(stage: Stage) -> str:
    """Crash the site before the last of three chapters."""
    port = str(free_port())
    url = f"http://127.0.0.1:{port}/reports/june"
    await stage.keep("status_polling/site.py", "--port", port, crash=Crash(step="write", number=3))
    placed = await stage.ask("POST", url)
    return f"{json.loads(placed)['id']}: {', '.join((await _polled(stage, url))['chapters'])}"


async def _polled(stage: Stage, url: str) -> dict[str, Any]:
    """Ask until it is done, as a caller does who comes back."""
    while (status := json.loads(await stage.ask("GET", url)))["state"] == "pending":  # noqa: ASYNC110
        await asyncio.sleep(POLL_S)
    done: dict[str, Any] = status
    return done


async def stateless_function(stage: Stage) -> str:
    """Crash the function at its second step; the server posts to it again."""
    port = str(free_port())
    here = f"http://127.0.0.1:{port}"
    url = await stage.server(environment={"DAO_SCORER_PUSH_TOKENS": f"{here}={FUNCTION_TOKEN}"})
    program = "stateless_function/function.py"
    await stage.keep(program, "--at", url, "--port", port, crash=Crash(step="store"))
    if "picture-7" not in await stage.ask("GET", f"{here}/"):
        raise ProgramFailed("the page does not ask for picture 7")
    answer = await stage.ask("POST", f"{here}/durable/convert/picture-7", {"picture": "7"})
    while json.loads(answer)["state"] == "pending":
        answer = await stage.ask("GET", f"{here}/durable/picture-7?wait=20")
    return str(json.loads(answer)["value"])


async def fastapi_orders(stage: Stage) -> str:
    """Crash the site between the two steps of an order."""
    return await _placed(stage, "fastapi_orders/site.py")


async def flask_orders(stage: Stage) -> str:
    """Crash the site between the two steps of an order."""
    return await _placed(stage, "flask_orders/site.py")


async def _placed(stage: Stage, program: str) -> str:
    port = str(free_port())
    url = f"http://127.0.0.1:{port}/orders/7"
    await stage.keep(program, "--port", port, crash=Crash(step="send"))
    placed = json.loads(await stage.ask("POST", url))["id"]
    return f"{placed}: {(await _polled(stage, url))['result']}"


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
        folder="hello_cli",
        problem="Functions of one step and of two, started from the command line",
        crash="of the worker, in the second greeting",
        root="hello-2",
        store="server.db",
        play=hello_cli,
    ),
    Example(
        folder="inline_route",
        problem="A route that answers with the result of durable work",
        crash="of the site, between two steps",
        root="offer-7",
        store="offers.db",
        play=inline_route,
    ),
    Example(
        folder="status_polling",
        problem="An API that is polled until a report is done",
        crash="of the site, before the last chapter",
        root="report-june",
        store="reports.db",
        play=status_polling,
    ),
    Example(
        folder="stateless_function",
        problem="A stateless function, and a page that polls",
        crash="of the function, at its second step",
        root="picture-7",
        store="server.db",
        play=stateless_function,
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
