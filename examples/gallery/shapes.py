"""Where workflows run: the same bodies in every shape of worker."""

from __future__ import annotations

import json
from pathlib import Path

from examples.gallery.example import Example
from examples.stage import Crash, Stage, chromium, free_port
from orchestrator import Orchestrator

SDK = Path(__file__).parents[2] / ".interop" / "browser" / "sdk.js"
NUMBERS = (12, 15)
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


async def browser_tab(stage: Stage) -> str:
    """Load the tab anew in the middle of two factorials."""
    port = str(free_port())
    origin = f"http://127.0.0.1:{port}"
    url = await stage.server(environment={"DAO_SCORER_CORS_ORIGINS": origin})
    site = await stage.start("browser_tab/site.py", "--at", url, "--port", port, spared=True)
    await stage.ask("GET", f"{origin}/index.html")
    await stage.browse(f"{origin}/index.html")
    async with Orchestrator.remote(url, group="asking", worker=False) as client:
        tabs = client.options(target="tabs")
        handles = [await tabs.begin_rpc(f"factorial-{number}", "factorial", number) for number in NUMBERS]
        await site.several(": times ", 8)
        if stage.crashing:
            await stage.ask("POST", f"{origin}/reload")
        results = [await handle.result() for handle in handles]
    return ", ".join(f"{number}! = {result}" for number, result in zip(NUMBERS, results, strict=True))


def _without_browser() -> str | None:
    if chromium() is None:
        return "no Chromium on PATH: install Debian's package chromium"
    return None if SDK.exists() else "the published TypeScript SDK is not here: make interop-clients"


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
    Example(
        folder="browser_tab",
        problem="Work in a browser's tab, which is loaded anew",
        crash="(reload) of the tab, in the middle",
        root="factorial-12",
        store="server.db",
        play=browser_tab,
        unseen=len(NUMBERS),
        lacking=_without_browser,
    ),
)
