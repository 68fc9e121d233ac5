"""The score, the eligibility and the policy: pure decisions against another way of computing them."""

from __future__ import annotations

from fractions import Fraction
from math import trunc

import pytest
from eth_abi.abi import encode
from hypothesis import given
from hypothesis import strategies as st

from contracts.bindings import Log
from contracts.bindings.reputation_dao import VOTE_CAST
from contracts.dao import BLOCK_CLOCK, DaoForm, DaoKind
from orchestrator.commitments import CanonicalError, canonical, canonical_result
from scorers.policy import ANY_POLICY, Policy, PolicyMismatch, check_bound, policy_hash
from scorers.steps.eligibility import check_eligibility
from scorers.steps.score import calculate_score, score_of, tally_of
from scorers.steps.votes import votes_of
from scorers.values import (
    Ballot,
    Eligibility,
    Exclusion,
    Proposal,
    Reason,
    Reputation,
    ScoreStatus,
    Tally,
    Votes,
)

DAO = "0x" + "da" * 20
UINT256_MAX = 2**256 - 1
AGAINST, FOR, ABSTAIN = 0, 1, 2


def address(number: int) -> str:
    return f"0x{number:040x}"


def ballot(voter: int, support: int, weight: int, *, block: int = 12, index: int = 0) -> Ballot:
    return Ballot(voter=address(voter), support=support, weight=weight, block_number=block, log_index=index)


def proposal(for_votes: int = 0, against_votes: int = 0, abstain_votes: int = 0) -> Proposal:
    return Proposal(
        chain_id=1337,
        dao=DAO,
        form=DaoForm(kind=DaoKind.REPUTATION, counting_mode="support=bravo", clock_mode=BLOCK_CLOCK),
        scored_dao=DAO,
        registry="0x" + "5c" * 20,
        proposal_id=2**255 + 7,
        snapshot=10,
        deadline=20,
        first_block=10,
        last_block=20,
        tally=Tally(for_votes=for_votes, against_votes=against_votes, abstain_votes=abstain_votes),
        policy_hash=ANY_POLICY,
    )


def reputations(*ballots: Ballot) -> list[Reputation]:
    return [Reputation(voter=each.voter, weight=each.weight) for each in ballots]


weights = st.integers(min_value=0, max_value=UINT256_MAX)


@given(weights, weights)
def test_score_is_the_exact_fraction_truncated_toward_zero(for_votes: int, against_votes: int) -> None:
    if for_votes + against_votes == 0:
        return
    expected = trunc(Fraction(10_000 * (for_votes - against_votes), for_votes + against_votes))
    score = score_of(for_votes, against_votes)
    assert score == expected
    assert -10_000 <= score <= 10_000
    assert score_of(against_votes, for_votes) == -score


@pytest.mark.parametrize(
    ("for_votes", "against_votes", "score"),
    [
        (1, 0, 10_000),
        (0, 1, -10_000),
        (1, 1, 0),
        (1, 2, -3_333),  # -3,333.33 is cut to -3,333; // alone would give -3,334
        (2, 1, 3_333),
        (1, 19_999, -9_999),
        (10_000, 10_001, 0),
        (UINT256_MAX, UINT256_MAX - 1, 0),
    ],
)
def test_score_truncates_toward_zero(for_votes: int, against_votes: int, score: int) -> None:
    assert score_of(for_votes, against_votes) == score


def test_negative_score_is_a_signed_number_in_its_committed_form() -> None:
    cast = [ballot(1, FOR, 1), ballot(2, AGAINST, 2)]
    verdict = calculate_score(
        proposal(for_votes=1, against_votes=2), tally_of(cast), Eligibility(counted=cast, excluded=[])
    )
    assert verdict.status is ScoreStatus.SCORED
    assert verdict.score == -3_333
    assert b'"score":-3333' in canonical_result(calculate_score, verdict)


def test_abstentions_are_reported_and_move_nothing() -> None:
    cast = [ballot(1, FOR, 3), ballot(2, ABSTAIN, 10**30)]
    verdict = calculate_score(
        proposal(for_votes=3, abstain_votes=10**30), tally_of(cast), Eligibility(counted=cast, excluded=[])
    )
    assert (verdict.score, verdict.abstain_votes) == (10_000, 10**30)


@pytest.mark.parametrize("cast", [[], [ballot(1, ABSTAIN, 5)]])
def test_nobody_for_or_against_is_no_votes_with_score_zero(cast: list[Ballot]) -> None:
    tally = tally_of(cast)
    verdict = calculate_score(
        proposal(abstain_votes=tally.abstain_votes), tally, Eligibility(counted=cast, excluded=[])
    )
    assert (verdict.status, verdict.score, verdict.findings) == (ScoreStatus.NO_VOTES, 0, [])


def test_sums_that_the_dao_did_not_count_end_as_a_mismatch() -> None:
    cast = [ballot(1, FOR, 3)]
    verdict = calculate_score(proposal(for_votes=4), tally_of(cast), Eligibility(counted=cast, excluded=[]))
    assert (verdict.status, verdict.score) == (ScoreStatus.TALLY_MISMATCH, 0)
    assert verdict.findings == [
        "the logged votes are 3 for, 0 against, 0 abstaining, the DAO counted 4 for, 0 against, 0 abstaining"
    ]


def test_missing_votes_are_a_mismatch_and_never_no_votes() -> None:
    """A node that lags answers an empty list: it must not pass for a proposal that nobody voted on."""
    verdict = calculate_score(proposal(for_votes=4), tally_of([]), Eligibility(counted=[], excluded=[]))
    assert verdict.status is ScoreStatus.TALLY_MISMATCH


def test_weight_other_than_the_reputation_is_a_finding() -> None:
    cast = [ballot(1, FOR, 3), ballot(2, AGAINST, 1)]
    known = [Reputation(voter=address(1), weight=3), Reputation(voter=address(2), weight=2)]
    eligibility = check_eligibility(Policy(), cast, known)
    assert eligibility.excluded == [Exclusion(ballot=cast[1], reason=Reason.WEIGHT_DIFFERS)]
    verdict = calculate_score(proposal(for_votes=3, against_votes=1), tally_of(cast), eligibility)
    assert verdict.status is ScoreStatus.TALLY_MISMATCH
    assert verdict.findings == [f"{address(2)}: weight differs from the reputation at the snapshot"]


def test_every_honest_vote_is_eligible() -> None:
    """The published example compared milliseconds with seconds: nobody was eligible and every score was 0."""
    now_s = 1_760_000_000
    cast = [ballot(n, FOR, n, block=now_s + n) for n in range(1, 6)]
    eligibility = check_eligibility(Policy(), cast, reputations(*cast))
    assert (eligibility.counted, eligibility.excluded) == (cast, [])


def test_second_vote_of_a_voter_does_not_count() -> None:
    first, second = ballot(1, AGAINST, 5, index=0), ballot(1, FOR, 5, index=1)
    eligibility = check_eligibility(Policy(), [first, second], reputations(first))
    assert eligibility.counted == [first]
    assert eligibility.excluded == [Exclusion(ballot=second, reason=Reason.ALREADY_VOTED)]


@pytest.mark.parametrize(
    ("vote", "reason"),
    [
        (ballot(1, FOR, 0), Reason.BELOW_MINIMUM),
        (ballot(1, FOR, 9), Reason.BELOW_MINIMUM),
        (ballot(1, 3, 10), Reason.UNKNOWN_SUPPORT),
    ],
)
def test_exclusions_carry_their_reason(vote: Ballot, reason: Reason) -> None:
    eligibility = check_eligibility(Policy(minimum_weight=10), [vote], reputations(vote))
    assert eligibility == Eligibility(counted=[], excluded=[Exclusion(ballot=vote, reason=reason)])


def test_voter_without_a_reputation_read_is_not_counted() -> None:
    cast = ballot(1, FOR, 5)
    assert check_eligibility(Policy(), [cast], []).excluded[0].reason is Reason.WEIGHT_DIFFERS


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 3), st.integers(0, 20)), max_size=12))
def test_every_vote_is_counted_or_excluded_exactly_once(cast: list[tuple[int, int, int]]) -> None:
    ballots = [ballot(*vote, index=index) for index, vote in enumerate(cast)]
    known = {each.voter: Reputation(voter=each.voter, weight=each.weight) for each in reversed(ballots)}
    eligibility = check_eligibility(Policy(minimum_weight=5), ballots, list(known.values()))
    together = [*eligibility.counted, *(exclusion.ballot for exclusion in eligibility.excluded)]
    assert sorted(together, key=lambda each: each.log_index) == ballots
    assert len({each.voter for each in eligibility.counted}) == len(eligibility.counted)


def log_of(voter: int, support: int, weight: int, *, block: int, index: int, proposal_id: int) -> Log:
    data = encode(["uint256", "uint8", "uint256", "string"], [proposal_id, support, weight, ""])
    return Log(
        address=DAO,
        topics=(VOTE_CAST.topic0, voter.to_bytes(32, "big")),
        data=data,
        block_number=block,
        block_hash=bytes(32),
        transaction_hash=bytes(32),
        log_index=index,
    )


def test_votes_are_the_proposals_own_in_time_once_each_and_in_order() -> None:
    facts = proposal()
    mine = facts.proposal_id
    logs = [
        log_of(3, FOR, 30, block=20, index=0, proposal_id=mine),
        log_of(1, FOR, 10, block=11, index=5, proposal_id=mine),
        log_of(2, AGAINST, 20, block=11, index=2, proposal_id=mine),
        log_of(2, AGAINST, 20, block=11, index=2, proposal_id=mine),  # the node repeats itself
        log_of(4, FOR, 40, block=21, index=0, proposal_id=mine),  # late
        log_of(5, FOR, 50, block=12, index=0, proposal_id=1),  # of another proposal
    ]
    votes = votes_of(facts, logs)
    assert [(each.voter, each.block_number) for each in votes.ballots] == [
        (address(2), 11),
        (address(1), 11),
        (address(3), 20),
    ]
    assert votes.tally == Tally(for_votes=40, against_votes=20, abstain_votes=0)


def test_a_weight_is_written_alike_whatever_its_size() -> None:
    small, large = (canonical(Votes(ballots=[ballot(1, FOR, w)], tally=tally_of([]))) for w in (5, 2**60))
    assert b'"weight":"5"' in small
    assert b'"weight":"1152921504606846976"' in large
    with pytest.raises(CanonicalError):
        canonical(Tally(for_votes=1.0, against_votes=0, abstain_votes=0))  # type: ignore[arg-type]


def test_policy_hash_names_every_parameter() -> None:
    hashes = {policy_hash(Policy()), policy_hash(Policy(minimum_weight=2)), policy_hash(Policy(version=2))}
    assert len(hashes) == 3
    assert policy_hash(Policy()) == policy_hash(Policy(minimum_weight=1))


def test_a_bound_policy_is_kept() -> None:
    check_bound(Policy(), proposal_id=1, bound=ANY_POLICY)
    check_bound(Policy(), proposal_id=1, bound=policy_hash(Policy()))
    with pytest.raises(PolicyMismatch, match="configure the bound policy"):
        check_bound(Policy(), proposal_id=1, bound=policy_hash(Policy(minimum_weight=2)))


def test_a_policy_that_counts_nothing_as_something_is_refused() -> None:
    with pytest.raises(ValueError, match="minimum_weight"):
        Policy(minimum_weight=0)
