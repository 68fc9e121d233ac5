"""ProposalScores on py-evm: emergency stop, admin and policies."""

from collections.abc import Iterator

import pytest

from contracts.bindings import proposal_scores, reputation_dao
from contracts.bindings.proposal_scores import Status, Submission
from tests.contracts_chain import only, refusal
from tests.contracts_registry import OTHER_POLICY, POLICY, ROOT, Deployment, new_deployment, unauthorized


@pytest.fixture(scope="module")
def shared() -> Deployment:
    return new_deployment()


@pytest.fixture
def deployment(shared: Deployment) -> Iterator[Deployment]:
    with shared.chain.undone():
        yield shared


def test_a_pause_stops_submissions_and_nothing_else(deployment: Deployment) -> None:
    chain, scores, before, after = (
        deployment.chain,
        deployment.scores,
        deployment.propose(),
        deployment.ended(),
    )
    deployment.submit(before)
    chain.send(deployment.admin, scores, proposal_scores.PAUSE)
    assert chain.call(scores, proposal_scores.PAUSED)
    assert deployment.refused(after, Status.SCORED, 5, ROOT) == refusal("EnforcedPause")
    batch = [Submission(proposal_id=after, status=Status.SCORED, score=5, root=ROOT)]
    found = chain.refused(deployment.scorer, scores, proposal_scores.SUBMIT_SCORES, batch)
    assert found == refusal("EnforcedPause")
    assert chain.call(scores, proposal_scores.SCORE_OF, before).score == 5
    chain.send(deployment.admin, scores, proposal_scores.UNPAUSE)
    deployment.submit(after)


def test_only_the_admin_governs(deployment: Deployment) -> None:
    chain, scores, stranger = deployment.chain, deployment.scores, deployment.stranger
    expected = unauthorized(stranger, proposal_scores.DEFAULT_ADMIN_ROLE)
    assert chain.refused(stranger, scores, proposal_scores.PAUSE) == expected
    assert chain.refused(stranger, scores, proposal_scores.UNPAUSE) == expected
    assert chain.refused(stranger, scores, proposal_scores.REGISTER_POLICY, POLICY) == expected
    role = proposal_scores.SCORER_ROLE
    assert chain.refused(stranger, scores, proposal_scores.GRANT_ROLE, role, stranger) == expected
    admin_role = proposal_scores.DEFAULT_ADMIN_ROLE
    found = chain.refused(deployment.admin, scores, proposal_scores.GRANT_ROLE, admin_role, stranger)
    assert found == refusal("AccessControlEnforcedDefaultAdminRules")


def test_a_new_admin_must_accept(deployment: Deployment) -> None:
    chain, scores, heir = deployment.chain, deployment.scores, deployment.stranger
    chain.send(deployment.admin, scores, proposal_scores.BEGIN_DEFAULT_ADMIN_TRANSFER, heir)
    assert chain.call(scores, proposal_scores.DEFAULT_ADMIN) == deployment.admin
    chain.send(heir, scores, proposal_scores.ACCEPT_DEFAULT_ADMIN_TRANSFER)
    assert chain.call(scores, proposal_scores.DEFAULT_ADMIN) == heir
    assert chain.refused(deployment.admin, scores, proposal_scores.PAUSE).name.endswith("UnauthorizedAccount")


def test_a_policy_binds_the_proposals_created_after_it(deployment: Deployment) -> None:
    chain, scores = deployment.chain, deployment.scores
    before = deployment.propose()
    receipt = chain.send(deployment.admin, scores, proposal_scores.REGISTER_POLICY, POLICY)
    registered = proposal_scores.POLICY_REGISTERED.decode(only(receipt.logs))
    expected = proposal_scores.PolicyRegistered(policy_hash=POLICY, timepoint=chain.timestamp)
    assert registered == expected
    between = deployment.propose()
    chain.send(deployment.admin, scores, proposal_scores.REGISTER_POLICY, OTHER_POLICY)
    after = deployment.propose()
    chain.send(deployment.admin, scores, proposal_scores.REGISTER_POLICY, bytes(32))
    unbound = deployment.propose()
    bound = [
        chain.call(scores, proposal_scores.POLICY_OF, each) for each in (before, between, after, unbound)
    ]
    assert bound == [bytes(32), POLICY, OTHER_POLICY, bytes(32)]
    assert chain.call(scores, proposal_scores.POLICY_HASH) == bytes(32)


def test_a_policy_registered_in_the_block_of_a_proposal_does_not_bind_it(deployment: Deployment) -> None:
    chain, scores = deployment.chain, deployment.scores
    with chain.one_block() as send:
        send(deployment.stranger, deployment.dao, reputation_dao.PROPOSE, ROOT)
        send(deployment.admin, scores, proposal_scores.REGISTER_POLICY, POLICY)
    chain.mine(1)
    assert chain.call(scores, proposal_scores.POLICY_OF, 1) == bytes(32)


def test_registering_the_policy_in_force_again_is_refused(deployment: Deployment) -> None:
    chain, scores, admin = deployment.chain, deployment.scores, deployment.admin
    found = chain.refused(admin, scores, proposal_scores.REGISTER_POLICY, bytes(32))
    assert found == refusal("PolicyUnchanged", policyHash=bytes(32))
    chain.send(admin, scores, proposal_scores.REGISTER_POLICY, POLICY)
    found = chain.refused(admin, scores, proposal_scores.REGISTER_POLICY, POLICY)
    assert found == refusal("PolicyUnchanged", policyHash=POLICY)
