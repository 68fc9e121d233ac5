"""What came out against what the record says. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from orchestrator.commitments import Bundle
from scorers.policy import Policy
from scorers.replay.dataset import EXECUTED, PASS, Proposal
from scorers.sections import VOTES_SECTION, VotesSection
from scorers.steps.score import AGAINST, FOR
from scorers.values import ScoreOutcome, ScoreStatus

SUBMITTED = (ScoreStatus.SCORED, ScoreStatus.NO_VOTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """One proposal re-enacted.

    `outcome_matches` is None where the recorded outcome was not decided by the votes: a proposal that expires
    in the queue fails whatever its tally, so only executed ones are compared, and only with the policy that
    weighs votes as the DAO did.
    """

    proposal: Proposal
    outcome: ScoreOutcome
    tally_matches: bool
    outcome_matches: bool | None
    proof_faults: tuple[str, ...]

    @property
    def submitted(self) -> bool:
        """Tell whether a score of ours stands on the chain."""
        return self.outcome.status in SUBMITTED and self.outcome.transaction_hash is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The counts over a whole replay; `outcomes_compared` is how many could be."""

    proposals: int
    submitted: int
    tallies_match: int
    outcomes_match: int
    outcomes_compared: int
    proofs_verified: int

    @property
    def perfect(self) -> bool:
        """Tell whether everything that can be right is."""
        whole = {self.proposals, self.submitted, self.tallies_match, self.proofs_verified}
        return len(whole) == 1 and self.outcomes_match == self.outcomes_compared


def cast_in(bundle: Bundle) -> tuple[int, int]:
    """Return what was cast for and against, whatever a policy made of it; nothing where no vote is shown."""
    section = bundle.sections.get(VOTES_SECTION)
    votes = [] if section is None else msgspec.convert(section, VotesSection).leaves
    return (
        sum(int(vote.weight) for vote in votes if vote.support == FOR),
        sum(int(vote.weight) for vote in votes if vote.support == AGAINST),
    )


def compare(
    proposal: Proposal, outcome: ScoreOutcome, tally: tuple[int, int], proof_faults: tuple[str, ...]
) -> Replayed:
    """Compare what was cast exactly, and the outcome where the votes decided it as the DAO weighs them."""
    decided = proposal.stage == EXECUTED and isinstance(outcome.policy, Policy)
    return Replayed(
        proposal=proposal,
        outcome=outcome,
        tally_matches=tally == (int(proposal.votes_for), int(proposal.votes_against)),
        outcome_matches=(outcome.score > 0) == (proposal.winning_outcome == PASS) if decided else None,
        proof_faults=proof_faults,
    )


def summarise(results: Sequence[Replayed]) -> Summary:
    """Count what came out right."""
    return Summary(
        proposals=len(results),
        submitted=sum(result.submitted for result in results),
        tallies_match=sum(result.tally_matches for result in results),
        outcomes_match=sum(result.outcome_matches is True for result in results),
        outcomes_compared=sum(result.outcome_matches is not None for result in results),
        proofs_verified=sum(not result.proof_faults for result in results),
    )
