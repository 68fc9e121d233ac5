"""The demonstration from the first block to the last proof."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from contracts.bindings import proposal_scores
from orchestrator.client.outcomes import result_of
from orchestrator.commitments import Check, verify_bundle
from orchestrator.server import fetch_bundle
from scorers.demo.cast import PROPOSALS, DemoProposal
from scorers.demo.stage import Say, Stage, end_voting, stage, vote
from scorers.demo.watch import SURVIVOR, VICTIM, Watch
from scorers.errors import ScenarioError
from scorers.evidence import verify_on_chain
from scorers.serving import PROOFS
from scorers.values import ScoreOutcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """One proposal at the end: its outcome, who worked on it, and what was checked."""

    number: int
    proposal: DemoProposal
    outcome: ScoreOutcome
    workers: tuple[str, ...]
    taken_over: bool
    submissions: int
    checks: tuple[Check, ...]

    @property
    def verified(self) -> bool:
        """Tell whether every check of the proof holds."""
        return all(check.ok for check in self.checks)


async def run_demo(directory: Path, say: Say, watched: Callable[[Watch], None]) -> list[Scored]:
    """Play the demonstration; `say` takes lines for a person, `watched` is told of every look at the pool.

    Raises ScenarioError where anything is not as it must be: a proposal without exactly one submission, a
    proof that does not verify, or a worker that was not killed with work in its hands.
    """
    async with stage(directory, say) as parts:
        await vote(parts, PROPOSALS)
        ballots = sum(support is not None for proposal in PROPOSALS for support in proposal.votes)
        say(f"{len(PROPOSALS)} proposals, {ballots} votes; the scorers wait for the end of voting, suspended")
        watch = Watch(stage=parts, count=len(PROPOSALS))
        await end_voting(parts)
        say("voting has ended by the chain's clock")
        await watch.until_settled(watched)
        _tell_of_the_kill(watch, say)
        results = [await _scored(parts, watch, number) for number in range(1, len(PROPOSALS) + 1)]
    _check(results)
    return results


def _tell_of_the_kill(watch: Watch, say: Say) -> None:
    if watch.kill is None:
        raise ScenarioError(f"{VICTIM} was never half-way through a proposal: run the demo again")
    numbers = sorted({watch.number_of(task_id) for task_id in watch.kill.held})
    held = ", ".join(f"#{number}" for number in numbers)
    say(
        f"{VICTIM} died half-way through {held}; {SURVIVOR} took over when the lease had run out, "
        "and went on behind the last settled step"
    )


async def _scored(parts: Stage, watch: Watch, number: int) -> Scored:
    promise = watch.settled[number]
    bundle = await fetch_bundle(parts.transport.call, promise.id, PROOFS.sections)
    checks = (*verify_bundle(bundle), *await verify_on_chain(parts.node, bundle))
    kill = watch.kill
    return Scored(
        number=number,
        proposal=PROPOSALS[number - 1],
        outcome=result_of(promise, ScoreOutcome),
        workers=tuple(watch.workers_of.get(number, ())),
        taken_over=kill is not None and any(watch.number_of(task_id) == number for task_id in kill.held),
        submissions=(await _submissions(parts))[number],
        checks=checks,
    )


async def _submissions(parts: Stage) -> Counter[int]:
    """Count the ScoreSubmitted events of each proposal."""
    event = proposal_scores.SCORE_SUBMITTED
    head = (await parts.node.header("latest")).number
    logs = await parts.node.logs(parts.deployed.registry, [event.topic0], 0, head)
    return Counter(event.decode(log).proposal_id for log in logs)


def _check(results: Sequence[Scored]) -> None:
    for result in results:
        if result.submissions != 1:
            raise ScenarioError(
                f"proposal #{result.number} was submitted {result.submissions} times, not once"
            )
        for check in result.checks:
            if not check.ok:
                raise ScenarioError(f"the proof of #{result.number} fails at {check.name}: {check.detail}")
