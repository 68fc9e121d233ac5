"""Which votes count: a pure decision over facts of the chain, with a reason for every vote left out.

A vote in time is decided by the chain's own blocks, before this step; no clock is compared here.
"""

from __future__ import annotations

from contracts.dao import Counting
from scorers.policy import Policy
from scorers.steps.score import ABSTAIN, AGAINST, FOR
from scorers.values import Ballot, Eligibility, Exclusion, Reason, Reputation


def check_eligibility(
    policy: Policy,
    ballots: list[Ballot],
    reputations: list[Reputation],
    counting: Counting = Counting.SIMPLE,
) -> Eligibility:
    """Divide the ballots into those that count and those that do not.

    Only a voter's first may count, unless the DAO lets voters split their weight over several (FRACTIONAL).
    """
    weights = {reputation.voter: reputation for reputation in reputations}
    used: dict[tuple[str, bool], int] = {}
    counted: list[Ballot] = []
    excluded: list[Exclusion] = []
    for ballot in ballots:
        key = (ballot.voter, ballot.overriding)
        entitled = _entitled(ballot, weights.get(ballot.voter))
        reason = _reason(policy, counting, ballot, entitled, used.get(key))
        used[key] = used.get(key, 0) + ballot.weight
        if reason is None:
            counted.append(ballot)
        else:
            excluded.append(Exclusion(ballot=ballot, reason=reason))
    return Eligibility(counted=counted, excluded=excluded)


def _entitled(ballot: Ballot, reputation: Reputation | None) -> int | None:
    """Return what all ballots like this one of its voter may weigh, None if the chain tells no such voter."""
    if reputation is None:
        return None
    return reputation.own if ballot.overriding else reputation.weight - reputation.overridden


def _reason(
    policy: Policy, counting: Counting, ballot: Ballot, entitled: int | None, used: int | None
) -> Reason | None:
    """Return why a ballot does not count; `used` is what the voter's earlier ones weighed, if any."""
    split = counting is Counting.FRACTIONAL
    if used is not None and not split:
        return Reason.ALREADY_VOTED
    total = (used or 0) + ballot.weight
    if entitled is None or total > entitled or (total < entitled and not split):
        return Reason.WEIGHT_DIFFERS
    if ballot.support not in (AGAINST, FOR, ABSTAIN):
        return Reason.UNKNOWN_SUPPORT
    if entitled < policy.minimum_weight:
        return Reason.BELOW_MINIMUM
    return None
