"""`dao-scorer replay`: recorded votes re-enacted on a fresh local chain, scored and compared."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress, TaskID

from scorers.cli import options, output
from scorers.cli.flags import configured
from scorers.cli.session import cleared_away
from scorers.policies.configuration import policy_from
from scorers.replay.comparison import Replayed, Summary, summarise
from scorers.replay.dataset import Proposal, load_dataset
from scorers.replay.run import replay as run_replay
from scorers.replay.timeline import timeline
from scorers.settings import Settings


@configured("policy")
async def replay(
    settings: Settings,
    file: Annotated[Path, typer.Argument(help="Recorded proposals, one JSON object a line.")],
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many proposals.")] = None,
    keep: Annotated[
        Path | None, typer.Option(help="Keep the databases in this folder; by default they are deleted.")
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Re-enact recorded votes on a local chain. Score, submit, verify and compare them all."""
    proposals = load_dataset(file, limit)
    began = time.monotonic()
    with cleared_away(), _folder(keep) as directory, output.progress() as display:
        policy = policy_from(settings.policy)
        results = await run_replay(proposals, directory, Bars(display, proposals), policy)
    summary, seconds = summarise(results), round(time.monotonic() - began, 1)
    if as_json:
        for result in results:
            output.emit(_record(result))
        output.emit({**_counts(summary), "seconds": seconds})
    else:
        _show(results, summary, seconds)
    if not summary.perfect:
        output.fail(f"the replay differs from the record: {_differences(results)}")


class Bars:
    """Progress bars for the three parts of a replay."""

    def __init__(self, display: Progress, proposals: Sequence[Proposal]) -> None:
        self._display = display
        self._played = display.add_task("playing the votes", total=len(timeline(proposals)))
        self._submitted = display.add_task("scores submitted", total=len(proposals))
        self._verified = display.add_task("proofs verified", total=len(proposals))

    def played(self, done: int) -> None:
        """Show how many actions are on the chain."""
        self._update(self._played, done)

    def submitted(self, done: int) -> None:
        """Show how many scores are final."""
        self._update(self._submitted, done)

    def verified(self, done: int) -> None:
        """Show how many proofs were checked."""
        self._update(self._verified, done)

    def _update(self, bar: TaskID, done: int) -> None:
        self._display.update(bar, completed=done)


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="dao-scorer-replay-") as directory:
        yield Path(directory)


def _record(result: Replayed) -> dict[str, object]:
    outcome = result.outcome
    return {
        "id": result.proposal.id,
        "status": outcome.status,
        "score": outcome.score,
        "votes_for": str(outcome.for_votes),
        "votes_against": str(outcome.against_votes),
        "transaction": outcome.transaction_hash,
        "root": outcome.root,
        "tally_matches": result.tally_matches,
        "outcome_matches": result.outcome_matches,
        "proof_faults": result.proof_faults,
    }


def _counts(summary: Summary) -> dict[str, int]:
    return {
        "proposals": summary.proposals,
        "submitted": summary.submitted,
        "tallies_match": summary.tallies_match,
        "outcomes_match": summary.outcomes_match,
        "proofs_verified": summary.proofs_verified,
    }


SHOWN = 12


def _show(results: Sequence[Replayed], summary: Summary, seconds: float) -> None:
    rows = [
        (
            f"{result.proposal.id[:10]}…",
            len(result.proposal.votes),
            result.outcome.score,
            result.proposal.winning_outcome,
            _mark(result.tally_matches),
            "-" if result.outcome_matches is None else _mark(result.outcome_matches),
            _mark(not result.proof_faults),
        )
        for result in results[:SHOWN]
    ]
    output.table(
        f"the first {len(rows)} of {len(results)} proposals",
        ("proposal", "votes", "score (bp)", "recorded", "tally", "outcome", "proof"),
        rows,
    )
    output.record(
        "replay",
        {
            "submitted": f"{summary.submitted} of {summary.proposals}",
            "tallies equal to the record": f"{summary.tallies_match} of {summary.proposals}",
            "outcomes equal where votes decided": (
                f"{summary.outcomes_match} of {summary.outcomes_compared}"
            ),
            "proofs verified on the chain": f"{summary.proofs_verified} of {summary.proposals}",
            "time": f"{seconds} s",
        },
    )


def _mark(right: bool) -> str:
    return "[green]✔[/]" if right else "[red]✘[/]"


def _differences(results: Sequence[Replayed]) -> str:
    wrong = [
        f"{result.proposal.id[:10]}… ({_reason(result)})"
        for result in results
        if not result.submitted
        or not result.tally_matches
        or result.outcome_matches is False
        or result.proof_faults
    ]
    more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
    return "; ".join(wrong[:3]) + more


def _reason(result: Replayed) -> str:
    if not result.submitted:
        return f"{result.outcome.status}: {result.outcome.detail}"
    if result.proof_faults:
        return result.proof_faults[0]
    return "tally differs" if not result.tally_matches else "outcome differs"
