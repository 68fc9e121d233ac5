"""ReputationDao on py-evm: every path and every refusal, by mined transactions."""

from collections.abc import Iterator

import pytest

from contracts.bindings import reputation_dao
from contracts.bindings.reputation_dao import ClockUnit, ProposalState, Support
from tests.contracts_chain import Chain, only, refusal

PERIOD = 1000
HASH = bytes(range(32))


@pytest.fixture(scope="module")
def module_chain() -> Chain:
    return Chain()


@pytest.fixture(scope="module")
def module_dao(module_chain: Chain) -> str:
    return module_chain.deploy("ReputationDao", module_chain.accounts[0], PERIOD, ClockUnit.TIMESTAMP)


@pytest.fixture
def chain(module_chain: Chain, module_dao: str) -> Iterator[Chain]:
    with module_chain.undone():
        yield module_chain


@pytest.fixture
def dao(module_dao: str) -> str:
    return module_dao


def set_reputations(chain: Chain, dao: str, *amounts: int) -> None:
    voters = chain.accounts[1 : 1 + len(amounts)]
    chain.send(chain.accounts[0], dao, reputation_dao.SET_REPUTATIONS, voters, list(amounts))


def propose(chain: Chain, dao: str, sender: int = 1) -> int:
    receipt = chain.send(chain.accounts[sender], dao, reputation_dao.PROPOSE, HASH)
    return reputation_dao.PROPOSAL_CREATED.decode(only(receipt.logs)).proposal_id


def test_the_constructor_refuses_what_can_never_work(chain: Chain) -> None:
    nobody = "0x" + "00" * 20
    found = chain.deploy_refused("ReputationDao", nobody, PERIOD, ClockUnit.TIMESTAMP)
    assert found == refusal("InvalidAdmin", admin=nobody)
    found = chain.deploy_refused("ReputationDao", chain.accounts[0], 0, ClockUnit.TIMESTAMP)
    assert found == refusal("InvalidVotingPeriod", votingPeriod=0)


def test_a_proposal_is_announced_and_counted_from_one(chain: Chain, dao: str) -> None:
    receipt = chain.send(chain.accounts[3], dao, reputation_dao.PROPOSE, HASH)
    created = reputation_dao.PROPOSAL_CREATED.decode(only(receipt.logs))
    expected = reputation_dao.ProposalCreated(proposal_id=1, content_hash=HASH, proposer=chain.accounts[3])
    assert created == expected
    assert only(receipt.logs).address == dao
    assert propose(chain, dao) == 2
    assert chain.call(dao, reputation_dao.PROPOSAL_COUNT) == 2
    assert chain.call(dao, reputation_dao.PROPOSAL_PROPOSER, 1) == chain.accounts[3]
    assert chain.call(dao, reputation_dao.PROPOSAL_CONTENT_HASH, 1) == HASH


def test_the_snapshot_is_the_creation_and_the_deadline_a_period_later(chain: Chain, dao: str) -> None:
    proposal = propose(chain, dao)
    created_at = chain.timestamp
    assert chain.call(dao, reputation_dao.PROPOSAL_SNAPSHOT, proposal) == created_at
    assert chain.call(dao, reputation_dao.PROPOSAL_DEADLINE, proposal) == created_at + PERIOD
    assert chain.call(dao, reputation_dao.VOTING_PERIOD) == PERIOD
    assert chain.call(dao, reputation_dao.CLOCK) == created_at
    assert chain.call(dao, reputation_dao.CLOCK_MODE) == "mode=timestamp"
    assert chain.call(dao, reputation_dao.COUNTING_MODE) == "support=bravo"


def test_votes_are_counted_by_the_reputation_at_the_snapshot(chain: Chain, dao: str) -> None:
    set_reputations(chain, dao, 50, 30, 7)
    proposal = propose(chain, dao)
    # What is given or taken after the snapshot changes nothing about this vote.
    set_reputations(chain, dao, 1, 1000, 7)
    for voter, support in ((1, Support.AGAINST), (2, Support.FOR), (3, Support.ABSTAIN)):
        receipt = chain.send(chain.accounts[voter], dao, reputation_dao.CAST_VOTE, proposal, support)
        vote = reputation_dao.VOTE_CAST.decode(only(receipt.logs))
        assert (vote.voter, vote.proposal_id, vote.support) == (chain.accounts[voter], proposal, support)
        assert (vote.weight, vote.reason) == ((50, 30, 7)[voter - 1], "")
        assert chain.call(dao, reputation_dao.HAS_VOTED, proposal, chain.accounts[voter])
    votes = chain.call(dao, reputation_dao.PROPOSAL_VOTES, proposal)
    assert votes == reputation_dao.ProposalVotes(against=50, for_=30, abstain=7)


def test_reputation_of_the_block_before_the_proposal_counts(chain: Chain, dao: str) -> None:
    set_reputations(chain, dao, 50)
    given_at = chain.timestamp
    proposal = propose(chain, dao)
    assert chain.timestamp == given_at + 1
    chain.send(chain.accounts[1], dao, reputation_dao.CAST_VOTE, proposal, Support.FOR)
    assert chain.call(dao, reputation_dao.PROPOSAL_VOTES, proposal).for_ == 50


def test_nobody_votes_in_the_timepoint_of_the_snapshot(chain: Chain, dao: str) -> None:
    set_reputations(chain, dao, 50)
    with chain.one_block() as send:
        send(chain.accounts[2], dao, reputation_dao.PROPOSE, HASH)
        early = send(chain.accounts[1], dao, reputation_dao.CAST_VOTE, 1, Support.FOR)
        send(chain.accounts[0], dao, reputation_dao.SET_REPUTATIONS, [chain.accounts[1]], [60])
    assert not chain.receipt(early).succeeded
    assert chain.call(dao, reputation_dao.STATE, 1) is ProposalState.PENDING
    # The weight is that of the timepoint's end, as in every ERC-5805 contract.
    chain.send(chain.accounts[1], dao, reputation_dao.CAST_VOTE, 1, Support.FOR)
    assert chain.call(dao, reputation_dao.PROPOSAL_VOTES, 1).for_ == 60


def test_the_deadline_is_the_last_timepoint_of_the_vote(chain: Chain, dao: str) -> None:
    set_reputations(chain, dao, 50, 60)
    proposal = propose(chain, dao)
    deadline = chain.call(dao, reputation_dao.PROPOSAL_DEADLINE, proposal)
    chain.pass_time(deadline - 1 - chain.timestamp)
    receipt = chain.send(chain.accounts[1], dao, reputation_dao.CAST_VOTE, proposal, Support.FOR)
    assert receipt.succeeded
    assert chain.timestamp == deadline
    assert chain.call(dao, reputation_dao.STATE, proposal) is ProposalState.ACTIVE
    found = chain.refused(chain.accounts[2], dao, reputation_dao.CAST_VOTE, proposal, Support.AGAINST)
    assert chain.timestamp == deadline + 1
    assert found == refusal("VotingClosed", proposalId=proposal, state=ProposalState.SUCCEEDED)


@pytest.mark.parametrize(
    ("supports", "outcome"),
    [
        ((), ProposalState.DEFEATED),
        ((Support.FOR,), ProposalState.SUCCEEDED),
        ((Support.FOR, Support.AGAINST), ProposalState.DEFEATED),
        ((Support.ABSTAIN, Support.FOR), ProposalState.SUCCEEDED),
        ((Support.ABSTAIN,), ProposalState.DEFEATED),
    ],
)
def test_the_outcome(chain: Chain, dao: str, supports: tuple[Support, ...], outcome: ProposalState) -> None:
    set_reputations(chain, dao, 50, 50)
    proposal = propose(chain, dao)
    for voter, support in enumerate(supports, start=1):
        chain.send(chain.accounts[voter], dao, reputation_dao.CAST_VOTE, proposal, support)
    chain.pass_time(PERIOD + 1)
    assert chain.call(dao, reputation_dao.STATE, proposal) is outcome


def test_a_second_vote_is_refused_and_changes_nothing(chain: Chain, dao: str) -> None:
    set_reputations(chain, dao, 50)
    proposal = propose(chain, dao)
    voter = chain.accounts[1]
    chain.send(voter, dao, reputation_dao.CAST_VOTE, proposal, Support.FOR)
    found = chain.refused(voter, dao, reputation_dao.CAST_VOTE, proposal, Support.AGAINST)
    assert found == refusal("AlreadyVoted", proposalId=proposal, voter=voter)
    votes = chain.call(dao, reputation_dao.PROPOSAL_VOTES, proposal)
    assert votes == reputation_dao.ProposalVotes(against=0, for_=50, abstain=0)


def test_a_vote_counts_for_its_sender_and_for_nobody_else(chain: Chain, dao: str) -> None:
    set_reputations(chain, dao, 50, 30)
    proposal = propose(chain, dao)
    chain.send(chain.accounts[2], dao, reputation_dao.CAST_VOTE, proposal, Support.FOR)
    assert not chain.call(dao, reputation_dao.HAS_VOTED, proposal, chain.accounts[1])
    assert chain.call(dao, reputation_dao.PROPOSAL_VOTES, proposal).for_ == 30


def test_other_refused_votes(chain: Chain, dao: str) -> None:
    set_reputations(chain, dao, 50)
    proposal = propose(chain, dao)
    stranger = chain.accounts[5]
    found = chain.refused(stranger, dao, reputation_dao.CAST_VOTE, proposal, Support.FOR)
    snapshot = chain.call(dao, reputation_dao.PROPOSAL_SNAPSHOT, proposal)
    assert found == refusal("NoReputation", voter=stranger, snapshot=snapshot)
    found = chain.refused(chain.accounts[1], dao, reputation_dao.CAST_VOTE, proposal, 3)
    assert found == refusal("InvalidSupport", support=3)
    found = chain.refused(chain.accounts[1], dao, reputation_dao.CAST_VOTE, 99, Support.FOR)
    assert found == refusal("NonexistentProposal", proposalId=99)
    assert not chain.call(dao, reputation_dao.HAS_VOTED, proposal, chain.accounts[1])


def test_a_proposal_needs_a_content(chain: Chain, dao: str) -> None:
    assert (
        chain.refused(chain.accounts[1], dao, reputation_dao.PROPOSE, bytes(32)).name == "InvalidContentHash"
    )


@pytest.mark.parametrize("proposal", [0, 1, 2**256 - 1])
@pytest.mark.parametrize(
    "function",
    [
        reputation_dao.STATE,
        reputation_dao.PROPOSAL_SNAPSHOT,
        reputation_dao.PROPOSAL_DEADLINE,
        reputation_dao.PROPOSAL_PROPOSER,
        reputation_dao.PROPOSAL_CONTENT_HASH,
        reputation_dao.PROPOSAL_VOTES,
    ],
    ids=lambda function: function.name,
)
def test_an_unknown_proposal_is_named(chain: Chain, dao: str, function: object, proposal: int) -> None:
    found = chain.call_refused(dao, function, proposal)  # type: ignore[arg-type]
    assert found == refusal("NonexistentProposal", proposalId=proposal)


def test_the_proposer_cancels_while_voting_lasts(chain: Chain, dao: str) -> None:
    set_reputations(chain, dao, 50)
    proposal = propose(chain, dao, sender=1)
    found = chain.refused(chain.accounts[2], dao, reputation_dao.CANCEL, proposal)
    expected = {"proposalId": proposal, "account": chain.accounts[2], "state": ProposalState.ACTIVE}
    assert found == refusal("CancelRefused", **expected)
    receipt = chain.send(chain.accounts[1], dao, reputation_dao.CANCEL, proposal)
    canceled = reputation_dao.PROPOSAL_CANCELED.decode(only(receipt.logs))
    assert canceled == reputation_dao.ProposalCanceled(proposal_id=proposal)
    assert chain.call(dao, reputation_dao.STATE, proposal) is ProposalState.CANCELED
    found = chain.refused(chain.accounts[1], dao, reputation_dao.CAST_VOTE, proposal, Support.FOR)
    assert found == refusal("VotingClosed", proposalId=proposal, state=ProposalState.CANCELED)
    assert chain.refused(chain.accounts[0], dao, reputation_dao.CANCEL, proposal).name == "CancelRefused"


def test_after_the_vote_only_the_admin_cancels(chain: Chain, dao: str) -> None:
    proposal = propose(chain, dao, sender=1)
    chain.pass_time(PERIOD + 1)
    found = chain.refused(chain.accounts[1], dao, reputation_dao.CANCEL, proposal)
    assert found.arguments["state"] == ProposalState.DEFEATED
    chain.send(chain.accounts[0], dao, reputation_dao.CANCEL, proposal)
    assert chain.call(dao, reputation_dao.STATE, proposal) is ProposalState.CANCELED
    assert chain.refused(chain.accounts[0], dao, reputation_dao.CANCEL, 9).name == "NonexistentProposal"


def test_reputation_is_remembered_for_every_timepoint(chain: Chain, dao: str) -> None:
    voter = chain.accounts[1]
    set_reputations(chain, dao, 50, 8)
    first = chain.timestamp
    chain.pass_time(100)
    receipt = chain.send(chain.accounts[0], dao, reputation_dao.SET_REPUTATIONS, [voter], [20])
    second = chain.timestamp
    changed = reputation_dao.REPUTATION_SET.decode(only(receipt.logs))
    expected = reputation_dao.ReputationSet(voter=voter, previous_reputation=50, reputation=20)
    assert changed == expected
    chain.pass_time(1)
    for timepoint, votes, total in (
        (first - 1, 0, 0),
        (first, 50, 58),
        (second - 1, 50, 58),
        (second, 20, 28),
    ):
        assert chain.call(dao, reputation_dao.GET_PAST_VOTES, voter, timepoint) == votes
        assert chain.call(dao, reputation_dao.GET_PAST_TOTAL_SUPPLY, timepoint) == total
    assert chain.call(dao, reputation_dao.GET_VOTES, voter) == 20


@pytest.mark.parametrize("ahead", [0, 1, 2**200])
def test_a_timepoint_that_may_still_change_is_not_told(chain: Chain, dao: str, ahead: int) -> None:
    now = chain.timestamp
    expected = refusal("ERC5805FutureLookup", timepoint=now + ahead, clock=now)
    assert chain.call_refused(dao, reputation_dao.GET_PAST_TOTAL_SUPPLY, now + ahead) == expected
    assert chain.call_refused(dao, reputation_dao.GET_PAST_VOTES, dao, now + ahead) == expected


def test_of_a_voter_named_twice_the_last_amount_counts(chain: Chain, dao: str) -> None:
    voter = chain.accounts[1]
    chain.send(chain.accounts[0], dao, reputation_dao.SET_REPUTATIONS, [voter, voter], [50, 20])
    timepoint = chain.timestamp
    chain.mine(1)
    assert chain.call(dao, reputation_dao.GET_PAST_VOTES, voter, timepoint) == 20
    assert chain.call(dao, reputation_dao.GET_PAST_TOTAL_SUPPLY, timepoint) == 20


def test_refused_reputations_change_nothing(chain: Chain, dao: str) -> None:
    admin, voter, nobody = chain.accounts[0], chain.accounts[1], "0x" + "00" * 20
    found = chain.refused(voter, dao, reputation_dao.SET_REPUTATIONS, [voter], [1])
    role = reputation_dao.DEFAULT_ADMIN_ROLE
    assert found == refusal("AccessControlUnauthorizedAccount", account=voter, neededRole=role)
    found = chain.refused(admin, dao, reputation_dao.SET_REPUTATIONS, [voter], [1, 2])
    assert found == refusal("BatchLengthMismatch", voters=1, amounts=2)
    found = chain.refused(admin, dao, reputation_dao.SET_REPUTATIONS, [voter, nobody], [1, 2])
    assert found == refusal("InvalidVoter", voter=nobody)
    most = 2**208 - 1
    found = chain.refused(admin, dao, reputation_dao.SET_REPUTATIONS, chain.accounts[1:3], [most, 1])
    assert found == refusal("SafeCastOverflowedUintDowncast", bits=208, value=2**208)
    assert chain.call(dao, reputation_dao.GET_VOTES, voter) == 0


def test_a_new_admin_may_set_reputations(chain: Chain, dao: str) -> None:
    role = reputation_dao.DEFAULT_ADMIN_ROLE
    chain.send(chain.accounts[0], dao, reputation_dao.GRANT_ROLE, role, chain.accounts[4])
    assert chain.call(dao, reputation_dao.HAS_ROLE, role, chain.accounts[4])
    chain.send(chain.accounts[4], dao, reputation_dao.SET_REPUTATIONS, [chain.accounts[1]], [1])
    chain.send(chain.accounts[4], dao, reputation_dao.REVOKE_ROLE, role, chain.accounts[0])
    chain.send(chain.accounts[4], dao, reputation_dao.RENOUNCE_ROLE, role, chain.accounts[4])
    assert not chain.call(dao, reputation_dao.HAS_ROLE, role, chain.accounts[0])
    assert not chain.call(dao, reputation_dao.HAS_ROLE, role, chain.accounts[4])


def test_a_clock_of_blocks_ignores_time(chain: Chain) -> None:
    dao = chain.deploy("ReputationDao", chain.accounts[0], 3, ClockUnit.BLOCK_NUMBER)
    assert chain.call(dao, reputation_dao.CLOCK_MODE) == "mode=blocknumber&from=default"
    set_reputations(chain, dao, 50)
    receipt = chain.send(chain.accounts[1], dao, reputation_dao.PROPOSE, HASH)
    assert chain.call(dao, reputation_dao.PROPOSAL_SNAPSHOT, 1) == receipt.block_number
    assert chain.call(dao, reputation_dao.PROPOSAL_DEADLINE, 1) == receipt.block_number + 3
    chain.pass_time(10_000_000)
    chain.send(chain.accounts[1], dao, reputation_dao.CAST_VOTE, 1, Support.FOR)
    chain.mine(1)
    assert chain.call(dao, reputation_dao.STATE, 1) is ProposalState.ACTIVE
    chain.mine(1)
    assert chain.call(dao, reputation_dao.STATE, 1) is ProposalState.SUCCEEDED
