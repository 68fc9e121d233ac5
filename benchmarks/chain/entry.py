"""The speed of the chain boundary on anvil: `python -m benchmarks.chain [SHAPE …] [--rounds N] [--json]`.

Each shape is a module with `async def measure(rounds) -> list[Figure]` and a line in SHAPES, no more.
Exit code 1 if a target is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from benchmarks.chain import backfill, events, large, local, reads, submissions
from benchmarks.chain.stage import Figure
from scorers.cli import logs

ROUNDS = 5
SHAPES: Mapping[str, Callable[[int], Awaitable[list[Figure]]]] = {
    "backfill": backfill.measure,
    "events": events.measure,
    "large": large.measure,
    "local": local.measure,
    "reads": reads.measure,
    "submissions": submissions.measure,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the shapes that are named, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chain", description=__doc__)
    parser.add_argument("shapes", nargs="*", metavar="SHAPE", help=f"of {', '.join(SHAPES)}; all by default")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments if arguments is not None else sys.argv[1:])
    if unknown := set(given.shapes) - SHAPES.keys():
        parser.error(f"no such shape: {', '.join(sorted(unknown))}")
    logs.configure(logs.Level.WARNING)
    figures = asyncio.run(_measured(given.shapes or list(SHAPES), given.rounds))
    if given.json:
        print(json.dumps([asdict(each) for each in figures]))
    else:
        _show(figures)
    if any(each.met is False for each in figures):
        sys.exit(1)


async def _measured(shapes: Sequence[str], rounds: int) -> list[Figure]:
    return [figure for shape in shapes for figure in await SHAPES[shape](rounds)]


def _show(figures: Sequence[Figure]) -> None:
    table = Table(
        "what", "figure", "target", "", title=f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    )
    for each in figures:
        mark = "" if each.met is None else "met" if each.met else "missed"
        table.add_row(each.name, each.value, each.target, mark)
    Console(width=130).print(table)
