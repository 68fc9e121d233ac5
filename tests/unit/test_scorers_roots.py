"""M2: whatever of a scoring's inputs changes, its root changes; and the blocks that a vote's end rests on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.dao import DaoKind
from contracts.rpc import BlockHeader, Node
from listener.invocation import ProposalRequest
from orchestrator.client.registry import describe
from orchestrator.commitments import Commitment, close
from scorers.policies import DenyList, FirstVoteBefore, MinimumWeight, ParticipationAdjusted
from scorers.policies.statement import state
from scorers.policy import Policy, PolicyStatement, policy_hash
from scorers.registration import COMMITTED_DECISIONS, COMMITTED_READS, version_of
from scorers.steps.eligibility import check_eligibility
from scorers.steps.proposal import last_block_until
from scorers.steps.reputation import voters_of
from scorers.steps.score import calculate_score, tally_of
from scorers.values import (
    AppliedPolicy,
    Ballot,
    BlockTime,
    ClosedProposal,
    FirstVote,
    Participation,
    PolicyInputs,
    Proposal,
    Reputation,
    VoterReputation,
    Votes,
)
from scorers.vote_leaves import domain_of
from tests.unit.test_scorers_score import ballot, proposal, reputations

CAST = [ballot(1, 1, 30, block=12), ballot(2, 0, 10, block=13), ballot(3, 2, 5, block=13, index=1)]
FACTS = proposal(30, 10, 5)
REQUEST = ProposalRequest(
    chain_id=FACTS.chain_id,
    dao=FACTS.dao,
    registry=FACTS.registry,
    proposal_id=str(FACTS.proposal_id),
    content_hash="0x" + "07" * 32,
    proposer="0x" + "0a" * 20,
    block_number=10,
    block_hash="0x" + "0b" * 32,
    transaction_hash="0x" + "0c" * 32,
    log_index=0,
)
STEPS = {
    step.__name__: describe(step, version=version_of(step), commit=True).committer
    for step in (*COMMITTED_READS, *COMMITTED_DECISIONS)
}


def root_of(
    request: ProposalRequest = REQUEST,
    facts: Proposal = FACTS,
    cast_votes: Sequence[Ballot] = tuple(CAST),
    read: Sequence[Reputation] | None = None,
    policy: Policy = Policy(),  # noqa: B008 - frozen
) -> str:
    """Return the root of a scoring of these facts, closed as the workflow closes it."""
    ballots = list(cast_votes)
    weights = list(read) if read is not None else reputations(*ballots)
    raw = tally_of(ballots)
    eligibility = check_eligibility(policy, ballots, weights)
    calls: list[tuple[str, tuple[object, ...], object]] = [
        ("read_proposal", (request,), facts),
        ("fetch_votes", (facts,), Votes(ballots=ballots, tally=raw)),
        ("score_reputations", (facts, voters_of(ballots)), weights),
        ("check_eligibility", (policy, ballots, weights), eligibility),
        ("calculate_score", (facts, raw, eligibility), calculate_score(facts, raw, eligibility)),
    ]
    commitments = []
    for name, arguments, result in calls:
        committer = STEPS[name]
        assert committer is not None
        commitment = Commitment.from_headers(committer.bind(arguments, {}).headers(result))
        assert commitment is not None
        commitments.append(commitment)
    return close(domain_of(facts), commitments).root.hex()


def other(value: object) -> Any:
    """Return another value of the same kind."""
    if is_dataclass(value):
        first = fields(value)[0].name
        return replace(value, **{first: other(getattr(value, first))})  # type: ignore[type-var]
    if isinstance(value, DaoKind):
        return DaoKind.GOVERNOR if value is DaoKind.REPUTATION else DaoKind.REPUTATION
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    text = cast("str", value)
    if text.isdigit():
        return str(int(text) + 1)
    return text[:-1] + ("1" if text[-1] == "0" else "0")


def variants(name: str, value: object) -> list[Any]:
    return [
        pytest.param({name: replace(value, **{each.name: other(getattr(value, each.name))})}, id=each.name)  # type: ignore[type-var, arg-type]
        for each in fields(value)  # type: ignore[arg-type]
    ]


@pytest.mark.parametrize(
    "change",
    [
        *variants("request", REQUEST),
        *variants("facts", FACTS),
        *variants("policy", Policy()),
        *(
            pytest.param({"cast_votes": [changed, *CAST[1:]]}, id=f"ballot {each.name}")
            for each in fields(CAST[0])
            for changed in [replace(CAST[0], **{each.name: other(getattr(CAST[0], each.name))})]
        ),
        pytest.param({"cast_votes": CAST[:-1]}, id="one vote less"),
        pytest.param({"cast_votes": [*CAST, ballot(4, 1, 1)]}, id="one vote more"),
        pytest.param({"cast_votes": [CAST[1], CAST[0], CAST[2]]}, id="another order"),
        pytest.param({"read": reputations(*CAST[:2])}, id="a reputation less"),
        pytest.param({"facts": replace(FACTS, policy_hash=policy_hash(Policy()))}, id="a bound policy"),
    ],
)
def test_every_change_of_an_input_gives_another_root(change: dict[str, Any]) -> None:
    assert root_of(**change) != root_of()


def test_equal_inputs_give_equal_roots() -> None:
    assert root_of() == root_of(replace(REQUEST), replace(FACTS), list(CAST), None, Policy())


class Blocks:
    """Headers by number, with the timestamps that a test gives."""

    def __init__(self, timestamps: Sequence[int]) -> None:
        self.timestamps = timestamps
        self.reads = 0

    async def header(self, block: int) -> BlockHeader:
        self.reads += 1
        return BlockHeader(
            number=block, hash=bytes(32), parent_hash=bytes(32), timestamp=self.timestamps[block]
        )


jumps = st.lists(st.integers(1, 5) | st.integers(10_000, 10**9), min_size=1, max_size=60)


@given(jumps, st.data())
async def test_the_last_block_of_a_vote_whatever_the_timestamps(gaps: list[int], data: st.DataObject) -> None:
    timestamps = [1_000]
    for gap in gaps:
        timestamps.append(timestamps[-1] + gap)
    first = data.draw(st.integers(0, len(timestamps) - 2))
    # The deadline is a block's own timestamp as often as one in between.
    deadline = data.draw(
        st.sampled_from(timestamps[first:-1]) | st.integers(timestamps[first], timestamps[-1] - 1)
    )
    expected = max(number for number, moment in enumerate(timestamps) if moment <= deadline)
    blocks = Blocks(timestamps)
    found = await last_block_until(cast("Node", blocks), deadline, first=first, beyond=len(timestamps) - 1)
    assert found == expected
    assert blocks.reads <= 2 * len(timestamps).bit_length()


WEIGHED = state(
    ParticipationAdjusted(last=2), [MinimumWeight(), FirstVoteBefore(), DenyList(voters=("0x" + "aa" * 20,))]
)
READ = PolicyInputs(
    reputations=[],
    closed_proposals=[ClosedProposal(proposal_id=7, deadline=8), ClosedProposal(proposal_id=8, deadline=9)],
    participations=[
        Participation(voter=CAST[0].voter, proposals=[0]),
        Participation(voter=CAST[1].voter, proposals=[1]),
    ],
    first_votes=[FirstVote(voter=each.voter, block_number=3) for each in CAST],
    block_times=[],
)


def weighed_root(policy: PolicyStatement = WEIGHED, inputs: PolicyInputs = READ) -> str:
    """Return the root of a scoring by a policy of its own, as the workflow closes it."""
    ballots, weights, raw = CAST, reputations(*CAST), tally_of(CAST)
    applied = AppliedPolicy(statement=policy, inputs=inputs)
    eligibility = check_eligibility(applied, ballots, weights)
    calls: list[tuple[str, tuple[object, ...], object]] = [
        ("read_proposal", (REQUEST,), FACTS),
        ("fetch_votes", (FACTS,), Votes(ballots=ballots, tally=raw)),
        ("score_reputations", (FACTS, voters_of(ballots)), weights),
        ("read_policy_inputs", (policy, FACTS, ballots), inputs),
        ("check_eligibility", (applied, ballots, weights), eligibility),
        ("calculate_score", (FACTS, raw, eligibility), calculate_score(FACTS, raw, eligibility)),
    ]
    commitments = []
    for name, arguments, result in calls:
        committer = STEPS[name]
        assert committer is not None
        commitment = Commitment.from_headers(committer.bind(arguments, {}).headers(result))
        assert commitment is not None
        commitments.append(commitment)
    return close(domain_of(FACTS), commitments).root.hex()


def test_every_part_of_a_policy_and_every_input_is_in_the_root() -> None:
    deny = DenyList(voters=("0x" + "aa" * 20,))
    policies = [
        WEIGHED,
        state(ParticipationAdjusted(last=3), [MinimumWeight(), FirstVoteBefore(), deny]),
        state(ParticipationAdjusted(last=2), [MinimumWeight(weight=2), FirstVoteBefore(), deny]),
        state(ParticipationAdjusted(last=2), [FirstVoteBefore(), MinimumWeight(), deny]),
        state(ParticipationAdjusted(last=2), [MinimumWeight(), FirstVoteBefore()]),
        state(
            ParticipationAdjusted(last=2),
            [MinimumWeight(), FirstVoteBefore(), DenyList(voters=("0x" + "ab" * 20,))],
        ),
    ]
    inputs = [
        replace(
            READ, closed_proposals=[*READ.closed_proposals[:1], ClosedProposal(proposal_id=8, deadline=10)]
        ),
        replace(READ, participations=READ.participations[:1]),
        replace(READ, first_votes=[replace(each, block_number=4) for each in READ.first_votes]),
        replace(READ, block_times=[BlockTime(block_number=1, timestamp=2)]),
        replace(READ, reputations=[VoterReputation(voter=CAST[0].voter, weight=1)]),
    ]
    roots = [weighed_root(policy) for policy in policies] + [weighed_root(inputs=each) for each in inputs]
    assert len({*roots, root_of()}) == len(roots) + 1
    assert weighed_root() == roots[0]
