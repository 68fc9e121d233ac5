"""`dao-scorer demo`: the whole product at work, in a minute."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.progress import Progress, TaskID

from scorers.cli import options, output
from scorers.cli.session import cleared_away, command
from scorers.demo.cast import PROPOSALS, UNIT
from scorers.demo.scenario import Scored, run_demo
from scorers.demo.watch import SURVIVOR, VICTIM, Watch
from scorers.values import ScoreOutcome, ScoreStatus


@command
async def demo(as_json: options.AsJson = False) -> None:
    """Score proposals on a local chain; a worker is killed half-way."""
    try:
        import hardhat_free_chain  # noqa: F401, PLC0415 - an extra
    except ImportError as error:
        output.fail(f"the local chain is not installed ({error.name}): pip install 'dao-scorer[chain]'")
    began = time.monotonic()
    with (
        cleared_away(),
        tempfile.TemporaryDirectory(prefix="dao-scorer-demo-") as directory,
        output.progress() as display,
    ):
        bar = display.add_task("proposals scored", total=len(PROPOSALS))
        teller = Teller(display, bar, quiet=as_json)
        results = await run_demo(Path(directory), teller.say, teller.watched)
    if as_json:
        for result in results:
            output.emit(_record(result))
        return
    _show(results, teller, time.monotonic() - began)


@dataclass(slots=True)
class Teller:
    """Tells what happens, as it happens."""

    display: Progress
    bar: TaskID
    quiet: bool
    killed: bool = False

    def say(self, line: str) -> None:
        """Print a line above the progress bar."""
        if not self.quiet:
            output.say(f"[dim]•[/] {line}", fold=True)

    def watched(self, watch: Watch) -> None:
        """Move the bar, and tell of the kill once."""
        self.display.update(self.bar, completed=len(watch.settled))
        if watch.kill is not None and not self.killed:
            self.killed = True
            self.say(f"[bold red]{VICTIM} is killed (SIGKILL, pid {watch.kill.pid})[/]; its lease runs on …")


def _show(results: Sequence[Scored], teller: Teller, seconds: float) -> None:
    rows = [
        (
            result.number,
            result.proposal.title,
            f"{result.outcome.for_votes // UNIT}/{result.outcome.against_votes // UNIT}",
            _score(result.outcome),
            _workers(result),
            f"{(result.outcome.transaction_hash or '')[:10]}…",
            "[green]✔ proven[/]" if result.verified else "[red]✘[/]",
        )
        for result in results
    ]
    columns = ("#", "proposal", "for/against", "score", "worker", "transaction", "on-chain")
    output.table("Proposals, scored and proven", columns, rows)
    output.say(f"⚡ {VICTIM} was killed while it worked on this one, and {SURVIVOR} took over.")
    output.say(f"Each proposal was submitted exactly once. {seconds:.0f} s.")


def _score(outcome: ScoreOutcome) -> str:
    return str(outcome.score) if outcome.status is ScoreStatus.SCORED else str(outcome.status)


def _workers(result: Scored) -> str:
    numbers = "→".join(worker.removeprefix("worker-") for worker in result.workers)
    return f"{numbers} [yellow]⚡[/]" if result.taken_over else numbers


def _record(result: Scored) -> dict[str, object]:
    outcome = result.outcome
    return {
        "proposal": result.number,
        "title": result.proposal.title,
        "status": outcome.status,
        "score": outcome.score,
        "for": str(outcome.for_votes),
        "against": str(outcome.against_votes),
        "abstain": str(outcome.abstain_votes),
        "workers": result.workers,
        "taken_over": result.taken_over,
        "submissions": result.submissions,
        "transaction": outcome.transaction_hash,
        "root": outcome.root,
        "verified": result.verified,
    }
