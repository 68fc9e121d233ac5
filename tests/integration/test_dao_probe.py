"""Which DAO an address is, asked of real contracts on this project's chain and on anvil."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from contracts.bindings import governor, reputation_dao
from contracts.bindings.governor import ProposalState, Support
from contracts.dao import (
    BLOCK_CLOCK,
    TIMESTAMP_CLOCK,
    Counting,
    DaoError,
    DaoKind,
    UnknownClock,
    UnknownCounting,
    UnknownDao,
    WeightSource,
    clock_of,
    probe,
)
from contracts.rpc import NoCode
from tests.governors import ACCOUNTS, ADMIN, NOBODY, NODES, WEIGHTS, Governance, governance
from tests.page_programs import shown


@pytest.fixture(params=NODES)
async def chain(request: pytest.FixtureRequest) -> AsyncIterator[Governance]:
    async with governance(request.param) as made:
        yield made


@pytest.mark.parametrize(
    ("name", "counting"),
    [
        ("SimpleGovernor", Counting.SIMPLE),
        ("FractionalGovernor", Counting.FRACTIONAL),
        ("OverridableGovernor", Counting.OVERRIDABLE),
        ("LateQuorumGovernor", Counting.SIMPLE),
        ("SuperQuorumGovernor", Counting.SIMPLE),
    ],
)
async def test_a_governor_is_told(chain: Governance, name: str, counting: Counting) -> None:
    dao = await chain.found(name, seconds=name == "SimpleGovernor")
    assert (dao.form.kind, dao.form.counting) == (DaoKind.GOVERNOR, counting)
    assert dao.form.clock_mode == (TIMESTAMP_CLOCK if name == "SimpleGovernor" else BLOCK_CLOCK)
    assert dao.form.early_end == (name == "SuperQuorumGovernor")
    assert dao.form.token == (chain.token if counting is Counting.OVERRIDABLE else "")
    assert dao == await probe(chain.node, chain.governor.upper().replace("0X", "0x"))


async def test_bravo_is_told_by_its_ballot(chain: Governance) -> None:
    dao = await chain.found("BravoGovernor")
    assert (dao.form.kind, dao.form.counting) == (DaoKind.BRAVO, Counting.SIMPLE)
    assert (dao.form.weights, dao.form.token) == (WeightSource.PRIOR_VOTES, chain.token)
    assert (dao.form.counting_mode, dao.form.clock_mode, dao.mode) == ("", "", BLOCK_CLOCK)
    head = (await chain.node.header("latest")).number
    assert await clock_of(chain.node, dao, head) == head
    assert await clock_of(chain.node, dao, head - 2) == head - 2


async def test_the_own_dao_is_told(chain: Governance) -> None:
    address = await chain.deploy("ReputationDao", ACCOUNTS[ADMIN][0], 5, 1)
    await chain.mine(3)
    dao = await probe(chain.node, address)
    assert (dao.form.kind, dao.form.clock_mode) == (DaoKind.REPUTATION, TIMESTAMP_CLOCK)
    assert dao.creation_topic == reputation_dao.PROPOSAL_CREATED.topic0 != governor.PROPOSAL_CREATED.topic0


async def test_what_cannot_be_read_is_refused_by_name(chain: Governance) -> None:
    simple, strange = "support=bravo&quorum=for", "StrangeDao"
    refused: list[tuple[type[DaoError], str, str]] = [
        (
            UnknownCounting,
            await chain.deploy("StrangeDao", "support=ranked&quorum=for", BLOCK_CLOCK),
            "ranked",
        ),
        (
            UnknownCounting,
            await chain.deploy(strange, simple + "&params=mine", BLOCK_CLOCK),
            "params=mine",
        ),
        (UnknownClock, await chain.deploy(strange, simple, "mode=lunar"), "mode=lunar"),
        (UnknownClock, await chain.deploy(strange, simple, ""), "CLOCK_MODE ''"),
        (UnknownDao, await chain.deploy("AlphaGovernor"), "Governor Alpha"),
        (UnknownDao, await chain.deploy("VotesToken", False, [], []), "neither COUNTING_MODE"),
    ]
    await chain.mine(3)
    for kind, address, words in refused:
        with pytest.raises(kind, match=words) as caught:
            await probe(chain.node, address)
        assert caught.value.address == address
    with pytest.raises(NoCode):
        await probe(chain.node, NOBODY)
    with pytest.raises(NoCode):
        await probe(chain.node, refused[0][1], 0)


@pytest.mark.parametrize("name", ["SimpleGovernor", "BravoGovernor"])
async def test_one_face_for_all(chain: Governance, name: str) -> None:
    dao = await chain.found(name)
    proposal_id, receipt = await chain.propose("a proposal")
    created = dao.created(receipt.logs[0])
    assert (created.proposal_id, created.proposer) == (proposal_id, ACCOUNTS[ADMIN][0])
    assert receipt.logs[0].topics[0] == dao.creation_topic in dao.lifecycle_topics
    assert dao.proposal_of(receipt.logs[0]) == proposal_id
    await chain.mine(3)
    await chain.vote(3, governor.CAST_VOTE, proposal_id, int(Support.FOR))
    at = (await chain.node.header("latest")).number
    snapshot = dao.snapshot(proposal_id)
    timepoint = snapshot.decode(await chain.node.call(*snapshot.call, at))
    reads = [
        dao.state(proposal_id),
        dao.deadline(proposal_id),
        dao.votes(proposal_id),
        dao.weight(ACCOUNTS[3][0], timepoint),
    ]
    answers = await chain.node.call_many([each.call for each in reads], at)
    state, deadline, votes, weight = (
        each.decode(answer) for each, answer in zip(reads, answers, strict=True)
    )
    assert (state, timepoint) == (ProposalState.ACTIVE, receipt.block_number + 2)
    assert (deadline, weight) == (timepoint + 20, WEIGHTS[3])
    assert votes == governor.ProposalVotes(against=0, for_=WEIGHTS[3], abstain=0)
    await chain.mine(2)
    assert await _as_shown(chain, proposal_id) == (at, votes)


async def _as_shown(chain: Governance, proposal_id: int) -> Any:
    """Do what the page shows."""
    namespace: dict[str, Any] = {}
    exec(shown("docs/daos.md")[0], namespace)  # noqa: S102 - our own page
    return await namespace["standing"](chain.node, chain.governor, proposal_id)
