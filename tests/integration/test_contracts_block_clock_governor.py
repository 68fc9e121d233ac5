"""BlockClockGovernor on py-evm: a clock beside a Governor that has none, and nothing else of its own."""

from contracts.bindings import block_clock_governor, reputation_dao
from contracts.bindings.reputation_dao import ClockUnit, ProposalState
from tests.contracts_chain import Chain, only, refusal

PERIOD = 5


def test_it_answers_what_the_governor_does_and_counts_blocks() -> None:
    """Any contract with `proposalSnapshot` and `state` stands for an OpenZeppelin Governor before 4.9."""
    chain = Chain()
    asked = chain.deploy("ReputationDao", chain.accounts[0], PERIOD, ClockUnit.BLOCK_NUMBER)
    beside = chain.deploy(block_clock_governor.NAME, asked, False)
    receipt = chain.send(chain.accounts[0], asked, reputation_dao.PROPOSE, b"\x07" * 32)
    number = reputation_dao.PROPOSAL_CREATED.decode(only(receipt.logs)).proposal_id
    snapshot = chain.call(asked, reputation_dao.PROPOSAL_SNAPSHOT, number)
    assert chain.call(beside, reputation_dao.PROPOSAL_SNAPSHOT, number) == snapshot > 0
    assert chain.call(beside, reputation_dao.CLOCK) == chain.call(asked, reputation_dao.CLOCK)
    assert chain.call(beside, reputation_dao.CLOCK_MODE) == "mode=blocknumber&from=default"
    assert chain.call(beside, block_clock_governor.GOVERNOR) == asked
    assert chain.call(beside, block_clock_governor.IS_BRAVO) is False
    chain.mine(PERIOD + 1)
    assert chain.call(beside, reputation_dao.STATE, number) is ProposalState.DEFEATED


def test_what_is_no_contract_is_no_governor() -> None:
    chain = Chain()
    found = chain.deploy_refused(block_clock_governor.NAME, chain.accounts[0], True)
    assert found == refusal("InvalidGovernor", governor=chain.accounts[0])
