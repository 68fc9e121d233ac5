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
from scorers.policy import Policy, policy_hash
from scorers.registration import COMMITTED_DECISIONS, COMMITTED_READS, version_of
from scorers.steps.eligibility import check_eligibility
from scorers.steps.proposal import last_block_until
from scorers.steps.reputation import voters_of
from scorers.steps.score import calculate_score, tally_of
from scorers.values import Ballot, Proposal, Reputation, Votes
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
