"""Which votes count: a pure decision over facts of the chain, with a reason for every vote left out.

A vote in time is decided by the chain's own blocks, before this step; no clock is compared here.
"""

from __future__ import annotations

from scorers.policy import Policy
from scorers.steps.score import ABSTAIN, AGAINST, FOR
from scorers.values import Ballot, Eligibility, Exclusion, Reason, Reputation


def check_eligibility(policy: Policy, ballots: list[Ballot], reputations: list[Reputation]) -> Eligibility:
    """Divide the ballots into those that count and those that do not; only a voter's first may count."""
    weights = {reputation.voter: reputation.weight for reputation in reputations}
    counted: list[Ballot] = []
    excluded: list[Exclusion] = []
    seen: set[str] = set()
    for ballot in ballots:
        reason = _reason(policy, ballot, weights.get(ballot.voter), repeated=ballot.voter in seen)
        seen.add(ballot.voter)
        if reason is None:
            counted.append(ballot)
        else:
            excluded.append(Exclusion(ballot=ballot, reason=reason))
    return Eligibility(counted=counted, excluded=excluded)


def _reason(policy: Policy, ballot: Ballot, reputation: int | None, *, repeated: bool) -> Reason | None:
    if repeated:
        return Reason.ALREADY_VOTED
    if reputation != ballot.weight:
        return Reason.WEIGHT_DIFFERS
    if ballot.support not in (AGAINST, FOR, ABSTAIN):
        return Reason.UNKNOWN_SUPPORT
    if ballot.weight < policy.minimum_weight:
        return Reason.BELOW_MINIMUM
    return None
