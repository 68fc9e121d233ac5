"""ProposalScores on py-evm: a submission names the policy under which it was made, and another is refused."""

from collections.abc import Iterator

import pytest

from contracts.bindings import proposal_scores, reputation_dao
from contracts.bindings.proposal_scores import NO_POLICY, Rules, Status
from tests.contracts_chain import refusal
from tests.contracts_registry import OTHER_POLICY, PERIOD, POLICY, ROOT, Deployment, new_deployment, scored

SALT = b"\x51" * 32
COMMIT_S = 300


@pytest.fixture(scope="module")
def shared() -> Deployment:
    return new_deployment()


@pytest.fixture
def deployment(shared: Deployment) -> Iterator[Deployment]:
    with shared.chain.undone():
        yield shared


def register(deployment: Deployment, policy: bytes) -> None:
    deployment.chain.send(deployment.admin, deployment.scores, proposal_scores.REGISTER_POLICY, policy)


@pytest.mark.parametrize("named", [OTHER_POLICY, NO_POLICY], ids=["another", "none"])
def test_a_submission_under_another_policy_is_refused(deployment: Deployment, named: bytes) -> None:
    chain, scores, scorer = deployment.chain, deployment.scores, deployment.scorer
    register(deployment, POLICY)
    proposal = deployment.ended()
    expected = refusal("WrongPolicy", proposalId=proposal, policy=named, binding=POLICY)
    arguments = (proposal, Status.SCORED, 5, ROOT, named)
    function = proposal_scores.SUBMIT_SCORE_UNDER_POLICY
    assert chain.refused(scorer, scores, function, *arguments) == expected
    if named == NO_POLICY:
        assert deployment.refused(proposal, Status.SCORED, 5, ROOT) == expected
    assert chain.call(scores, proposal_scores.SUBMISSION_OF, proposal, 1, scorer).status is Status.NONE
    deployment.submit(proposal, policy=POLICY)
    assert deployment.is_final(proposal)


def test_where_no_policy_binds_none_may_be_named(deployment: Deployment) -> None:
    """The domain of the leaves holds none either: a root made under one would prove nothing here."""
    chain, proposal, scorer = deployment.chain, deployment.ended(), deployment.scorer
    arguments = (proposal, Status.SCORED, 5, ROOT, POLICY)
    function = proposal_scores.SUBMIT_SCORE_UNDER_POLICY
    expected = refusal("WrongPolicy", proposalId=proposal, policy=POLICY, binding=NO_POLICY)
    assert chain.refused(scorer, deployment.scores, function, *arguments) == expected
    deployment.submit(proposal, policy=NO_POLICY)


def test_what_is_registered_after_the_snapshot_changes_nothing(deployment: Deployment) -> None:
    register(deployment, POLICY)
    proposal = deployment.propose()
    register(deployment, OTHER_POLICY)
    deployment.chain.pass_time(PERIOD + 1)
    deployment.submit(proposal, policy=POLICY)


def test_what_stands_against_a_submission_is_told_in_an_order(deployment: Deployment) -> None:
    """Who has submitted is told that, and not that the settings have changed since."""
    register(deployment, POLICY)
    chain, running = deployment.chain, deployment.propose()
    assert deployment.refused(running, Status.SCORED, 5, ROOT).name == "VotingNotEnded"
    chain.pass_time(PERIOD + 1)
    deployment.submit(running, policy=POLICY)
    assert deployment.refused(running, Status.SCORED, 5, ROOT).name == "AlreadySubmitted"
    canceled = deployment.propose()
    chain.send(deployment.admin, deployment.dao, reputation_dao.CANCEL, canceled)
    assert deployment.refused(canceled, Status.SCORED, 5, ROOT).name == "ProposalWasCanceled"


@pytest.mark.parametrize("named", [POLICY, OTHER_POLICY], ids=["the binding one", "another"])
def test_a_commitment_binds_the_policy_too(deployment: Deployment, named: bytes) -> None:
    chain = deployment.chain
    rules = Rules(rounds_max=2, round_window=PERIOD, commit_window=COMMIT_S)
    sealed = deployment.registry(2, deployment.scorer, rules=rules)
    register(sealed, POLICY)
    proposal, scorer = sealed.ended(), sealed.scorer
    meant, other = scored(proposal, policy=named), scored(proposal, policy=NO_POLICY)
    committed = chain.call(sealed.scores, proposal_scores.COMMITMENT_FOR, meant, 1, scorer, SALT)
    chain.send(scorer, sealed.scores, proposal_scores.COMMIT_SCORE, proposal, committed)
    chain.pass_time(COMMIT_S)
    wrong = refusal("WrongReveal", proposalId=proposal, scorer=scorer, round=1)
    assert chain.refused(scorer, sealed.scores, proposal_scores.REVEAL_SCORE, other, SALT) == wrong
    if named == POLICY:
        chain.send(scorer, sealed.scores, proposal_scores.REVEAL_SCORE, meant, SALT)
    else:
        found = chain.refused(scorer, sealed.scores, proposal_scores.REVEAL_SCORE, meant, SALT)
        assert found == refusal("WrongPolicy", proposalId=proposal, policy=named, binding=POLICY)


def test_the_admin_resolves_under_no_policy_but_its_own_word(deployment: Deployment) -> None:
    rules = Rules(rounds_max=1, round_window=PERIOD)
    registry = deployment.registry(2, deployment.scorer, rules=rules)
    register(registry, POLICY)
    proposal = registry.ended()
    registry.submit(proposal, policy=POLICY)
    registry.chain.pass_time(PERIOD)
    arguments = (proposal, Status.SCORED, -5, ROOT)
    registry.chain.send(registry.admin, registry.scores, proposal_scores.RESOLVE, *arguments)
    assert registry.is_final(proposal)
