"""ProposalScores on py-evm: rounds, challenges, the admin's last word and the bonds, move by move."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from contracts.bindings import Event, Function, proposal_scores, reputation_dao
from contracts.bindings import score_values as values
from contracts.bindings.governor import ProposalState
from contracts.bindings.proposal_scores import Challenged, Course, Rules, Stage, Status
from contracts.bindings.score_values import NOBODY
from tests.contracts_chain import Receipt, only, refusal
from tests.contracts_registry import OTHER_ROOT, PERIOD, ROOT, Deployment, new_deployment, unauthorized

WINDOW, ROUND_S, BOND = 100, 1000, 10**15


@pytest.fixture(scope="module")
def shared() -> Deployment:
    deployment = new_deployment()
    accounts = deployment.chain.accounts
    rules = Rules(rounds_max=2, round_window=ROUND_S, bond=BOND, bond_receiver=accounts[8])
    return deployment.registry(2, *accounts[1:4], window=WINDOW, rules=rules)


@pytest.fixture
def rounds(shared: Deployment) -> Iterator[Deployment]:
    with shared.chain.undone():
        yield shared


def decoded(event: Event[object], receipt: Receipt) -> list[object]:
    return [event.decode(log) for log in receipt.logs if event.matches(log)]


def course(deployment: Deployment, proposal: int) -> Course:
    return deployment.chain.call(deployment.scores, proposal_scores.COURSE_OF, proposal)


def agreed(deployment: Deployment, proposal: int, score: int = 5, *, root: bytes = ROOT) -> Receipt:
    deployment.submit(proposal, score, root=root, scorer=deployment.chain.accounts[1])
    return deployment.submit(proposal, score, root=root, scorer=deployment.chain.accounts[2])


def challenge(deployment: Deployment, proposal: int, *, who: int = 9) -> Receipt:
    chain = deployment.chain
    return chain.send(chain.accounts[who], deployment.scores, proposal_scores.CHALLENGE, proposal, value=BOND)


def touch(deployment: Deployment, function: object, proposal: int) -> Receipt:
    return deployment.chain.send(deployment.stranger, deployment.scores, function, proposal)  # type: ignore[arg-type]


def touched(deployment: Deployment, function: object, proposal: int, **named: object) -> object:
    return deployment.chain.refused(deployment.stranger, deployment.scores, function, proposal, **named)  # type: ignore[arg-type]


def resolve(deployment: Deployment, proposal: int, score: int, root: bytes = ROOT) -> Receipt:
    arguments = (proposal, Status.SCORED, score, root)
    return deployment.chain.send(deployment.admin, deployment.scores, proposal_scores.RESOLVE, *arguments)


def test_the_registry_tells_its_rules(rounds: Deployment) -> None:
    chain, scores, receiver = rounds.chain, rounds.scores, rounds.chain.accounts[8]
    told = {
        proposal_scores.QUORUM: 2,
        proposal_scores.CHALLENGE_WINDOW: WINDOW,
        proposal_scores.ROUNDS_MAX: 2,
        proposal_scores.ROUND_WINDOW: ROUND_S,
        proposal_scores.COMMIT_WINDOW: 0,
        proposal_scores.BOND: BOND,
        proposal_scores.BOND_RECEIVER: receiver,
    }
    assert {function: chain.call(scores, function) for function in told} == told
    constants = {"MAX_SCORE": 10_000, "FIRST_ROUND": 1, "ROUNDS_LIMIT": 16}
    for name, value in constants.items():
        kind = "int32" if name == "MAX_SCORE" else "uint32"
        assert chain.call(scores, Function(name=name, outputs=(kind,), result=int)) == value
    role = Function(name="SCORER_ROLE", outputs=("bytes32",), result=bytes)
    assert chain.call(scores, role) == proposal_scores.SCORER_ROLE
    # Before a round has begun the set is that of now.
    proposal = rounds.ended()
    members = [chain.call(scores, proposal_scores.MAY_SCORE, proposal, each) for each in chain.accounts[:5]]
    assert members == [False, True, True, True, False]


def test_an_agreement_is_final_only_after_its_window(rounds: Deployment) -> None:
    chain, proposal = rounds.chain, rounds.ended()
    first = rounds.submit(proposal, 5, scorer=chain.accounts[1])
    started = chain.timestamp
    opened = decoded(proposal_scores.ROUND_OPENED, first)
    assert opened == [values.RoundOpened(proposal_id=proposal, round=1, scorers=3)]
    second = rounds.submit(proposal, 5, scorer=chain.accounts[2])
    until = chain.timestamp + WINDOW
    (told,) = decoded(proposal_scores.SCORE_AGREED, second)
    verdict = {"status": Status.SCORED, "score": 5, "root": ROOT}
    assert told == values.ScoreAgreed(proposal_id=proposal, round=1, challengeable_until=until, **verdict)
    expected = Course(
        stage=Stage.AGREED,
        round=1,
        started_at=started,
        until=until,
        scorer=chain.accounts[2],
        **verdict,
    )
    assert course(rounds, proposal) == expected
    chain.pass_time(until - 2 - chain.timestamp)
    early = touched(rounds, proposal_scores.FINALIZE, proposal)
    assert (chain.timestamp, early) == (
        until - 1,
        refusal("ChallengeWindowOpen", proposalId=proposal, until=until),
    )
    assert not rounds.is_final(proposal)
    (final,) = decoded(proposal_scores.SCORE_FINALIZED, touch(rounds, proposal_scores.FINALIZE, proposal))
    assert chain.timestamp == until
    assert final == values.ScoreFinalized(proposal_id=proposal, round=1, **verdict)
    assert rounds.is_final(proposal)
    assert course(rounds, proposal) == replace(expected, stage=Stage.FINAL, until=until)
    again = touched(rounds, proposal_scores.FINALIZE, proposal)
    assert again == refusal("NotAgreed", proposalId=proposal)


def test_a_challenge_in_time_opens_the_next_round_and_one_too_late_does_nothing(rounds: Deployment) -> None:
    chain, proposal, late = rounds.chain, rounds.propose(), rounds.ended()
    agreed(rounds, proposal)
    until = course(rounds, proposal).until
    chain.pass_time(until - 2 - chain.timestamp)
    receipt = challenge(rounds, proposal)
    assert chain.timestamp == until - 1
    told = decoded(proposal_scores.SCORE_CHALLENGED, receipt)
    assert told == [
        values.ScoreChallenged(proposal_id=proposal, round=1, challenger=rounds.stranger, bond=BOND)
    ]
    assert decoded(proposal_scores.ROUND_OPENED, receipt) == [
        values.RoundOpened(proposal_id=proposal, round=2, scorers=3)
    ]
    now = course(rounds, proposal)
    assert (now.stage, now.round, now.scorer, now.until) == (Stage.OPEN, 2, NOBODY, until - 1 + ROUND_S)
    assert chain.call(rounds.scores, proposal_scores.ROUND_OF, proposal) == 2
    found = chain.call(rounds.scores, proposal_scores.CHALLENGE_OF, proposal, 1)
    assert found.challenger == rounds.stranger
    agreed(rounds, late)
    until = course(rounds, late).until
    chain.pass_time(until - 1 - chain.timestamp)
    refused = touched(rounds, proposal_scores.CHALLENGE, late, value=BOND)
    assert (chain.timestamp, refused) == (
        until,
        refusal("ChallengeWindowOver", proposalId=late, until=until),
    )


def test_a_challenge_costs_exactly_the_bond(rounds: Deployment) -> None:
    proposal = rounds.ended()
    untouched = touched(rounds, proposal_scores.CHALLENGE, proposal, value=BOND)
    assert untouched == refusal("NotAgreed", proposalId=proposal)
    agreed(rounds, proposal)
    for value in (0, BOND - 1, BOND + 1):
        refused = touched(rounds, proposal_scores.CHALLENGE, proposal, value=value)
        assert refused == refusal("WrongBond", given=value, bond=BOND)
    assert course(rounds, proposal).stage is Stage.AGREED


@pytest.mark.parametrize("upheld", [True, False])
def test_a_bond_goes_to_whom_the_final_verdict_proves_right(rounds: Deployment, upheld: bool) -> None:
    chain, proposal, receiver = rounds.chain, rounds.ended(), rounds.chain.accounts[8]
    agreed(rounds, proposal)
    challenge(rounds, proposal)
    agreed(rounds, proposal, root=ROOT if upheld else OTHER_ROOT)
    chain.pass_time(WINDOW)
    receipt = touch(rounds, proposal_scores.FINALIZE, proposal)
    bond = {"proposal_id": proposal, "round": 1, "challenger": rounds.stranger, "bond": BOND}
    forfeited = [values.BondForfeited(**bond)] if upheld else []  # type: ignore[arg-type]
    returned = [] if upheld else [values.BondReturned(**bond)]  # type: ignore[arg-type]
    assert decoded(proposal_scores.BOND_FORFEITED, receipt) == forfeited
    assert decoded(proposal_scores.BOND_RETURNED, receipt) == returned
    nobody = Challenged(challenger=NOBODY, verdict=bytes(32))
    assert chain.call(rounds.scores, proposal_scores.CHALLENGE_OF, proposal, 1) == nobody
    account, loser = (receiver, rounds.stranger) if upheld else (rounds.stranger, receiver)
    assert chain.call(rounds.scores, proposal_scores.CREDITS, account) == BOND
    before = chain.balance(account)
    paid = chain.send(rounds.admin, rounds.scores, proposal_scores.WITHDRAW, account)
    assert proposal_scores.WITHDRAWN.decode(only(paid.logs)) == values.Withdrawn(account=account, amount=BOND)
    assert chain.balance(account) - before == BOND
    assert chain.balance(rounds.scores) == 0
    for poor in (account, loser):
        refused = chain.refused(rounds.admin, rounds.scores, proposal_scores.WITHDRAW, poor)
        assert refused == refusal("NothingToWithdraw", account=poor)


def test_a_round_without_an_agreement_times_out_and_the_last_one_goes_to_the_admin(
    rounds: Deployment,
) -> None:
    chain, proposal = rounds.chain, rounds.ended()
    touch(rounds, proposal_scores.OPEN_ROUND, proposal)
    for number in (1, 2):
        started = course(rounds, proposal).started_at
        rounds.submit(proposal, number, scorer=chain.accounts[1])
        rounds.submit(proposal, number, scorer=chain.accounts[2], root=OTHER_ROOT)
        chain.pass_time(started + ROUND_S - 2 - chain.timestamp)
        refused = touched(rounds, proposal_scores.OPEN_ROUND, proposal)
        still = {"proposalId": proposal, "round": number, "until": started + ROUND_S}
        assert refused == refusal("RoundStillOpen", **still)
        if number == 1:
            touch(rounds, proposal_scores.OPEN_ROUND, proposal)
            assert chain.timestamp == started + ROUND_S
    arguments = (proposal, Status.SCORED, -7, ROOT)
    before = chain.call_refused(rounds.scores, proposal_scores.RESOLVE, *arguments, sender=rounds.admin)
    assert before == refusal("NotResolvable", proposalId=proposal)
    chain.pass_time(1)
    exhausted = touched(rounds, proposal_scores.OPEN_ROUND, proposal)
    assert exhausted == refusal("RoundsExhausted", proposalId=proposal)
    stranger = chain.refused(rounds.stranger, rounds.scores, proposal_scores.RESOLVE, *arguments)
    assert stranger == unauthorized(rounds.stranger, proposal_scores.DEFAULT_ADMIN_ROLE)
    receipt = resolve(rounds, proposal, -7)
    verdict = {"proposal_id": proposal, "status": Status.SCORED, "score": -7, "root": ROOT}
    assert decoded(proposal_scores.SCORE_RESOLVED, receipt) == [
        values.ScoreResolved(admin=rounds.admin, **verdict)  # type: ignore[arg-type]
    ]
    assert decoded(proposal_scores.SCORE_FINALIZED, receipt) == [
        values.ScoreFinalized(round=3, **verdict)  # type: ignore[arg-type]
    ]
    final = chain.call(rounds.scores, proposal_scores.SCORE_OF, proposal)
    assert (final.score, final.root, final.round) == (-7, ROOT, 3)
    refused = chain.refused(rounds.admin, rounds.scores, proposal_scores.RESOLVE, *arguments)
    assert refused == refusal("NotResolvable", proposalId=proposal)


def test_scorers_may_still_agree_while_the_admin_is_silent(rounds: Deployment) -> None:
    """No deadlock: the last round takes submissions until somebody has decided."""
    chain, proposal = rounds.chain, rounds.ended()
    for _ in (1, 2):
        touch(rounds, proposal_scores.OPEN_ROUND, proposal)
        chain.pass_time(ROUND_S)
    agreed(rounds, proposal)
    chain.pass_time(WINDOW)
    touch(rounds, proposal_scores.FINALIZE, proposal)
    assert rounds.is_final(proposal)


@pytest.mark.parametrize("admin", ["agrees", "overrules", "is silent"])
def test_a_dispute_of_the_last_round_is_the_admins_and_holds_nothing_up(
    rounds: Deployment, admin: str
) -> None:
    chain, proposal = rounds.chain, rounds.ended()
    for _ in (1, 2):
        agreed(rounds, proposal)
        challenge(rounds, proposal)
    now = course(rounds, proposal)
    assert (now.stage, now.round, now.until, now.score) == (Stage.DISPUTED, 2, chain.timestamp + ROUND_S, 5)
    assert touched(rounds, proposal_scores.CHALLENGE, proposal, value=BOND) == refusal(
        "NotAgreed", proposalId=proposal
    )
    assert touched(rounds, proposal_scores.OPEN_ROUND, proposal) == refusal(
        "RoundDecided", proposalId=proposal, round=2
    )
    chain.pass_time(now.until - 2 - chain.timestamp)
    assert touched(rounds, proposal_scores.FINALIZE, proposal) == refusal(
        "ChallengeWindowOpen", proposalId=proposal, until=now.until
    )
    if admin == "is silent":
        receipt = touch(rounds, proposal_scores.FINALIZE, proposal)
    else:
        receipt = resolve(rounds, proposal, 5, ROOT if admin == "agrees" else OTHER_ROOT)
    upheld = admin != "overrules"
    assert len(decoded(proposal_scores.BOND_FORFEITED, receipt)) == 2 * upheld
    assert len(decoded(proposal_scores.BOND_RETURNED, receipt)) == 2 * (not upheld)
    assert rounds.is_final(proposal)
    assert chain.call(rounds.scores, proposal_scores.SCORE_OF, proposal).round == (
        2 if admin == "is silent" else 3
    )


def test_the_set_of_a_round_is_fixed_when_it_begins(rounds: Deployment) -> None:
    chain, proposal = rounds.chain, rounds.ended()
    newcomer, role, scores = chain.accounts[4], proposal_scores.SCORER_ROLE, rounds.scores
    rounds.submit(proposal, 5, scorer=chain.accounts[1])
    started = chain.timestamp
    rounds.grant(newcomer)
    chain.send(rounds.admin, scores, proposal_scores.REVOKE_ROLE, role, chain.accounts[2])
    refused = rounds.refused(proposal, Status.SCORED, 5, ROOT, scorer=newcomer)
    assert refused == refusal("NotInRound", proposalId=proposal, round=1, account=newcomer)
    # Nobody is put out of a round either: an admin who could would choose the verdict.
    rounds.submit(proposal, 6, scorer=chain.accounts[2])
    members = [chain.call(scores, proposal_scores.MAY_SCORE, proposal, each) for each in chain.accounts[1:5]]
    assert members == [True, True, True, False]
    chain.pass_time(ROUND_S)
    receipt = touch(rounds, proposal_scores.OPEN_ROUND, proposal)
    assert decoded(proposal_scores.ROUND_OPENED, receipt) == [
        values.RoundOpened(proposal_id=proposal, round=2, scorers=3)
    ]
    members = [chain.call(scores, proposal_scores.MAY_SCORE, proposal, each) for each in chain.accounts[1:5]]
    assert members == [True, False, True, True]
    rounds.submit(proposal, 5, scorer=newcomer)
    assert chain.call(scores, proposal_scores.WAS_SCORER, newcomer, started) is False
    assert chain.call(scores, proposal_scores.SCORERS_AT, started) == 3


def test_a_role_of_the_very_block_in_which_a_round_begins_is_too_young(rounds: Deployment) -> None:
    chain, proposal, newcomer = rounds.chain, rounds.ended(), rounds.chain.accounts[4]
    with chain.one_block() as send:
        role = proposal_scores.SCORER_ROLE
        send(rounds.admin, rounds.scores, proposal_scores.GRANT_ROLE, role, newcomer)
        send(rounds.stranger, rounds.scores, proposal_scores.OPEN_ROUND, proposal)
    refused = rounds.refused(proposal, Status.SCORED, 5, ROOT, scorer=newcomer)
    assert refused == refusal("NotInRound", proposalId=proposal, round=1, account=newcomer)


def test_a_pause_stops_submissions_rounds_and_finality_but_no_challenge(rounds: Deployment) -> None:
    chain, proposal, other = rounds.chain, rounds.propose(), rounds.ended()
    agreed(rounds, proposal)
    chain.send(rounds.admin, rounds.scores, proposal_scores.PAUSE)
    paused = refusal("EnforcedPause")
    assert touched(rounds, proposal_scores.FINALIZE, proposal) == paused
    assert touched(rounds, proposal_scores.OPEN_ROUND, other) == paused
    challenge(rounds, proposal)
    assert course(rounds, proposal).round == 2


def test_a_proposal_canceled_between_rounds_gives_the_bonds_back(rounds: Deployment) -> None:
    chain, proposal = rounds.chain, rounds.ended()
    agreed(rounds, proposal)
    challenge(rounds, proposal)
    early = touched(rounds, proposal_scores.RETURN_BONDS, proposal)
    assert early == refusal("NotCanceled", proposalId=proposal)
    chain.send(rounds.admin, rounds.dao, reputation_dao.CANCEL, proposal)
    receipt = touch(rounds, proposal_scores.RETURN_BONDS, proposal)
    assert len(decoded(proposal_scores.BOND_RETURNED, receipt)) == 1
    assert chain.call(rounds.scores, proposal_scores.CREDITS, rounds.stranger) == BOND
    # A second time there is nothing left to give.
    assert not touch(rounds, proposal_scores.RETURN_BONDS, proposal).logs
    assert touched(rounds, proposal_scores.OPEN_ROUND, proposal) == refusal(
        "ProposalWasCanceled", proposalId=proposal
    )


def test_no_round_opens_before_the_vote_has_ended_or_where_there_are_none(rounds: Deployment) -> None:
    proposal = rounds.propose()
    early = touched(rounds, proposal_scores.OPEN_ROUND, proposal)
    assert early == refusal("VotingNotEnded", proposalId=proposal, state=ProposalState.ACTIVE)
    with rounds.chain.undone():
        plain = rounds.registry(1, rounds.scorer)
        rounds.chain.pass_time(PERIOD + 1)
        assert touched(plain, proposal_scores.OPEN_ROUND, proposal) == refusal("NoRounds")
        assert plain.chain.call(plain.scores, proposal_scores.MAY_SCORE, proposal, plain.scorer)


def test_one_dissenter_vetoes_nothing(rounds: Deployment) -> None:
    """A scorer that lies in each round and challenges each verdict loses its bonds and changes nothing."""
    chain, proposal = rounds.chain, rounds.ended()
    for _ in (1, 2):
        rounds.submit(proposal, 0, root=OTHER_ROOT, scorer=chain.accounts[3])
        agreed(rounds, proposal)
        challenge(rounds, proposal, who=3)
    chain.pass_time(ROUND_S)
    touch(rounds, proposal_scores.FINALIZE, proposal)
    final = chain.call(rounds.scores, proposal_scores.SCORE_OF, proposal)
    assert (final.score, final.root) == (5, ROOT)
    assert chain.call(rounds.scores, proposal_scores.CREDITS, chain.accounts[8]) == 2 * BOND
