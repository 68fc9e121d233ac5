"""ProposalScores on py-evm: what a batch takes, what it skips and reports, and when it reverts as a whole."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from contracts.bindings import ContractError, decode_error, deploy_data, proposal_scores, reputation_dao
from contracts.bindings.proposal_scores import Rules, Status, Submission
from contracts.bindings.reputation_dao import ProposalState
from tests.contracts_chain import Receipt, only, refusal
from tests.contracts_registry import OTHER_ROOT, PERIOD, POLICY, ROOT, Deployment, new_deployment, scored
from tests.governors import compiled

UNKNOWN = 77


@pytest.fixture(scope="module")
def shared() -> Deployment:
    return new_deployment()


@pytest.fixture
def deployment(shared: Deployment) -> Iterator[Deployment]:
    with shared.chain.undone():
        yield shared


def reported(receipt: Receipt) -> list[int | ContractError | None]:
    """Return, item by item, the proposal that was submitted or the refusal that was reported."""
    found: list[int | ContractError | None] = []
    for log in receipt.logs:
        if proposal_scores.SCORE_SUBMITTED.matches(log):
            found.append(proposal_scores.SCORE_SUBMITTED.decode(log).proposal_id)
        elif proposal_scores.SUBMISSION_SKIPPED.matches(log):
            found.append(decode_error(proposal_scores.SUBMISSION_SKIPPED.decode(log).refusal))
    return found


def test_a_batch_takes_what_it_can_and_reports_each_of_the_others(deployment: Deployment) -> None:
    chain, scores = deployment.chain, deployment.scores
    canceled, decided, first, second = (deployment.propose() for _ in range(4))
    chain.send(deployment.admin, deployment.dao, reputation_dao.CANCEL, canceled)
    chain.pass_time(PERIOD + 1)
    deployment.submit(decided, 9)
    chain.send(deployment.admin, scores, proposal_scores.REGISTER_POLICY, POLICY)
    running = deployment.propose()
    batch = [
        scored(first, -7),
        scored(canceled),
        scored(decided),
        scored(UNKNOWN),
        replace(scored(second), status=Status.NONE),
        scored(second, 10_001),
        scored(second, root=bytes(32)),
        scored(second, policy=POLICY),
        scored(running, policy=POLICY),
        scored(first),
        scored(second, root=OTHER_ROOT),
    ]
    already = {"round": 1, "status": Status.SCORED}
    by = {"scorer": deployment.scorer}
    expected = [
        first,
        refusal("ProposalWasCanceled", proposalId=canceled),
        refusal("AlreadySubmitted", proposalId=decided, **by, **already, score=9, root=ROOT),
        refusal("NonexistentProposal", proposalId=UNKNOWN),
        refusal("InvalidStatus", status=0),
        refusal("InvalidScore", status=1, score=10_001),
        refusal("InvalidRoot"),
        refusal("WrongPolicy", proposalId=second, policy=POLICY, binding=bytes(32)),
        refusal("VotingNotEnded", proposalId=running, state=ProposalState.ACTIVE),
        refusal("AlreadySubmitted", proposalId=first, **by, **already, score=-7, root=ROOT),
        second,
    ]
    receipt = deployment.submit_together(*batch)
    assert reported(receipt) == expected
    skipped = [each for each in receipt.logs if proposal_scores.SUBMISSION_SKIPPED.matches(each)]
    events = [proposal_scores.SUBMISSION_SKIPPED.decode(each) for each in skipped]
    left_out = [
        item.proposal_id for item, each in zip(batch, expected, strict=True) if not isinstance(each, int)
    ]
    assert [(each.proposal_id, each.scorer) for each in events] == [
        (each, deployment.scorer) for each in left_out
    ]
    assert chain.call(scores, proposal_scores.SCORE_OF, first).score == -7
    assert chain.call(scores, proposal_scores.SCORE_OF, second).root == OTHER_ROOT
    assert chain.call(scores, proposal_scores.SCORE_OF, decided).score == 9
    assert not deployment.is_final(canceled)


def test_each_item_is_refused_as_it_would_be_by_itself(deployment: Deployment) -> None:
    chain, ended, running = deployment.chain, deployment.ended(), deployment.propose()
    other = deployment.chain.accounts[2]
    deployment.submit(ended, scorer=other)
    wrong = [scored(running), scored(UNKNOWN), scored(ended, 10_001), scored(ended, policy=POLICY)]
    *refusals, taken = chain.call(
        deployment.scores, proposal_scores.SUBMIT_SCORES, [*wrong, scored(ended)], sender=deployment.scorer
    )
    assert taken == b""
    for item, answered in zip(wrong, refusals, strict=True):
        arguments = (item.proposal_id, item.status, item.score, item.root, item.policy)
        alone = chain.refused(
            deployment.scorer, deployment.scores, proposal_scores.SUBMIT_SCORE_UNDER_POLICY, *arguments
        )
        assert decode_error(answered) == alone


def test_a_batch_of_which_nothing_is_taken_reverts_with_all_the_reasons(deployment: Deployment) -> None:
    """So a trial before sending tells, and no gas is spent for nothing."""
    ended, running = deployment.ended(), deployment.propose()
    deployment.submit(ended)
    found = deployment.refused_together(scored(ended), scored(running))
    assert found.name == "NothingTaken"
    refusals = found.arguments["refusals"]
    assert isinstance(refusals, tuple)
    assert [str(decode_error(each)).partition("(")[0] for each in refusals] == [
        "AlreadySubmitted",
        "VotingNotEnded",
    ]
    assert "0x" in str(found)
    assert deployment.refused_together() == refusal("EmptyBatch")


def test_rounds_admit_each_proposal_by_its_own_set(deployment: Deployment) -> None:
    chain, first, second = deployment.chain, deployment.ended(), deployment.ended()
    veteran, novice = chain.accounts[3], chain.accounts[4]
    registry = deployment.registry(2, veteran, rules=Rules(rounds_max=2, round_window=PERIOD))
    registry.submit(first, scorer=veteran)
    registry.grant(novice)
    assert reported(registry.submit_together(scored(first), scored(second), scorer=novice)) == [
        refusal("NotInRound", proposalId=first, round=1, account=novice),
        second,
    ]
    # What is skipped opens no round.
    third = registry.propose()
    skipped = registry.submit_together(scored(third), scored(second), scorer=veteran)
    assert reported(skipped) == [
        refusal("VotingNotEnded", proposalId=third, state=ProposalState.ACTIVE),
        second,
    ]
    assert chain.call(registry.scores, proposal_scores.COURSE_OF, third).started_at == 0


def test_a_dao_that_refuses_without_a_word_stops_the_call(deployment: Deployment) -> None:
    """It may be for want of gas: no proposal is blamed, and an estimate of gas finds enough for all."""
    chain, admin = deployment.chain, deployment.admin
    creation = deploy_data(compiled("StrangeDao"), "", "")
    strange = chain.receipt(chain.transmit(admin, None, creation)).contract
    scores = chain.deploy("ProposalScores", strange, admin, 0, 1, 0, Rules())
    chain.send(admin, scores, proposal_scores.GRANT_ROLE, proposal_scores.SCORER_ROLE, admin)
    batch: list[Submission] = [scored(1), scored(2)]
    found = chain.refused(admin, scores, proposal_scores.SUBMIT_SCORES, batch)
    assert found == refusal("DaoIsSilent", proposalId=1)


def test_too_little_gas_skips_nothing(deployment: Deployment) -> None:
    first, second = deployment.propose(), deployment.ended()
    chain = deployment.chain
    data = proposal_scores.SUBMIT_SCORES.encode([scored(first), scored(second)])
    with chain.undone():
        enough = deployment.submit_together(scored(first), scored(second)).gas_used
    for gas in range(60_000, enough + 40_000, 4_000):
        with chain.undone():
            fields = {"from": deployment.scorer, "to": deployment.scores, "data": "0x" + data.hex()}
            sent = chain.tester.send_transaction({**fields, "gas": gas, "gas_price": 10**10})
            receipt = chain.receipt(str(sent))
            assert reported(receipt) == ([first, second] if receipt.succeeded else []), gas
    assert receipt.succeeded


def test_another_one_is_reported_to_the_one_who_asked(deployment: Deployment) -> None:
    """A second scorer's submission is no obstacle: it is on the record, whatever the first one said."""
    chain, proposal = deployment.chain, deployment.ended()
    deployment.submit(proposal, 5)
    receipt = deployment.submit_together(scored(proposal, 6), scored(proposal, 6), scorer=chain.accounts[2])
    taken, repeated = reported(receipt)
    assert taken == proposal
    assert isinstance(repeated, ContractError)
    assert repeated.arguments["scorer"] == chain.accounts[2]
    only([each for each in receipt.logs if proposal_scores.SUBMISSION_SKIPPED.matches(each)])
