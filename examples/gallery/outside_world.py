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


EXAMPLES = (
    Example(
        folder="human_in_the_loop",
        problem="Waiting for a person's decision",
        crash="before the question is asked",
        root="purchase-7",
        store="server.db",
        play=human_in_the_loop,
    ),
)
