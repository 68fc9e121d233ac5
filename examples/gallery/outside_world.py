"""Waiting for people and for other systems."""

from __future__ import annotations

from examples.gallery.example import Example
from examples.stage import Crash, Stage


async def human_in_the_loop(stage: Stage) -> str:
    """Crash between question and answer: the worker dies when it is about to ask."""
    url = await stage.server()
    program = "human_in_the_loop/purchase.py"
    await stage.keep(program, "--at", url, "work", crash=Crash(step="ask"))
    request = await stage.start(program, "--at", url, "request", "7", "120")
    decide = await stage.start(program, "--at", url, "decide", "7", "yes")
    await decide.result()
    return await request.result()


async def approved_summary(stage: Stage) -> str:
    """Crash the worker between the first answer and the second version."""
    url, model = await stage.server(), await stage.start("stand_ins/model.py", "--port", "0")
    program = "approved_summary/summary.py"
    where = ("--at", url, "--model", (await model.line("http://")).split()[3])
    await stage.keep(program, *where, "work", crash=Crash(step="summarise", number=2))
    request = await stage.start(program, *where, "request", "7", "salt")
    for version, answer in ((1, "no"), (2, "yes")):
        await (await stage.start(program, *where, "review", "7", str(version), answer)).result()
    return await request.result()


EXAMPLES = (
    Example(
        folder="approved_summary",
        problem="A draft that is made again until a person is content",
        crash="of the worker, before the second version",
        root="summary-7",
        store="server.db",
        play=approved_summary,
    ),
    Example(
        folder="human_in_the_loop",
        problem="Waiting for a person's decision",
        crash="before the question is asked",
        root="purchase-7",
        store="server.db",
        play=human_in_the_loop,
    ),
)
