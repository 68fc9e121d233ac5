"""Functions that call others: in parallel, in other groups, recursively."""

from __future__ import annotations

import json

from examples.gallery.example import Example, one_program
from examples.stage import Crash, Stage, free_port

TITLE = "Functions that call others"


async def rpc_gateway(stage: Stage) -> str:
    """Crash a service in the middle of the chain; all three ways of calling are asked for."""
    url, port = await stage.server(), str(free_port())
    program, where = "rpc_gateway/gateway.py", f"http://127.0.0.1:{port}"
    others = ("stock", "shipping", "invoice", "ledger", "archive", "mail", "push", "sms")
    services = await stage.start(program, "--at", url, "service", *others)
    await stage.keep(program, "--at", url, "service", "payment", crash=Crash(step="work"))
    await stage.start(program, "--at", url, "gateway", "--port", port)
    asked: tuple[tuple[str, int, dict[str, object]], ...] = (
        ("await_chain", 1, {"service": "stock"}),
        ("detached_chain", 2, {"service": "invoice"}),
        ("fan_out", 3, {}),
    )
    answers = [
        json.loads(
            await stage.ask("POST", f"{where}/{function}/order-{order}?wait=50", {**more, "order": order})
        )["value"]
        for function, order, more in asked
    ]
    await services.line("archive handles order 2")
    return f"{', '.join(answers[0])}; detached: {', '.join(answers[1])}; at once: {', '.join(answers[2])}"


async def executors(stage: Stage) -> str:
    """Crash the second of three executors in the middle of its call; another one takes its place."""
    url, port = await stage.server(), str(free_port())
    program = "executors/faas.py"
    for function in ("upper", "count"):
        await stage.start(program, "--at", url, "executor", function)
    await stage.keep(program, "--at", url, "executor", "reverse", crash=Crash(step="execute"))
    await stage.start(program, "--at", url, "router", "--port", port)
    wanted = [["upper", "reverse", "count"], "salt"]
    answer = await stage.ask("POST", f"http://127.0.0.1:{port}/route/call-7?wait=50", wanted)
    return str(json.loads(answer)["value"])


async def load_balanced(stage: Stage) -> str:
    """Crash one of three workers at its second job."""
    url = await stage.server()
    program = "load_balanced/group.py"
    for _ in range(2):
        await (await stage.start(program, "--at", url, "work")).line("working")
    # Jobs are offered to whoever came last first: to the one that is to crash.
    await (await stage.keep(program, "--at", url, "work", crash=Crash(step="grind", number=2))).line(
        "working"
    )
    asked = await stage.start(program, "--at", url, "submit", "june", "12")
    return await asked.result()


async def image_variations(stage: Stage) -> str:
    """Crash as the third of four images is ordered; the bill counts, too."""
    painter = await stage.start("stand_ins/painter.py", "--port", "0")
    where = (await painter.line("http://")).split()[3]
    said = await stage.run(
        "image_variations/variations.py", "fox", "--painter", where, crash=Crash(step="paint", number=3)
    )
    return f"{said}; {json.loads(await stage.ask('GET', f'{where}/bill'))['cents']} cents"


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
        folder="image_variations",
        problem="Images from a provider that charges, all at once and none twice",
        crash="as the third of four is ordered",
        root="images-fox-4",
        store="images.db",
        play=image_variations,
    ),
    Example(
        folder="parallel_items",
        problem="Items in parallel, of which one fails and takes nobody with it",
        crash="when some have been read",
        root="items-7",
        store="items.db",
        play=one_program(
            "parallel_items/items.py", "7", "salt", "42", "pepper", crash=Crash(step="keep", number=2)
        ),
    ),
    Example(
        folder="recursion",
        problem="A function that calls itself, each result computed once",
        crash="in the fourth of six additions",
        root="fibonacci-7",
        store="recursion.db",
        play=one_program("recursion/recursive.py", "fibonacci", "7", crash=Crash(step="add", number=4)),
        caption=(
            "Each smaller number is a call under an id of "
            "its own, beside this tree: `fibonacci-6`, `fibonacci-5`, and so on."
        ),
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
        caption="One of its nodes; the others stand beside it: `graph.json-b`, and so on.",
    ),
    Example(
        folder="game",
        problem="A game whose record does not grow: each round starts the next",
        crash="in the third round",
        root="game-7-round-3",
        store="game.db",
        play=one_program("game/dice.py", "7", crash=Crash(step="roll", number=3)),
        caption="One of its rounds; the next one is `game-7-round-4`.",
    ),
    Example(
        folder="rpc_gateway",
        problem="Services that call each other behind an HTTP gateway",
        crash="in the second service",
        root="order-1",
        store="server.db",
        play=rpc_gateway,
        caption=(
            "One of its three ways, the chain that is awaited; each `await_chain` runs in another service."
        ),
    ),
    Example(
        folder="executors",
        problem="Functions as a service, whose executors can be replaced",
        crash="of an executor, in the middle of its call",
        root="call-7",
        store="server.db",
        play=executors,
    ),
    Example(
        folder="load_balanced",
        problem="A group of workers that shares its jobs, and takes over from one that dies",
        crash="of one of three workers",
        root="batch-june",
        store="server.db",
        play=load_balanced,
    ),
)
