"""Random votes on real Governors: what is read adds up to what the contract counted, voter by voter."""

from __future__ import annotations

import os
import random
from contextlib import suppress

import pytest

from contracts.bindings import governor
from contracts.bindings.governor import FRACTIONAL_SUPPORT
from contracts.bindings.proposal_scores import Rules
from contracts.rpc import CallReverted
from listener.invocation import request_of
from scorers.policy import Policy
from scorers.steps.eligibility import check_eligibility
from scorers.steps.proposal import proposal_facts
from scorers.steps.reputation import read_reputations, voters_of
from scorers.steps.score import calculate_score
from scorers.steps.votes import read_votes
from tests.governors import ACCOUNTS, ADMIN, Governance, fractions, governance

VOTERS = range(1, 9)
MOVES = 24
PERIOD = 60


@pytest.fixture
def chance() -> random.Random:
    """Chance for one test; `DAO_SCORER_SEED` brings a run back."""
    seed = int(os.environ.get("DAO_SCORER_SEED", random.randrange(2**32)))  # noqa: S311
    print("DAO_SCORER_SEED =", seed)  # noqa: T201
    return random.Random(seed)  # noqa: S311


async def _vote(chain: Governance, chance: random.Random, proposal_id: int, held: dict[int, int]) -> None:
    """Vote in any way that a Governor knows; it refuses what it does not allow."""
    voter, support = chance.choice(list(VOTERS)), chance.randrange(3)
    match chance.choice(["whole", "whole", "reason", "params", "split", "split", "override", "override"]):
        case "whole":
            await chain.vote(voter, governor.CAST_VOTE, proposal_id, support)
        case "reason":
            await chain.vote(voter, governor.CAST_VOTE_WITH_REASON, proposal_id, support, "because")
        case "params":
            await chain.vote(voter, governor.CAST_VOTE_WITH_PARAMS, proposal_id, support, "", b"\x01")
        case "split":
            parts = fractions(*(chance.randrange(held.get(voter, 0) // 2 + 1) for _ in range(3)))
            place = (proposal_id, FRACTIONAL_SUPPORT, "", parts)
            await chain.vote(voter, governor.CAST_VOTE_WITH_PARAMS, *place)
        case "override":
            await chain.vote(voter, governor.CAST_OVERRIDE_VOTE, proposal_id, support, "")


@pytest.mark.parametrize("name", ["SimpleGovernor", "FractionalGovernor", "OverridableGovernor"])
async def test_whatever_was_voted_adds_up(name: str, chance: random.Random) -> None:
    held = {voter: chance.choice([1, 10, 2**64, 2**100]) * chance.randrange(1, 9) for voter in VOTERS}
    async with governance("hardhat_free_chain") as chain:
        dao = await chain.found(name, period=PERIOD, weights=held)
        registry = await chain.deploy("ProposalScores", dao.address, ACCOUNTS[ADMIN][0], 0, 1, 0, Rules())
        for voter in VOTERS:
            if chance.random() < 0.5:
                await chain.delegate(voter, chance.choice(list(VOTERS)))
        proposal_id, receipt = await chain.propose("any")
        await chain.mine(3)
        for _ in range(MOVES):
            with suppress(CallReverted):
                await _vote(chain, chance, proposal_id, held)
        await chain.mine(PERIOD + 4)
        created = dao.created(receipt.logs[0])
        request = request_of(created, receipt.logs[0], chain_id=chain.chain_id, registry=registry)
        facts = await proposal_facts(chain.node, request)
        votes = await read_votes(chain.node, facts)
        reputations = await read_reputations(chain.node, facts, voters_of(votes.ballots))
    assert votes.tally == facts.tally
    assert votes.ballots, "a run in which nobody voted shows nothing"
    eligibility = check_eligibility(Policy(), votes.ballots, reputations, facts.form.counting)
    verdict = calculate_score(facts, votes.tally, eligibility)
    assert verdict.findings == []
    # With the smallest weight only what weighs nothing is left out: the counted sums are the DAO's.
    assert all(exclusion.ballot.weight == 0 for exclusion in eligibility.excluded)
    assert (verdict.for_votes, verdict.against_votes) == (facts.tally.for_votes, facts.tally.against_votes)
