"""Where workflows run: the same bodies in every shape of worker."""

from __future__ import annotations

import json

from examples.gallery.example import Example
from examples.stage import Crash, Stage, free_port
from orchestrator import Orchestrator

TITLE = "Shapes of workers"
TOKEN = "a-token-for-the-function"  # noqa: S105 - of a program that the reader runs at home


async def worker_shapes(stage: Stage) -> str:
    """Crash each shape once, in another of the three bodies."""
    pushed, served = f"http://127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}"
    url = await stage.server(environment={"DAO_SCORER_PUSH_TOKENS": f"{pushed}={TOKEN}"})
    program = "worker_shapes/shapes.py"
    crashes = {
        "process": (Crash(step="tell", number=2), ()),
        "server": (Crash(step="tell", number=5), ("--port", served.rpartition(":")[2])),
        "function": (Crash(step="tell", number=6), ("--port", pushed.rpartition(":")[2])),
    }
    for shape, (crash, port) in crashes.items():
        await stage.keep(program, "--at", url, shape, *port, crash=crash)
    targets = {"process": "process", "server": "server", "function": f"{pushed}/run"}
    results = [await _asked(url, shape, target) for shape, target in targets.items()]
    await stage.ask("GET", f"{served}/countdown-server")
    return "; ".join(dict.fromkeys(results))


async def _asked(url: str, shape: str, target: str) -> str:
    """Have a shape execute the three bodies; return what they came to, without its name."""
    async with Orchestrator.remote(url, group="asking", worker=False) as client:
        at = client.options(target=target)
        down = await at.begin_rpc(f"countdown-{shape}", "countdown", shape, 3)
        ordered = await at.begin_rpc(f"order-{shape}", "order", shape)
        told = await at.begin_rpc(f"fan-out-{shape}", "fan_out", shape, ["mail", "push", "sms"])
        await client.promises.create(f"{shape}-packed")
        await client.promises.resolve(f"{shape}-packed", None)
        results = [await handle.result() for handle in (down, ordered, told)]
    return json.dumps(results).replace(shape, "SHAPE")


EXAMPLES = (
    Example(
        folder="worker_shapes",
        problem="One workflow in a process, in a web server, as a stateless function",
        crash="of each shape, once",
        root="fan-out-function",
        store="server.db",
        play=worker_shapes,
        caption="The same in every shape; here in the stateless function.",
    ),
)
