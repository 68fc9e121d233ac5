"""`python -m examples`: play every example with a crash, and show what it came to."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from examples.gallery import EXAMPLES, Example
from examples.stage import ProgramFailed, stage

COLUMNS = ("example", "problem", "crash (SIGKILL)", "result after it", "seconds")


async def played(example: Example, *, crashing: bool) -> str:
    """Play an example in a folder of its own and return what it came to."""
    with tempfile.TemporaryDirectory() as folder:
        async with stage(Path(folder), crashing=crashing) as made:
            return await example.play(made)


async def main(names: list[str]) -> int:
    """Play the examples one after the other; return 1 if one of them failed."""
    table = Table(*COLUMNS)
    failed = 0
    console = Console()
    for example in EXAMPLES:
        if names and example.folder not in names:
            continue
        begun = time.monotonic()
        with console.status(f"{example.folder} ..."):
            try:
                result = await played(example, crashing=True)
            except ProgramFailed as error:
                failed, result = 1, f"[red]{error}[/]"
        seconds = time.monotonic() - begun
        table.add_row(example.folder, example.problem, example.crash, result, f"{seconds:.1f}")
    console.print(table)
    return failed


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m examples", description=__doc__)
    parser.add_argument(
        "names", nargs="*", choices=[[], *(one.folder for one in EXAMPLES)], help="which ones"
    )
    sys.exit(asyncio.run(main(parser.parse_args().names)))
