"""From a Governor's events to a score on the chain: listener, engine and scorer together, on two nodes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from contracts.bindings import governor
from contracts.bindings.governor import Support
from contracts.dao import TIMESTAMP_CLOCK, Dao
from contracts.deployment import deploy_registry
from listener import Listener, ListenerSettings, SqliteCursorStore, score_promise_id
from listener.shapes import DaoShape
from orchestrator import Orchestrator, PromiseState
from orchestrator.client.outcomes import result_of
from scorers.registration import register_scoring
from scorers.values import ScoreOutcome
from tests.governors import ACCOUNTS, ADMIN, NODES, SCORER, SECOND_LAYER, Governance, governance
from tests.integration.test_governors_scored import mining
from tests.integration.test_scorers_workflow import _short_waits  # noqa: F401 - a fixture
from tests.scorers_chain import FAST, RETRY

pytestmark = pytest.mark.usefixtures("_short_waits")
LOOK_S = 0.02
LONG = 100_000
"""A vote whose deadline does not come in a test: it ends by a super-quorum or not at all."""


async def listened(chain: Governance, dao: Dao, proposal_id: int, folder: Path) -> ScoreOutcome:
    """Listen from the first block while the chain goes on; return the outcome of a proposal's scoring."""
    settings = ListenerSettings(
        chain_id=chain.chain_id, dao=dao.address, registry=chain.registry, poll_interval_s=LOOK_S
    )
    app = Orchestrator.local(":memory:", group="proposal-scorers")
    register_scoring(app, node=chain.node, signer=chain.signer(SCORER), sending=FAST, retry=RETRY)
    stop = asyncio.Event()
    async with app, await SqliteCursorStore.open(folder / "cursor.db") as store, mining(chain):
        listener = Listener(settings, chain.node, app, store, shape=DaoShape(settings, probing=True))
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            group.create_task(listener.run(stop))
            outcome = await _outcome(app, score_promise_id(chain.chain_id, dao.address, proposal_id))
            stop.set()
    return outcome


async def _outcome(app: Orchestrator, promise_id: str) -> ScoreOutcome:
    while True:
        page = await app.promises.search(tags={"resonate:origin": promise_id}, limit=1000)
        record = next((each for each in page.promises if each.id == promise_id), None)
        if record is not None and record.state is not PromiseState.PENDING:
            return result_of(record, ScoreOutcome)
        await asyncio.sleep(LOOK_S)


@pytest.mark.parametrize("node", NODES)
@pytest.mark.parametrize(
    ("name", "period"), [("SimpleGovernor", 20), ("BravoGovernor", 20), ("SuperQuorumGovernor", LONG)]
)
async def test_listened_and_scored(node: str, name: str, period: int, tmp_path: Path) -> None:
    async with governance(node) as chain:
        dao = await chain.found(name, period=period, weights={2: 200, 3: 700})
        chain.registry = await deploy_registry(chain.sender(ADMIN), dao, scorers=[ACCOUNTS[SCORER][0]])
        proposal_id, _ = await chain.propose("Pay the auditors")
        await chain.mine(3)
        await chain.vote(2, governor.CAST_VOTE, proposal_id, int(Support.AGAINST))
        await chain.vote(3, governor.CAST_VOTE, proposal_id, int(Support.FOR))
        outcome = await listened(chain, dao, proposal_id, tmp_path)
    assert (outcome.for_votes, outcome.against_votes, outcome.score) == (700, 200, 5_555)
    assert outcome.transaction_hash is not None


@pytest.mark.parametrize("node", NODES)
async def test_a_clock_of_seconds_is_heeded(node: str, tmp_path: Path) -> None:
    async with governance(node) as chain:
        dao = await chain.found("SimpleGovernor", seconds=True, period=3_600, weights={2: 200, 3: 700})
        assert dao.mode == TIMESTAMP_CLOCK
        chain.registry = await deploy_registry(chain.sender(ADMIN), dao, scorers=[ACCOUNTS[SCORER][0]])
        proposal_id, _ = await chain.propose("Pay the auditors")
        await chain.pass_time(20)
        await chain.vote(2, governor.CAST_VOTE, proposal_id, int(Support.AGAINST))
        await chain.vote(3, governor.CAST_VOTE, proposal_id, int(Support.FOR))
        await chain.pass_time(3_600)
        outcome = await listened(chain, dao, proposal_id, tmp_path)
    assert (outcome.for_votes, outcome.against_votes, outcome.score) == (700, 200, 5_555)
    assert outcome.transaction_hash is not None


@pytest.mark.parametrize("name", ["SimpleGovernor", "BravoGovernor"])
async def test_a_clock_of_another_chain_is_heeded(name: str, tmp_path: Path) -> None:
    """Where contracts see the first layer's blocks, those of the RPC end no vote, clock() or not."""
    async with governance(SECOND_LAYER) as chain:
        dao = await chain.found(name, period=20, weights={2: 200, 3: 700})
        chain.registry = await deploy_registry(chain.sender(ADMIN), dao, scorers=[ACCOUNTS[SCORER][0]])
        proposal_id, receipt = await chain.propose("Pay the auditors")
        await chain.mine(9)
        await chain.vote(2, governor.CAST_VOTE, proposal_id, int(Support.AGAINST))
        await chain.vote(3, governor.CAST_VOTE, proposal_id, int(Support.FOR))
        voted = (await chain.node.header("latest")).number
        outcome = await listened(chain, dao, proposal_id, tmp_path)
        ended = (await chain.node.header("latest")).number
    assert (outcome.for_votes, outcome.against_votes, outcome.score) == (700, 200, 5_555)
    assert outcome.transaction_hash is not None
    assert voted < receipt.block_number + 20 < receipt.block_number + 60 < ended, "twenty blocks of the first"
