"""The one entry of the engine's benchmarks: which parts run, how large, and the table at the end.

Every figure stands beside a peer of the same run: slices of both alternate, and the median of the rounds'
ratios counts, so that a machine whose disk or cores are shared for a while spoils rounds, not the result.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict

from benchmarks.engine import full, http, idle, postgres, sqlite
from benchmarks.engine.disk import slow_down
from benchmarks.engine.report import Line, Size, table
from orchestrator import run_process

PARTS: dict[str, Callable[[Size], Awaitable[list[Line]]]] = {
    "sqlite": sqlite.measure,
    "full": full.measure,
    "http": http.measure,
    "idle": idle.measure,
    "postgres": postgres.measure,
}


def _arguments(given: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.engine", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all by default")
    parser.add_argument("--quick", action="store_true", help="few rounds, small stores: is it sane?")
    parser.add_argument("--rounds", type=int, help="rounds of which the median counts (9; quick: 3)")
    parser.add_argument("--postgres", metavar="URL", help="a database to use; its tables are left there")
    parser.add_argument("--disk-us", type=int, metavar="N", help="every flush takes N microseconds longer")
    parser.add_argument("--json", action="store_true", help="one JSON line for each figure")
    found = parser.parse_args(given)
    unknown = set(found.parts) - set(PARTS)
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    return found


async def _measure(options: argparse.Namespace) -> list[Line]:
    size = Size(quick=options.quick, rounds=options.rounds, postgres=options.postgres)
    lines: list[Line] = []
    for part in options.parts or PARTS:
        print(f"measuring {part} ...", file=sys.stderr)
        lines += await PARTS[part](size)
    return lines


def main(given: list[str] | None = None) -> None:
    """Measure and print."""
    options = _arguments(sys.argv[1:] if given is None else given)
    if options.disk_us:
        slow_down(options.disk_us)
    lines = run_process(_measure(options))
    if options.json:
        print("\n".join(json.dumps(asdict(line)) for line in lines))
    else:
        print(table(lines))
