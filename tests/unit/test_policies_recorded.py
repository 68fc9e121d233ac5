"""Every recorded proposal under every policy: each score against a computation of its own, in fractions.

Nothing of the policies, of their inputs or of the score is used for what is expected: it follows from the
lines of the file by the formulas of docs/scoring.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import floor, trunc

import pytest

from scorers.policies import (
    AllowList,
    DenyList,
    FirstVoteBefore,
    MinimumWeight,
    ParticipationAdjusted,
    Quadratic,
    ReputationWeighted,
    Rule,
    TimeDecayed,
    TokenWeighted,
    Weighting,
)
from scorers.policies.statement import state
from scorers.policy import AnyPolicy, Policy, PolicyStatement
from scorers.steps.eligibility import check_eligibility
from scorers.steps.policy_inputs import policy_inputs
from scorers.steps.reputation import read_reputations, voters_of
from scorers.steps.score import calculate_score
from scorers.steps.votes import read_settled_votes
from scorers.values import AppliedPolicy, ScoreStatus, Verdict
from tests.data import DXDAO, needs_dxdao
from tests.recorded_dao import OTHER_REPUTATION, REPUTATION, Recorded, RecordedNode, recorded

pytestmark = needs_dxdao
EVENING = 86_400


@dataclass(frozen=True)
class Cast:
    """A vote as the expectation sees it."""

    voter: str
    weight: int
    time: int
    on: Recorded
    all: Sequence[Recorded]

    def before(self) -> list[Recorded]:
        closed = [each for each in self.all if each.deadline < self.on.created_at]
        return sorted(closed, key=lambda each: (each.deadline, each.number))

    def share(self, last: int) -> Fraction | None:
        closed = self.before()[-last:]
        if not closed:
            return None
        return Fraction(sum(self.voter in {vote[0] for vote in each.votes} for each in closed), len(closed))

    def has_voted(self) -> bool:
        return any(
            vote[0] == self.voter and vote[3] < self.on.created_at for each in self.all for vote in each.votes
        )


def exact(value: Fraction | int) -> int:
    return floor(value)


def square_root(number: int) -> int:
    """The last whole number whose square is not beyond, by halving."""
    low, high = 0, number + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if Fraction(number, middle) >= middle else (low, middle)
    return low


def participating(vote: Cast, last: int, base: Fraction) -> int:
    share = vote.share(last)
    return vote.weight if share is None else exact(vote.weight * (base + (1 - base) * share))


def decayed(vote: Cast, half_life: int) -> int:
    halvings, rest = Fraction(vote.time - vote.on.created_at, half_life).__divmod__(1)
    return exact(Fraction(vote.weight, 2**halvings) * (1 - rest / 2))


LISTED = (
    "0xabd238fa6b6042438fbd22e7d398199080b4224c",
    "0x441428454b614d2bb2782165ef1cee53da79dd93",
    "0xb0e83c2d71a991017e0116d58c5765abc57384af",
)
HEAVY = 10**21
Weigh = Callable[[Cast], int]
Counts = Callable[[Cast], bool]
POLICIES: dict[str, tuple[Weighting, tuple[Rule, ...], Weigh, Counts]] = {
    "token-weighted": (TokenWeighted(), (), lambda vote: vote.weight, lambda _: True),
    "reputation-weighted": (
        ReputationWeighted(contract=REPUTATION),
        (MinimumWeight(weight=1),),
        lambda vote: vote.weight % OTHER_REPUTATION,
        lambda vote: vote.weight % OTHER_REPUTATION > 0,
    ),
    "quadratic": (Quadratic(), (), lambda vote: square_root(vote.weight), lambda _: True),
    "participation-adjusted": (
        ParticipationAdjusted(last=7, base_bps=1_234),
        (),
        lambda vote: participating(vote, 7, Fraction(1_234, 10_000)),
        lambda _: True,
    ),
    "time-decayed": (
        TimeDecayed(half_life_s=3 * EVENING + 7),
        (),
        lambda vote: decayed(vote, 3 * EVENING + 7),
        lambda _: True,
    ),
    "first votes, and heavy": (
        Quadratic(),
        (MinimumWeight(weight=HEAVY), FirstVoteBefore()),
        lambda vote: square_root(vote.weight),
        lambda vote: vote.weight >= HEAVY and vote.has_voted(),
    ),
    "allowed": (
        TokenWeighted(),
        (AllowList(voters=LISTED),),
        lambda vote: vote.weight,
        lambda vote: vote.voter in LISTED,
    ),
    "denied": (
        ParticipationAdjusted(last=1, base_bps=0),
        (DenyList(voters=LISTED),),
        lambda vote: participating(vote, 1, Fraction(0)),
        lambda vote: vote.voter not in LISTED,
    ),
}


async def verdict_on(chain: RecordedNode, proposal: Recorded, policy: AnyPolicy) -> Verdict:
    """Score as the workflow does, step by step."""
    facts = chain.facts(proposal)
    votes = await read_settled_votes(chain.node, facts)
    reputations = await read_reputations(chain.node, facts, voters_of(votes.ballots))
    applied: Policy | AppliedPolicy
    if isinstance(policy, PolicyStatement):
        inputs = await policy_inputs(chain.node, policy, facts, votes.ballots)
        applied = AppliedPolicy(statement=policy, inputs=inputs)
    else:
        applied = policy
    eligibility = check_eligibility(applied, votes.ballots, reputations, facts.form.counting)
    return calculate_score(facts, votes.tally, eligibility)


def check(
    verdict: Verdict, proposal: Recorded, every: Sequence[Recorded], weigh: Weigh, counts: Counts
) -> None:
    casts = [(Cast(voter, weight, at, proposal, every), side) for voter, side, weight, at in proposal.votes]
    counted = [(weigh(vote), side) for vote, side in casts if counts(vote)]
    in_favour, against = (sum(weight for weight, side in counted if side == wanted) for wanted in (1, 0))
    total = in_favour + against
    score = trunc(Fraction(10_000 * (in_favour - against), total)) if total else 0
    assert (verdict.score, verdict.for_votes, verdict.against_votes) == (score, in_favour, against)
    assert (verdict.counted, verdict.excluded) == (len(counted), len(casts) - len(counted))
    assert verdict.status is (ScoreStatus.SCORED if total else ScoreStatus.NO_VOTES)
    assert verdict.findings == []


@pytest.mark.parametrize("name", [*POLICIES, "without configuration"])
def test_every_recorded_proposal_scores_exactly(name: str) -> None:
    every = recorded(DXDAO)
    chain = RecordedNode(every)
    assert len(every) == 302
    if name in POLICIES:
        weighting, rules, weigh, counts = POLICIES[name]
        policy: AnyPolicy = state(weighting, rules)
    else:
        policy, weigh, counts = Policy(), lambda vote: vote.weight, lambda _: True

    async def score_all() -> list[Verdict]:
        return [await verdict_on(chain, proposal, policy) for proposal in every]

    verdicts = asyncio.run(score_all())
    for verdict, proposal in zip(verdicts, every, strict=True):
        check(verdict, proposal, every, weigh, counts)
    assert len({verdict.score for verdict in verdicts}) >= 3
