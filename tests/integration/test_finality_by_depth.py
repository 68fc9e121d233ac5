"""A chain whose nodes know no finality tag: with a depth everything works, without one nothing is guessed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from contracts.bindings import proposal_scores
from contracts.bindings.reputation_dao import CLOCK, Support
from contracts.rpc import BlockMissing, Node, RpcRefused
from hardhat_free_chain.faults import Finality
from listener import Listener, ListenerSettings, SqliteCursorStore
from listener.shapes import DaoShape
from scorers.values import ScoreOutcome, ScoreStatus
from tests.scorers_chain import World, world

DEPTH = 2


@pytest.fixture
async def untagged() -> AsyncIterator[tuple[World, str]]:
    async with world() as made:
        await made.reputations({2: 10, 3: 20})
        yield made, (await made.server.open_endpoint(Finality(missing=True))).url


async def test_final_is_so_deep_and_nothing_else(untagged: tuple[World, str]) -> None:
    made, url = untagged
    async with Node(url, chain_id=made.chain_id) as plain:
        node = plain.with_finality(DEPTH)
        head = (await node.header("latest")).number
        assert (await node.header("finalized")).number == head - DEPTH
        assert CLOCK.decode(await node.call(made.dao, CLOCK.encode(), "finalized")) == head - DEPTH
        assert CLOCK.decode(await node.simulate(made.dao, made.dao, CLOCK.encode(), block="finalized"))
        assert await node.nonce("0x" + "11" * 20, "finalized") == 0
        assert (await plain.with_finality(0).header("finalized")).number == head
        assert (await plain.with_finality(10_000).header("finalized")).number == 0
        with pytest.raises((BlockMissing, RpcRefused)):
            await node.with_finality(None).header("finalized")
    async with Node(made.server.url) as tagged:
        assert (await tagged.with_finality(DEPTH).header("finalized")).number == head - DEPTH


async def test_a_proposal_is_dispatched_scored_and_submitted(
    untagged: tuple[World, str], tmp_path: Path
) -> None:
    made, url = untagged
    request = await made.propose()
    await made.mine()
    await made.vote(2, request, Support.FOR)
    await made.mine(30)
    settings = ListenerSettings(
        chain_id=made.chain_id, dao=made.dao, registry=made.registry, finality_depth=DEPTH
    )
    node = Node(url, chain_id=made.chain_id).with_finality(DEPTH)
    async with node, made.scoring(node=node) as app, await SqliteCursorStore.open(tmp_path / "c.db") as store:
        listener = Listener(settings, node, app, store, shape=DaoShape(settings, probing=True))
        while not (await listener.step()).caught_up:
            pass
        scoring = asyncio.create_task((await app.get(request.promise_id)).result())
        async with asyncio.timeout(120):
            while not scoring.done():
                await made.mine()
                await asyncio.sleep(0.05)
        outcome = scoring.result()
    assert isinstance(outcome, ScoreOutcome)
    assert (outcome.status, outcome.for_votes, outcome.score) == (ScoreStatus.SCORED, 10, 10_000)
    head = (await made.node.header("latest")).number
    topic = proposal_scores.SCORE_SUBMITTED.topic0
    assert len(await made.node.logs(made.registry, [topic], 0, head)) == 1
