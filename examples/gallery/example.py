"""What an example is: its problem, and how it is played, with or without a crash."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from examples.stage import Crash, Stage


def _nothing() -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """`play` returns what the example came to, the same with and without a crash.

    `root` is the invocation to draw, in the store `store` of the stage's folder; `crash` tells where the
    crash falls, `caption` what the drawing does not. `lacking` tells what this machine lacks
    for it, `unseen` how many steps a crash may cut off of which our log does not know.
    """

    folder: str
    problem: str
    crash: str
    root: str
    store: str
    play: Callable[[Stage], Awaitable[str]]
    caption: str = ""
    unseen: int = 0
    lacking: Callable[[], str | None] = _nothing


def one_program(program: str, *arguments: str, crash: Crash) -> Callable[[Stage], Awaitable[str]]:
    """Play a program that runs by itself to its end: its last line is what it came to."""

    async def play(stage: Stage) -> str:
        return await stage.run(program, *arguments, crash=crash)

    return play
