"""The score: how strongly the counted votes lean, in signed basis points, exact in integers.

Pure: no I/O, no clock, no floats.
"""

from __future__ import annotations

from collections.abc import Iterable

from scorers.values import Ballot, Eligibility, Proposal, Reason, ScoreStatus, Tally, Verdict, Weighing
from scorers.vote_leaves import counted_in, domain_of, vote_leaves, votes_root

BASIS_POINTS = 10_000
AGAINST, FOR, ABSTAIN = 0, 1, 2


def score_of(for_votes: int, against_votes: int) -> int:
    """Return 10,000 x (F - A) / (F + A), truncated toward zero.

    Raises ZeroDivisionError where nobody voted for or against: that is no score, see `NoVotes`.
    """
    # Python's // rounds toward minus infinity: -1/3 of the votes would be -3,334 and not -3,333.
    magnitude = BASIS_POINTS * abs(for_votes - against_votes) // (for_votes + against_votes)
    return magnitude if for_votes >= against_votes else -magnitude


def tally_of(ballots: Iterable[Ballot]) -> Tally:
    """Return the sums of the ballots' weights; other kinds of support than the three are in none of them."""
    return _sums((ballot, ballot.weight) for ballot in ballots)


def _sums(votes: Iterable[tuple[Ballot, int]]) -> Tally:
    sums = {AGAINST: 0, FOR: 0, ABSTAIN: 0}
    for ballot, weight in votes:
        if ballot.support in sums:
            sums[ballot.support] += weight
    return Tally(for_votes=sums[FOR], against_votes=sums[AGAINST], abstain_votes=sums[ABSTAIN])


def calculate_score(proposal: Proposal, raw: Tally, eligibility: Eligibility | Weighing) -> Verdict:
    """Return the verdict on a proposal.

    `raw` are the sums of all logged votes: where they differ from what the DAO counted, or a vote's weight
    from the voter's reputation, the evidence contradicts itself and there is no score to submit.

    The tree of votes is part of the verdict, which is short: a contract can read the root out of it.
    """
    counted = _sums(counted_in(eligibility))
    findings = _findings(proposal, raw, eligibility)
    status = _status(counted, findings)
    votes = vote_leaves(eligibility)
    score = score_of(counted.for_votes, counted.against_votes) if status is ScoreStatus.SCORED else 0
    return Verdict(
        status=status,
        score=score,
        for_votes=counted.for_votes,
        against_votes=counted.against_votes,
        abstain_votes=counted.abstain_votes,
        counted=len(eligibility.counted),
        excluded=len(eligibility.excluded),
        votes=len(votes),
        votes_root=votes_root(domain_of(proposal), votes),
        findings=findings,
    )


def _status(counted: Tally, findings: list[str]) -> ScoreStatus:
    if findings:
        return ScoreStatus.TALLY_MISMATCH
    decided = counted.for_votes + counted.against_votes > 0
    return ScoreStatus.SCORED if decided else ScoreStatus.NO_VOTES


def _findings(proposal: Proposal, raw: Tally, eligibility: Eligibility | Weighing) -> list[str]:
    findings = [
        f"{exclusion.ballot.voter}: {exclusion.reason}"
        for exclusion in eligibility.excluded
        if exclusion.reason == Reason.WEIGHT_DIFFERS
    ]
    if raw != proposal.tally:
        findings.insert(0, f"the logged votes are {_shown(raw)}, the DAO counted {_shown(proposal.tally)}")
    return findings


def _shown(tally: Tally) -> str:
    return f"{tally.for_votes} for, {tally.against_votes} against, {tally.abstain_votes} abstaining"
