"""ProposalScores on py-evm: verdicts that are committed before they are seen."""

from collections.abc import Iterator

import pytest

from contracts.bindings import ContractError, proposal_scores
from contracts.bindings.proposal_scores import Rules, Stage, Status
from contracts.transactions.checks import SUBMISSION_GAS
from tests.contracts_chain import Receipt, only, refusal
from tests.contracts_registry import (
    OTHER_POLICY,
    OTHER_ROOT,
    POLICY,
    ROOT,
    Deployment,
    new_deployment,
    scored,
)

ROUND_S, COMMIT_S = 1000, 300
SALT, OTHER_SALT = b"\x51" * 32, b"\x52" * 32


@pytest.fixture(scope="module")
def shared() -> Deployment:
    deployment = new_deployment()
    rules = Rules(rounds_max=2, round_window=ROUND_S, commit_window=COMMIT_S)
    return deployment.registry(2, *deployment.chain.accounts[1:4], rules=rules)


@pytest.fixture
def sealed(shared: Deployment) -> Iterator[Deployment]:
    with shared.chain.undone():
        yield shared


def commitment(
    sealed: Deployment, proposal: int, who: int, *, score: int = 5, salt: bytes = SALT, round_: int = 1
) -> bytes:
    scorer = sealed.chain.accounts[who]
    arguments = (scored(proposal, score), round_, scorer, salt)
    return sealed.chain.call(sealed.scores, proposal_scores.COMMITMENT_FOR, *arguments)


def commit(sealed: Deployment, proposal: int, who: int, committed: bytes) -> Receipt:
    scorer = sealed.chain.accounts[who]
    return sealed.chain.send(scorer, sealed.scores, proposal_scores.COMMIT_SCORE, proposal, committed)


def commit_refused(sealed: Deployment, proposal: int, who: int, committed: bytes) -> ContractError:
    scorer = sealed.chain.accounts[who]
    return sealed.chain.refused(scorer, sealed.scores, proposal_scores.COMMIT_SCORE, proposal, committed)


def revelation(proposal: int, *, score: int = 5, salt: bytes = SALT) -> tuple[object, ...]:
    return (scored(proposal, score), salt)


def reveal(sealed: Deployment, proposal: int, who: int) -> Receipt:
    scorer, arguments = sealed.chain.accounts[who], revelation(proposal)
    return sealed.chain.send(scorer, sealed.scores, proposal_scores.REVEAL_SCORE, *arguments)


def reveal_refused(sealed: Deployment, who: int, arguments: tuple[object, ...]) -> ContractError:
    scorer = sealed.chain.accounts[who]
    return sealed.chain.refused(scorer, sealed.scores, proposal_scores.REVEAL_SCORE, *arguments)


def test_the_commitment_is_that_of_the_bindings(sealed: Deployment) -> None:
    expected = proposal_scores.commitment_for(
        chain_id=sealed.chain.chain_id,
        registry=sealed.scores,
        submission=scored(3, -5, root=OTHER_ROOT, policy=POLICY),
        round_=2,
        scorer=sealed.scorer,
        salt=SALT,
    )
    arguments = (scored(3, -5, root=OTHER_ROOT, policy=POLICY), 2, sealed.scorer, SALT)
    assert sealed.chain.call(sealed.scores, proposal_scores.COMMITMENT_FOR, *arguments) == expected
    other = (scored(3, -5, root=OTHER_ROOT, policy=OTHER_POLICY), 2, sealed.scorer, SALT)
    assert sealed.chain.call(sealed.scores, proposal_scores.COMMITMENT_FOR, *other) != expected


def test_two_who_committed_alike_agree_when_they_reveal(sealed: Deployment) -> None:
    chain, proposal = sealed.chain, sealed.ended()
    committed = commitment(sealed, proposal, 1)
    opened, told = commit(sealed, proposal, 1, committed).logs
    started = chain.timestamp
    assert proposal_scores.ROUND_OPENED.decode(opened).round == 1
    expected = {"proposal_id": proposal, "scorer": chain.accounts[1], "round": 1, "commitment": committed}
    assert proposal_scores.SCORE_COMMITTED.decode(told) == proposal_scores.SCORE_COMMITTED.record(**expected)
    commit(sealed, proposal, 2, commitment(sealed, proposal, 2))
    found = chain.call(sealed.scores, proposal_scores.COMMITMENT_OF, proposal, 1, chain.accounts[1])
    assert found == committed
    until = started + COMMIT_S
    chain.pass_time(until - 2 - chain.timestamp)
    early = reveal_refused(sealed, 1, revelation(proposal))
    assert early == refusal("CommitWindowOpen", proposalId=proposal, round=1, until=until)
    only(reveal(sealed, proposal, 1).logs)
    assert chain.timestamp == until
    _, final = reveal(sealed, proposal, 2).logs
    assert proposal_scores.SCORE_FINALIZED.decode(final).score == 5
    course = chain.call(sealed.scores, proposal_scores.COURSE_OF, proposal)
    assert (course.stage, course.scorer) == (Stage.FINAL, chain.accounts[2])
    again = reveal_refused(sealed, 2, revelation(proposal))
    assert again.name == "AlreadySubmitted"


def test_a_copied_commitment_cannot_be_revealed(sealed: Deployment) -> None:
    """The salt is bound to the scorer: with everything that the first one reveals the copy stays closed."""
    chain, proposal = sealed.chain, sealed.ended()
    committed = commitment(sealed, proposal, 1)
    commit(sealed, proposal, 1, committed)
    commit(sealed, proposal, 2, committed)
    chain.pass_time(COMMIT_S)
    reveal(sealed, proposal, 1)
    wrong = {"proposalId": proposal, "scorer": chain.accounts[2], "round": 1}
    assert reveal_refused(sealed, 2, revelation(proposal)) == refusal("WrongReveal", **wrong)


def test_only_what_was_committed_is_revealed(sealed: Deployment) -> None:
    chain, proposal = sealed.chain, sealed.ended()
    commit(sealed, proposal, 1, commitment(sealed, proposal, 1))
    chain.pass_time(COMMIT_S)
    wrong = refusal("WrongReveal", proposalId=proposal, scorer=chain.accounts[1], round=1)
    assert reveal_refused(sealed, 1, revelation(proposal, score=6)) == wrong
    assert reveal_refused(sealed, 1, revelation(proposal, salt=OTHER_SALT)) == wrong
    silent = {"proposalId": proposal, "scorer": chain.accounts[3], "round": 1}
    assert reveal_refused(sealed, 3, revelation(proposal)) == refusal("WrongReveal", **silent)


def test_a_commitment_is_made_once_in_time_and_by_scorers(sealed: Deployment) -> None:
    chain, proposal = sealed.chain, sealed.ended()
    committed = commitment(sealed, proposal, 1)
    outsider = commit_refused(sealed, proposal, 9, committed)
    assert outsider == refusal("NotInRound", proposalId=proposal, round=1, account=chain.accounts[9])
    assert commit_refused(sealed, proposal, 1, bytes(32)) == refusal("EmptyCommitment")
    commit(sealed, proposal, 1, committed)
    until = chain.timestamp + COMMIT_S
    facts = {"proposalId": proposal, "scorer": chain.accounts[1], "round": 1, "commitment": committed}
    assert commit_refused(sealed, proposal, 1, SALT) == refusal("AlreadyCommitted", **facts)
    chain.pass_time(until - 1 - chain.timestamp)
    late = commit_refused(sealed, proposal, 2, SALT)
    assert late == refusal("CommitWindowOver", proposalId=proposal, round=1, until=until)


def test_nothing_is_committed_before_the_vote_has_ended(sealed: Deployment) -> None:
    assert commit_refused(sealed, sealed.propose(), 1, SALT).name == "VotingNotEnded"


def test_what_must_be_committed_cannot_be_submitted_openly_and_the_reverse(sealed: Deployment) -> None:
    proposal = sealed.ended()
    assert sealed.refused(proposal, Status.SCORED, 5, ROOT) == refusal("CommitmentRequired")
    assert sealed.refused_together(scored(proposal)) == refusal("CommitmentRequired")
    plain = sealed.registry(1, sealed.scorer)
    assert commit_refused(plain, proposal, 1, SALT) == refusal("CommitmentsUnused")
    assert reveal_refused(plain, 1, revelation(proposal)).name == "WrongReveal"


def test_each_round_has_commitments_of_its_own(sealed: Deployment) -> None:
    chain, proposal = sealed.chain, sealed.ended()
    commit(sealed, proposal, 1, commitment(sealed, proposal, 1))
    chain.pass_time(ROUND_S)
    chain.send(sealed.stranger, sealed.scores, proposal_scores.OPEN_ROUND, proposal)
    commit(sealed, proposal, 2, commitment(sealed, proposal, 2))  # the hash of the first round
    commit(sealed, proposal, 3, commitment(sealed, proposal, 3, round_=2))
    chain.pass_time(COMMIT_S)
    for who in (1, 2):
        assert reveal_refused(sealed, who, revelation(proposal)).name == "WrongReveal"
    only(reveal(sealed, proposal, 3).logs)


def test_a_last_round_with_too_few_commitments_waits_for_the_admin_alone(sealed: Deployment) -> None:
    chain, proposal = sealed.chain, sealed.ended()
    for _ in range(2):
        chain.send(sealed.stranger, sealed.scores, proposal_scores.OPEN_ROUND, proposal)
        commit(sealed, proposal, 1, commitment(sealed, proposal, 1, round_=2))
        chain.pass_time(ROUND_S)
    reveal(sealed, proposal, 1)
    late = commit_refused(sealed, proposal, 2, commitment(sealed, proposal, 2, round_=2))
    assert late.name == "CommitWindowOver"
    opening = chain.refused(sealed.stranger, sealed.scores, proposal_scores.OPEN_ROUND, proposal)
    assert opening.name == "RoundsExhausted"
    resolved = (proposal, Status.SCORED, -5, OTHER_ROOT)
    chain.send(sealed.admin, sealed.scores, proposal_scores.PAUSE)
    chain.send(sealed.admin, sealed.scores, proposal_scores.RESOLVE, *resolved)
    assert chain.call(sealed.scores, proposal_scores.SCORE_OF, proposal).score == -5


def test_the_funds_that_are_asked_for_pay_a_commitment_and_its_reveal(sealed: Deployment) -> None:
    proposal = sealed.ended()
    committing = [commit(sealed, proposal, who, commitment(sealed, proposal, who)) for who in (1, 2)]
    sealed.chain.pass_time(COMMIT_S)
    revealing = [reveal(sealed, proposal, who) for who in (1, 2)]
    dearest = [max(each.gas_used for each in receipts) for receipts in (committing, revealing)]
    assert 200_000 < sum(dearest) < SUBMISSION_GAS
