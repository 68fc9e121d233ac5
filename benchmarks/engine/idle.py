"""What an engine costs that has nothing to do, however much it holds: its queries and its memory."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from asyncio.subprocess import PIPE
from pathlib import Path

from benchmarks.engine.report import Line, Size

SLEEPERS, QUICK = 100_000, 10_000
MEBIBYTES_MAX = 50
SECONDS = 5
QUERIES_MAX = 1


async def measure(size: Size) -> list[Line]:
    """Let sleepers sleep in a fresh process; queries a second, and what they add to its memory."""
    count = QUICK if size.quick else SLEEPERS
    with tempfile.TemporaryDirectory() as name:
        given = (str(Path(name) / "s.db"), str(count), str(SECONDS))
        command = (sys.executable, "-m", "benchmarks.engine_sleepers", *given)
        child = await asyncio.create_subprocess_exec(*command, stdout=PIPE)
        told, _ = await child.communicate()
    queries, bytes_added = map(int, told.split())
    return [
        Line(
            part="idle",
            shape=f"queries, {count:,} asleep",
            figure=queries / SECONDS,
            unit="/s",
            at_most=QUERIES_MAX,
        ),
        Line(
            part="idle",
            shape=f"memory for {count:,} asleep",
            figure=bytes_added / 2**20,
            unit="MiB",
            at_most=MEBIBYTES_MAX,
        ),
    ]
