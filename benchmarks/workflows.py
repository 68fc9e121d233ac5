"""Durable workflows a second, side by side with DBOS and Restate in one run.

`python -m benchmarks.workflows [--rounds N] [--seconds S] [--json]`: a workflow of four trivial steps, one at
a time and with 64 in flight; one workflow of 1,000 steps; its replay. All wait for the disk. Every contestant
is a process of its own, they take turns, and the median of the rounds counts. Peers run where
`make benchmark-peers` has installed them; what is absent is named.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from uuid import uuid4

from rich.console import Console
from rich.table import Table

from tests.postgres_server import WHY_ABSENT, binaries, server

ROOT = Path(__file__).parent.parent
PEERS = ROOT / ".peers"
PEER_PYTHON = PEERS / "python" / "bin" / "python"
RESTATE = PEERS / "node_modules" / ".bin" / "restate-server"
LIMIT_S = 300
SHAPES = {
    "single": "one at a time, workflows/s",
    "many": "64 in flight, workflows/s",
    "steps": "1,000 steps, steps/s",
    "replay_s": "replay of 1,000 steps, s",
}
Figures = Mapping[str, float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """A system in one mode: the module that measures it, and the peer with the ratios to reach against it."""

    name: str
    module: str
    python: Path
    place: str
    peer: str | None = None
    targets: Mapping[str, float] | None = None


def contestants(folder: str, postgres: str | None) -> Iterator[Contestant]:
    """Name those that can run here; `place` is where each keeps its data."""
    own = Path(sys.executable)
    run = uuid4().hex[:8]
    prefix = "benchmarks.contestants"
    if PEER_PYTHON.exists():
        yield Contestant(
            name="DBOS, SQLite",
            module=f"{prefix}.with_dbos",
            python=PEER_PYTHON,
            place=f"sqlite:///{folder}/dbos-{run}.db",
        )
    yield Contestant(
        name="ours, embedded, SQLite",
        module=f"{prefix}.ours",
        python=own,
        place=f"sqlite:///{folder}/ours-{run}.db",
        peer="DBOS, SQLite",
        targets={"single": 5, "many": 40, "steps": 6, "replay_s": 10},
    )
    if postgres is not None:
        if PEER_PYTHON.exists():
            yield Contestant(
                name="DBOS, PostgreSQL",
                module=f"{prefix}.with_dbos",
                python=PEER_PYTHON,
                place=f"{postgres}/dbos_{run}",
            )
        yield Contestant(
            name="ours, embedded, PostgreSQL",
            module=f"{prefix}.ours",
            python=own,
            place=f"{postgres}/ours",
            peer="DBOS, PostgreSQL",
            targets={"single": 3, "many": 12, "steps": 3, "replay_s": 5},
        )
    if PEER_PYTHON.exists() and RESTATE.exists():
        yield Contestant(
            name="Restate", module=f"{prefix}.with_restate", python=PEER_PYTHON, place=str(RESTATE)
        )
    yield Contestant(
        name="ours, server and worker, SQLite",
        module=f"{prefix}.ours_remote",
        python=own,
        place=f"sqlite:///{folder}/remote-{run}.db",
        peer="Restate",
        targets={"single": 1.5, "many": 2, "steps": 1.5},
    )


def measured(contestant: Contestant, seconds: float) -> Figures:
    """Run one contestant in a process of its own. Raises RuntimeError with the end of what it wrote."""
    command = [str(contestant.python), "-m", contestant.module, contestant.place, str(seconds)]
    done = subprocess.run(  # noqa: S603 - programs of this folder
        command, cwd=ROOT, env=os.environ, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"{contestant.name} failed:\n{done.stderr[-2_000:]}")
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def middle(rounds: list[Figures]) -> dict[str, float | None]:
    """Return the median of every figure."""
    found: dict[str, float | None] = {}
    for shape in SHAPES:
        values = [value for value in (figures[shape] for figures in rounds) if value is not None]
        found[shape] = median(values) if values else None
    return found


def ratio(shape: str, own: float | None, peer: float | None) -> float | None:
    """How many times better; of seconds, fewer are better."""
    if own is None or peer is None:
        return None
    return peer / own if shape == "replay_s" else own / peer


def table(results: Mapping[str, tuple[Contestant, Mapping[str, float | None]]]) -> Table:
    """Return the comparison, each cell with its ratio to the peer and the ratio to reach."""
    drawn = Table(title="durable workflows, side by side")
    drawn.add_column("system")
    for heading in SHAPES.values():
        drawn.add_column(heading, justify="right")
    for name, (contestant, figures) in results.items():
        peer = results.get(contestant.peer or "")
        cells = [_cell(shape, contestant, figures, peer[1] if peer else None) for shape in SHAPES]
        drawn.add_row(name, *cells)
    return drawn


def _cell(
    shape: str,
    contestant: Contestant,
    figures: Mapping[str, float | None],
    peer: Mapping[str, float | None] | None,
) -> str:
    value = figures[shape]
    if value is None:
        return "-"
    text = f"{value:.3f}" if shape == "replay_s" else f"{value:,.0f}"
    times = ratio(shape, value, peer[shape]) if peer is not None else None
    target = (contestant.targets or {}).get(shape)
    if times is None or target is None:
        return text
    colour = "green" if times >= target else "red"
    return f"{text}  [{colour}]{times:.1f}x[/] of {target:g}x"


def main() -> None:
    """Measure in turns and print the medians."""
    parser = argparse.ArgumentParser(prog="benchmarks.workflows", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured")
    parser.add_argument("--seconds", type=float, default=4.0, help="seconds for each rate")
    parser.add_argument("--only", default="", help="only contestants whose name contains this")
    parser.add_argument("--json", action="store_true", help="print the medians as JSON")
    given, _ = parser.parse_known_args()
    errors = Console(stderr=True)
    for absent, why in ((PEER_PYTHON, "DBOS and the Restate SDK"), (RESTATE, "the Restate server")):
        if not absent.exists():
            errors.print(f"{why}: not installed here; run make benchmark-peers")
    rounds: dict[str, list[Figures]] = {}
    entrants: dict[str, Contestant] = {}
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        postgres = None
        if binaries() is None:
            errors.print(WHY_ABSENT)
        else:
            running = stack.enter_context(server(durable=True))
            postgres = running.tcp_url("").removesuffix("/")
            running.fresh("ours")
        for turn in range(given.rounds):
            for contestant in contestants(folder, postgres):
                if given.only not in contestant.name:
                    continue
                errors.print(f"round {turn + 1} of {given.rounds}: {contestant.name}")
                entrants[contestant.name] = contestant
                rounds.setdefault(contestant.name, []).append(measured(contestant, given.seconds))
    results = {name: (entrants[name], middle(figures)) for name, figures in rounds.items()}
    if given.json:
        print(json.dumps({name: figures for name, (_, figures) in results.items()}))
    else:
        Console().print(table(results))


if __name__ == "__main__":
    main()
