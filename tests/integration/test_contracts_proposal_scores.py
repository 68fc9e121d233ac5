"""ProposalScores on py-evm: deployment, submission, agreement; every refusal by a mined transaction."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from contracts.artifacts import load
from contracts.bindings import ContractError, deploy_data, proposal_scores, reputation_dao
from contracts.bindings.proposal_scores import Rules, Score, Status, Submission, SubmissionRecord
from contracts.bindings.reputation_dao import ProposalState
from tests.contracts_chain import only, refusal
from tests.contracts_registry import OTHER_ROOT, PERIOD, ROOT, Deployment, new_deployment, unauthorized

YEAR_S = 365 * 86_400
UNKNOWN = 77


@pytest.fixture(scope="module")
def shared() -> Deployment:
    return new_deployment()


@pytest.fixture
def deployment(shared: Deployment) -> Iterator[Deployment]:
    with shared.chain.undone():
        yield shared


def test_the_constructor_keeps_what_it_was_given(deployment: Deployment) -> None:
    chain, scores = deployment.chain, deployment.scores
    assert chain.call(scores, proposal_scores.DAO) == deployment.dao
    assert chain.call(scores, proposal_scores.QUORUM) == 1
    assert chain.call(scores, proposal_scores.CHALLENGE_WINDOW) == 0
    assert chain.call(scores, proposal_scores.DEFAULT_ADMIN) == deployment.admin
    assert chain.call(scores, proposal_scores.HAS_ROLE, proposal_scores.SCORER_ROLE, deployment.scorer)
    assert not chain.call(scores, proposal_scores.PAUSED)


def test_the_constructor_refuses_what_can_never_work(deployment: Deployment) -> None:
    chain, dao, admin, nobody = deployment.chain, deployment.dao, deployment.admin, "0x" + "00" * 20
    none, once = Rules(), Rules(round_window=9)
    bonded = Rules(round_window=9, bond=1, bond_receiver=admin)

    def rounds(rules: Rules) -> ContractError:
        given = {"roundsMax": rules.rounds_max, "roundWindow": rules.round_window}
        return refusal("UnsupportedRounds", **given)

    def challenge(window: int, rules: Rules) -> ContractError:
        given = {"challengeWindow": window, "bond": rules.bond, "bondReceiver": rules.bond_receiver}
        return refusal("UnsupportedChallengeWindow", **given)

    def commit(rules: Rules) -> ContractError:
        given = {"commitWindow": rules.commit_window, "roundWindow": rules.round_window}
        return refusal("UnsupportedCommitWindow", **given)

    cases = [
        ((admin, admin, 0, 1, 0, none), refusal("InvalidDao", dao=admin)),
        ((dao, nobody, 0, 1, 0, none), refusal("AccessControlInvalidDefaultAdmin", defaultAdmin=nobody)),
        ((dao, admin, 0, 0, 0, none), refusal("UnsupportedQuorum", quorum=0)),
        # Whatever may take more than one submission needs a time-out, or it could wait for ever.
        ((dao, admin, 0, 2, 0, none), rounds(none)),
        ((dao, admin, 0, 1, 1, none), rounds(none)),
        *(
            ((dao, admin, 0, 1, 0, rules), rounds(rules))
            for rules in (
                Rules(rounds_max=0),
                Rules(rounds_max=2),
                Rules(rounds_max=17, round_window=9),
                Rules(round_window=YEAR_S + 1),
                Rules(round_window=2**48 - 1),
            )
        ),
        *(
            ((dao, admin, 0, 1, window, rules), challenge(window, rules))
            for window, rules in (
                (0, bonded),
                (1, once),
                (YEAR_S + 1, bonded),
                (1, replace(bonded, bond=0)),
                (1, replace(bonded, bond_receiver=nobody)),
            )
        ),
        *(
            ((dao, admin, 0, 1, 0, rules), commit(rules))
            for rules in (Rules(commit_window=1), Rules(round_window=9, commit_window=9))
        ),
    ]
    for arguments, expected in cases:
        assert chain.deploy_refused("ProposalScores", *arguments) == expected


def test_a_contract_without_a_clock_is_no_dao(deployment: Deployment) -> None:
    chain, arguments = deployment.chain, (deployment.scores, deployment.admin, 0, 1, 0, Rules())
    data = deploy_data(load("ProposalScores"), *arguments)
    assert not chain.receipt(chain.transmit(deployment.admin, None, data)).succeeded


def test_a_quorum_of_one_makes_the_first_submission_final(deployment: Deployment) -> None:
    proposal = deployment.ended()
    assert not deployment.is_final(proposal)
    submitted, finalized = deployment.submit(proposal, -1234).logs
    verdict = {"proposal_id": proposal, "round": 1, "status": Status.SCORED, "score": -1234, "root": ROOT}
    expected = proposal_scores.ScoreSubmitted(scorer=deployment.scorer, **verdict)
    assert proposal_scores.SCORE_SUBMITTED.decode(submitted) == expected
    final = proposal_scores.SCORE_FINALIZED.decode(finalized)
    assert final == proposal_scores.ScoreFinalized(**verdict)
    assert deployment.is_final(proposal)
    now, chain = deployment.chain.timestamp, deployment.chain
    score = Score(status=Status.SCORED, score=-1234, root=ROOT, round=1, finalized_at=now)
    assert chain.call(deployment.scores, proposal_scores.SCORE_OF, proposal) == score
    record = SubmissionRecord(status=Status.SCORED, score=-1234, root=ROOT, submitted_at=now)
    found = chain.call(deployment.scores, proposal_scores.SUBMISSION_OF, proposal, 1, deployment.scorer)
    assert found == record


def test_what_was_not_submitted_reads_as_none_and_not_as_zero(deployment: Deployment) -> None:
    chain, scores, proposal = deployment.chain, deployment.scores, deployment.ended()
    assert chain.call_refused(scores, proposal_scores.SCORE_OF, proposal) == refusal(
        "NotFinal", proposalId=proposal
    )
    found = chain.call(scores, proposal_scores.SUBMISSION_OF, proposal, 1, deployment.scorer)
    assert found == SubmissionRecord(status=Status.NONE, score=0, root=bytes(32), submitted_at=0)
    assert chain.call(scores, proposal_scores.ROUND_OF, proposal) == proposal_scores.FIRST_ROUND


@pytest.mark.parametrize(
    ("status", "score"),
    [(Status.SCORED, -10_000), (Status.SCORED, 0), (Status.SCORED, 10_000), (Status.NO_VOTES, 0)],
)
def test_verdicts_at_their_bounds(deployment: Deployment, status: Status, score: int) -> None:
    proposal = deployment.ended()
    arguments = (proposal, status, score, ROOT)
    deployment.chain.send(deployment.scorer, deployment.scores, proposal_scores.SUBMIT_SCORE, *arguments)
    found = deployment.chain.call(deployment.scores, proposal_scores.SCORE_OF, proposal)
    assert (found.status, found.score) == (status, score)


@pytest.mark.parametrize(
    ("status", "score", "root", "expected"),
    [
        (0, 0, ROOT, refusal("InvalidStatus", status=0)),
        (3, 0, ROOT, refusal("InvalidStatus", status=3)),
        (255, 0, ROOT, refusal("InvalidStatus", status=255)),
        (1, 10_001, ROOT, refusal("InvalidScore", status=1, score=10_001)),
        (1, -10_001, ROOT, refusal("InvalidScore", status=1, score=-10_001)),
        (1, -(2**31), ROOT, refusal("InvalidScore", status=1, score=-(2**31))),
        (2, 1, ROOT, refusal("InvalidScore", status=2, score=1)),
        (1, 1, bytes(32), refusal("InvalidRoot")),
    ],
)
def test_a_verdict_that_means_nothing_is_refused(
    deployment: Deployment, status: int, score: int, root: bytes, expected: ContractError
) -> None:
    proposal = deployment.ended()
    assert deployment.refused(proposal, status, score, root) == expected
    assert not deployment.is_final(proposal)


def test_a_second_submission_is_refused_and_names_the_first(deployment: Deployment) -> None:
    proposal = deployment.ended()
    deployment.submit(proposal, 5)
    first = {"round": 1, "status": Status.SCORED, "score": 5, "root": ROOT}
    expected = refusal("AlreadySubmitted", proposalId=proposal, scorer=deployment.scorer, **first)
    assert deployment.refused(proposal, Status.SCORED, 5, ROOT) == expected
    assert deployment.refused(proposal, Status.NO_VOTES, 0, OTHER_ROOT) == expected
    assert deployment.chain.call(deployment.scores, proposal_scores.SCORE_OF, proposal).score == 5


def test_nothing_is_submitted_before_the_vote_has_ended(deployment: Deployment) -> None:
    proposal, chain = deployment.propose(), deployment.chain
    deadline = chain.call(deployment.dao, reputation_dao.PROPOSAL_DEADLINE, proposal)
    chain.pass_time(deadline - 1 - chain.timestamp)
    found = deployment.refused(proposal, Status.SCORED, 5, ROOT)
    assert chain.timestamp == deadline
    assert found == refusal("VotingNotEnded", proposalId=proposal, state=ProposalState.ACTIVE)
    deployment.submit(proposal)
    assert chain.timestamp == deadline + 1


def test_nothing_is_submitted_in_the_block_of_the_proposal(deployment: Deployment) -> None:
    chain = deployment.chain
    with chain.one_block() as send:
        send(deployment.admin, deployment.dao, reputation_dao.PROPOSE, ROOT)
        arguments = (1, Status.SCORED, 5, ROOT)
        early = send(deployment.scorer, deployment.scores, proposal_scores.SUBMIT_SCORE, *arguments)
    assert not chain.receipt(early).succeeded
    function, scorer = proposal_scores.SUBMIT_SCORE, deployment.scorer
    found = chain.call_refused(deployment.scores, function, *arguments, sender=scorer)
    assert found == refusal("VotingNotEnded", proposalId=1, state=ProposalState.PENDING)


def test_an_unknown_proposal_is_refused_in_the_words_of_the_dao(deployment: Deployment) -> None:
    expected = refusal("NonexistentProposal", proposalId=UNKNOWN)
    assert deployment.refused(UNKNOWN, Status.SCORED, 5, ROOT) == expected
    for view in (proposal_scores.POLICY_OF, proposal_scores.DOMAIN_OF):
        assert deployment.chain.call_refused(deployment.scores, view, UNKNOWN) == expected


def test_a_canceled_proposal_takes_no_score_and_a_later_cancel_no_score_away(deployment: Deployment) -> None:
    chain, canceled, scored = deployment.chain, deployment.propose(), deployment.ended()
    chain.send(deployment.admin, deployment.dao, reputation_dao.CANCEL, canceled)
    expected = refusal("ProposalWasCanceled", proposalId=canceled)
    assert deployment.refused(canceled, Status.SCORED, 5, ROOT) == expected
    deployment.submit(scored)
    chain.send(deployment.admin, deployment.dao, reputation_dao.CANCEL, scored)
    assert chain.call(deployment.scores, proposal_scores.SCORE_OF, scored).score == 5


def test_only_scorers_submit(deployment: Deployment) -> None:
    proposal, role = deployment.ended(), proposal_scores.SCORER_ROLE
    for account in (deployment.stranger, deployment.admin):
        found = deployment.refused(proposal, Status.SCORED, 5, ROOT, scorer=account)
        assert found == unauthorized(account, role)
        batch = [Submission(proposal_id=proposal, status=Status.SCORED, score=5, root=ROOT)]
        chain, scores = deployment.chain, deployment.scores
        assert chain.refused(account, scores, proposal_scores.SUBMIT_SCORES, batch) == unauthorized(
            account, role
        )
    deployment.chain.send(
        deployment.admin, deployment.scores, proposal_scores.REVOKE_ROLE, role, deployment.scorer
    )
    assert deployment.refused(proposal, Status.SCORED, 5, ROOT) == unauthorized(deployment.scorer, role)


def test_a_batch_is_submitted_as_a_whole(deployment: Deployment) -> None:
    first, second = deployment.propose(), deployment.ended()
    batch = [
        Submission(proposal_id=first, status=Status.SCORED, score=-7, root=ROOT),
        Submission(proposal_id=second, status=Status.NO_VOTES, score=0, root=OTHER_ROOT),
    ]
    chain, scores = deployment.chain, deployment.scores
    logs = chain.send(deployment.scorer, scores, proposal_scores.SUBMIT_SCORES, batch).logs
    submitted = [proposal_scores.SCORE_SUBMITTED.decode(log) for log in logs[::2]]
    assert [(each.proposal_id, each.status, each.score, each.root) for each in submitted] == [
        (each.proposal_id, each.status, each.score, each.root) for each in batch
    ]
    assert [proposal_scores.SCORE_FINALIZED.decode(log).proposal_id for log in logs[1::2]] == [first, second]


def test_a_later_scorer_is_on_the_record_and_changes_nothing(deployment: Deployment) -> None:
    proposal, second = deployment.ended(), deployment.chain.accounts[2]
    deployment.submit(proposal, 5)
    log = only(deployment.submit(proposal, 6, root=OTHER_ROOT, scorer=second).logs)
    assert proposal_scores.SCORE_SUBMITTED.decode(log).scorer == second
    found = deployment.chain.call(deployment.scores, proposal_scores.SCORE_OF, proposal)
    assert (found.score, found.root) == (5, ROOT)


def test_a_quorum_of_two_needs_two_equal_verdicts(deployment: Deployment) -> None:
    scorers = deployment.chain.accounts[1:7]
    both, proposal = deployment.registry(2, *scorers), deployment.ended()
    no_votes = (proposal, Status.NO_VOTES, 0, ROOT)
    both.chain.send(scorers[0], both.scores, proposal_scores.SUBMIT_SCORE, *no_votes)
    for scorer, score, root in ((1, 0, ROOT), (2, 5, ROOT), (3, 5, OTHER_ROOT)):
        both.submit(proposal, score, root=root, scorer=scorers[scorer])
        assert not both.is_final(proposal)
    logs = both.submit(proposal, 5, root=OTHER_ROOT, scorer=scorers[4]).logs
    assert proposal_scores.SCORE_FINALIZED.decode(logs[1]).root == OTHER_ROOT
    # A second pair agrees on something else, too late.
    only(both.submit(proposal, 5, root=ROOT, scorer=scorers[5]).logs)
    found = both.chain.call(both.scores, proposal_scores.SCORE_OF, proposal)
    assert (found.score, found.root) == (5, OTHER_ROOT)


def test_a_batch_of_170_scores_fits_a_transaction(deployment: Deployment) -> None:
    """One transaction may use 2^24 gas (EIP-7825): a score in a batch must stay below a 170th of it."""
    proposals = [deployment.propose() for _ in range(10)]
    deployment.chain.pass_time(PERIOD + 1)
    batch = [Submission(proposal_id=each, status=Status.SCORED, score=1, root=ROOT) for each in proposals]
    used = deployment.chain.send(
        deployment.scorer, deployment.scores, proposal_scores.SUBMIT_SCORES, batch
    ).gas_used
    assert (used - 21_000) / len(batch) < 2**24 / 170
