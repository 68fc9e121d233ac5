"""What came out against what the record says. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scorers.replay.dataset import EXECUTED, PASS, Proposal
from scorers.values import ScoreOutcome, ScoreStatus

SUBMITTED = (ScoreStatus.SCORED, ScoreStatus.NO_VOTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """One proposal re-enacted.

    `outcome_matches` is None where the recorded outcome was not decided by the votes: a proposal that expires
    in the queue fails whatever its tally, so only executed ones are compared.
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


def compare(proposal: Proposal, outcome: ScoreOutcome, proof_faults: tuple[str, ...]) -> Replayed:
    """Compare tallies exactly, and the outcome where the votes decided it."""
    tally = (outcome.for_votes, outcome.against_votes)
    decided = proposal.stage == EXECUTED
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
