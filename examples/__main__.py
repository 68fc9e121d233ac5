"""`python -m examples`: play every example with a crash, and show what it came to."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import structlog
from rich.console import Console
from rich.table import Table

from examples.gallery import EXAMPLES, Example
from examples.index import PAGE, graphs_of, page
from examples.playing import course, drawing
from examples.program import ProgramFailed
from examples.spawning import forked
from examples.stage import Fate

COLUMNS = ("example", "problem", "crash (SIGKILL)", "result after it", "seconds")


async def played(example: Example) -> str:
    """Play an example with its crash in a folder of its own and return what it came to."""
    with tempfile.TemporaryDirectory() as folder:
        return (await course(example, Path(folder), Fate(crashing=True))).result


async def drawn(example: Example) -> str:
    """Play an example without a crash and return its call graph."""
    with tempfile.TemporaryDirectory() as folder:
        came = await course(example, Path(folder), Fate(spawn=forked))
        return await drawing(example, Path(folder), came.root, forked)


async def show(examples: Sequence[Example]) -> int:
    """Play the examples one after the other; return 1 if one of them failed."""
    table = Table(*COLUMNS)
    failed = 0
    console = Console()
    for example in examples:
        if (reason := example.lacking()) is not None:
            table.add_row(example.folder, example.problem, "", f"left out: {reason}", "")
            continue
        begun = time.monotonic()
        with console.status(f"{example.folder} ..."):
            try:
                result = await played(example)
            except ProgramFailed as error:
                failed, result = 1, f"[red]{error}[/]"
        seconds = time.monotonic() - begun
        table.add_row(example.folder, example.problem, example.crash, result, f"{seconds:.1f}")
    console.print(table)
    return failed


async def write_index(examples: Sequence[Example]) -> int:
    """Draw the examples anew, leave the other drawings as they are, and write the page."""
    graphs = {one.folder: "" for one in EXAMPLES} | graphs_of(PAGE.read_text(encoding="utf-8"))
    for example in examples:
        graphs[example.folder] = await drawn(example)
    PAGE.write_text(page(graphs), encoding="utf-8")
    return 0


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    parser = argparse.ArgumentParser(prog="python -m examples", description=__doc__)
    parser.add_argument(
        "names", nargs="*", choices=[[], *(one.folder for one in EXAMPLES)], help="which ones"
    )
    parser.add_argument("--index", action="store_true", help="draw their call graphs into README.md instead")
    arguments = parser.parse_args()
    chosen = [one for one in EXAMPLES if not arguments.names or one.folder in arguments.names]
    sys.exit(asyncio.run((write_index if arguments.index else show)(chosen)))
