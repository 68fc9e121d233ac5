"""Which votes count: a pure decision over facts of the chain, with a reason for every vote left out.

A vote in time is decided by the chain's own blocks, before this step; no clock is compared here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from contracts.dao import Counting
from scorers.policy import Policy
from scorers.steps.score import ABSTAIN, AGAINST, FOR
from scorers.steps.weighing import weigh_votes
from scorers.values import (
    AppliedPolicy,
    Ballot,
    Eligibility,
    Exclusion,
    Reason,
    Reputation,
    Weighing,
)


def check_eligibility(
    policy: Policy | AppliedPolicy,
    ballots: list[Ballot],
    reputations: list[Reputation],
    counting: Counting = Counting.SIMPLE,
) -> Eligibility | Weighing:
    """Divide the ballots into those that count and those that do not.

    Only a voter's first may count, unless the DAO lets voters split their weight over several (FRACTIONAL).
    A policy of its own also says what each of them weighs. Raises PolicyError where it cannot be applied.
    """
    examined = list(_examined(ballots, reputations, counting))
    if isinstance(policy, AppliedPolicy):
        return weigh_votes(policy, [(each.ballot, each.entitled, each.fault) for each in examined])
    counted: list[Ballot] = []
    excluded: list[Exclusion] = []
    for each in examined:
        fault = each.fault
        if fault is None and each.entitled < policy.minimum_weight:
            fault = Reason.BELOW_MINIMUM
        if fault is None:
            counted.append(each.ballot)
        else:
            excluded.append(Exclusion(ballot=each.ballot, reason=fault))
    return Eligibility(counted=counted, excluded=excluded)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Examined:
    """A ballot, what its voter is entitled to, and why no policy may count it."""

    ballot: Ballot
    entitled: int
    fault: Reason | None


def _examined(
    ballots: list[Ballot], reputations: list[Reputation], counting: Counting
) -> Iterator[_Examined]:
    weights = {reputation.voter: reputation for reputation in reputations}
    used: dict[tuple[str, bool], int] = {}
    for ballot in ballots:
        key = (ballot.voter, ballot.overriding)
        entitled = _entitled(ballot, weights.get(ballot.voter))
        fault = _fault(counting, ballot, entitled, used.get(key))
        used[key] = used.get(key, 0) + ballot.weight
        yield _Examined(ballot=ballot, entitled=entitled or 0, fault=fault)


def _entitled(ballot: Ballot, reputation: Reputation | None) -> int | None:
    """Return what all ballots like this one of its voter may weigh, None if the chain tells no such voter."""
    if reputation is None:
        return None
    return reputation.own if ballot.overriding else reputation.weight - reputation.overridden


def _fault(counting: Counting, ballot: Ballot, entitled: int | None, used: int | None) -> Reason | None:
    """Return why a ballot counts by no policy; `used` is what the voter's earlier ones weighed, if any."""
    split = counting is Counting.FRACTIONAL
    if used is not None and not split:
        return Reason.ALREADY_VOTED
    total = (used or 0) + ballot.weight
    if entitled is None or total > entitled or (total < entitled and not split):
        return Reason.WEIGHT_DIFFERS
    if ballot.support not in (AGAINST, FOR, ABSTAIN):
        return Reason.UNKNOWN_SUPPORT
    return None
