"""The listener's cycles on a real local chain: what is dispatched, when voting ends, what is remembered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from contracts.bindings.reputation_dao import ClockUnit
from contracts.rpc import Node, NodeUnavailable
from hardhat_free_chain.faults import TruncatedLogs
from listener import (
    FilterCheck,
    Listener,
    ListenerSettings,
    Progress,
    ProposalRequest,
    SqliteCursorStore,
    VotingEnded,
    score_promise_id,
    voting_ended_id,
)
from listener.dispatch import CONTENT_HASH_TAG
from orchestrator.domain import tags
from tests.listener_chain import CHAIN_ID, FINALITY_LAG, REGISTRY, VOTING_PERIOD, DaoChain, dao_chain
from tests.listener_engine import PromiseStore


@pytest.fixture
async def chain() -> AsyncIterator[DaoChain]:
    async with dao_chain() as chain:
        yield chain


@pytest.fixture
async def cursors(tmp_path: Path) -> AsyncIterator[SqliteCursorStore]:
    async with await SqliteCursorStore.open(tmp_path / "cursor.db") as store:
        yield store


@pytest.fixture
def engine() -> PromiseStore:
    return PromiseStore()


def listener_of(
    settings: ListenerSettings, node: Node, engine: PromiseStore, cursors: SqliteCursorStore, **more: Any
) -> Listener:
    return Listener(settings, node, cast(Any, engine), cursors, **more)


async def caught_up(listener: Listener) -> Progress:
    """Step until nothing is left to read."""
    for _ in range(1_000):
        progress = await listener.step()
        if progress.caught_up:
            return progress
    raise AssertionError("the listener never caught up")


def scores(engine: PromiseStore) -> list[str]:
    return sorted(each for each in engine.records if each.startswith("scoreProposal-"))


async def test_back_fill_reads_from_the_start_block_and_not_from_the_head(
    chain: DaoChain, engine: PromiseStore, cursors: SqliteCursorStore
) -> None:
    ids = await chain.propose(5)
    await chain.mine(30)
    listener = listener_of(chain.settings(range_blocks=7), chain.node, engine, cursors)

    progress = await caught_up(listener)

    assert scores(engine) == sorted(score_promise_id(CHAIN_ID, chain.dao, each) for each in ids)
    assert progress.dispatched == 5
    assert progress.cursor == progress.finalized == progress.head - FINALITY_LAG


async def test_what_a_nodes_index_has_lost_is_found_in_its_blocks(
    chain: DaoChain, engine: PromiseStore, cursors: SqliteCursorStore
) -> None:
    ids = await chain.propose(3)
    await chain.mine(30)
    ids += await chain.propose(2)
    await chain.finalize()
    assert chain.server is not None
    damaged = await chain.server.open_endpoint(TruncatedLogs(keep=0))
    settings = chain.settings(filter_check=FilterCheck.ALL)
    async with Node(damaged.url, chain_id=CHAIN_ID) as node:
        listener = listener_of(settings, node, engine, cursors)
        with pytest.raises(NodeUnavailable, match="no logs for block"):
            await listener.step()
        assert (await caught_up(listener)).hidden_logs == len(ids)
    assert scores(engine) == sorted(score_promise_id(CHAIN_ID, chain.dao, each) for each in ids)


async def test_only_finalised_proposals_are_dispatched(
    chain: DaoChain, engine: PromiseStore, cursors: SqliteCursorStore
) -> None:
    listener = listener_of(chain.settings(), chain.node, engine, cursors)
    await chain.propose()

    for _ in range(FINALITY_LAG):
        await caught_up(listener)
        assert scores(engine) == []
        await chain.mine(1)

    await caught_up(listener)
    assert len(scores(engine)) == 1


async def test_the_invocation_carries_the_log(
    chain: DaoChain, engine: PromiseStore, cursors: SqliteCursorStore
) -> None:
    (proposal_id,) = await chain.propose()
    await chain.finalize()
    await caught_up(listener_of(chain.settings(), chain.node, engine, cursors))

    promise_id = f"scoreProposal-{CHAIN_ID}-{chain.dao}-{proposal_id}"
    request = cast(ProposalRequest, engine.arguments[promise_id])
    header = await chain.node.header(request.block_number)
    assert request.proposal_id == str(proposal_id)
    assert (request.chain_id, request.dao, request.registry) == (CHAIN_ID, chain.dao, REGISTRY)
    assert request.content_hash == "0x" + chain.contents[0].hex()
    assert request.block_hash == "0x" + header.hash.hex()
    assert request.proposer == chain.admin
    record = engine.records[promise_id]
    assert record.tags[tags.TARGET] == "poll://any@proposal-scorers"
    assert record.tags["function"] == "score_proposal"
    assert record.tags[CONTENT_HASH_TAG] == request.content_hash


async def test_nothing_is_scored_before_its_voting_has_ended(
    chain: DaoChain, engine: PromiseStore, cursors: SqliteCursorStore
) -> None:
    (proposal_id,) = await chain.propose()
    created_at = (await chain.node.header("latest")).number
    ended_id = voting_ended_id(CHAIN_ID, chain.dao, proposal_id)
    listener = listener_of(chain.settings(), chain.node, engine, cursors)

    while (
        head := (await chain.node.header("latest")).number
    ) < created_at + VOTING_PERIOD + FINALITY_LAG + 1:
        progress = await caught_up(listener)
        assert ended_id not in engine.values, f"ended at head {head}, made at {created_at}"
        await chain.mine(1)
    progress = await caught_up(listener)

    ended = cast(VotingEnded, engine.values[ended_id])
    assert ended.deadline == created_at + VOTING_PERIOD
    assert ended.clock == ended.deadline + 1 == ended.block_number
    assert ended.reason == "ended"
    assert ended.block_hash == "0x" + (await chain.node.header(ended.block_number)).hash.hex()
    assert engine.records[ended_id].tags == {tags.EXTERNAL: "true", tags.SCOPE: "global"}
    assert (progress.open_proposals, progress.ended) == (0, 1)


async def test_a_clock_of_seconds_is_compared_in_seconds(
    engine: PromiseStore, cursors: SqliteCursorStore
) -> None:
    async with dao_chain(clock=ClockUnit.TIMESTAMP, voting_period=3_600) as chain:
        (proposal_id,) = await chain.propose()
        created = await chain.node.header("latest")
        ended_id = voting_ended_id(CHAIN_ID, chain.dao, proposal_id)
        listener = listener_of(chain.settings(), chain.node, engine, cursors)

        await chain.node.request("evm_setNextBlockTimestamp", [hex(created.timestamp + 3_600)])
        await chain.mine(1)
        at_deadline = (await chain.node.header("latest")).number
        # Many more blocks than the deadline's distance in seconds would be, were blocks counted.
        for _ in range(FINALITY_LAG):
            await chain.node.request("evm_setNextBlockTimestamp", [hex(2**33)]) if _ == 0 else None
            await chain.mine(1)
        finalized = await chain.node.header("finalized")
        assert finalized.number == at_deadline
        await caught_up(listener)
        assert ended_id not in engine.values

        await chain.mine(1)
        await caught_up(listener)
        ended = cast(VotingEnded, engine.values[ended_id])
        assert ended.deadline == created.timestamp + 3_600
        assert ended.clock > ended.deadline


async def test_a_cancelled_proposal_ends_at_once(
    chain: DaoChain, engine: PromiseStore, cursors: SqliteCursorStore
) -> None:
    first, second = await chain.propose(2)
    listener = listener_of(chain.settings(), chain.node, engine, cursors)
    await chain.finalize()
    await caught_up(listener)
    await chain.cancel(first)
    await caught_up(listener)
    assert engine.values == {}, "an unfinalised cancellation ends nothing"

    await chain.finalize()
    progress = await caught_up(listener)

    ended = cast(VotingEnded, engine.values[voting_ended_id(CHAIN_ID, chain.dao, first)])
    assert ended.reason == "canceled"
    assert ended.clock <= ended.deadline
    assert voting_ended_id(CHAIN_ID, chain.dao, second) not in engine.values
    assert progress.open_proposals == 1


async def test_a_restarted_listener_goes_on_at_its_cursor(
    chain: DaoChain, engine: PromiseStore, cursors: SqliteCursorStore
) -> None:
    await chain.propose(2)
    await chain.finalize()
    await caught_up(listener_of(chain.settings(), chain.node, engine, cursors))
    engine.asked.clear()
    await chain.propose(1)
    await chain.finalize()

    await caught_up(listener_of(chain.settings(), chain.node, engine, cursors))

    assert engine.asked["invoke"] == 1
    assert len(scores(engine)) == 3


async def test_a_lost_cursor_costs_a_re_scan_and_nothing_else(
    chain: DaoChain, engine: PromiseStore, cursors: SqliteCursorStore, tmp_path: Path
) -> None:
    await chain.propose(3)
    await chain.finalize()
    await caught_up(listener_of(chain.settings(), chain.node, engine, cursors))
    await chain.end_voting()
    await caught_up(listener_of(chain.settings(), chain.node, engine, cursors))
    before = dict(engine.records), dict(engine.values)

    async with await SqliteCursorStore.open(tmp_path / "fresh.db") as fresh:
        progress = await caught_up(listener_of(chain.settings(), chain.node, engine, fresh))

    assert (engine.records, engine.values) == before
    assert set(engine.made.values()) == {1}
    assert progress.open_proposals == 0


async def test_an_idle_cycle_asks_for_two_headers_and_no_more(
    chain: DaoChain, engine: PromiseStore, cursors: SqliteCursorStore
) -> None:
    await chain.propose(3)
    await chain.finalize()
    listener = listener_of(chain.settings(), chain.node, engine, cursors)
    await caught_up(listener)
    chain.node.requests_by_method.clear()

    await listener.step()

    assert chain.node.requests_by_method == {"eth_getBlockByNumber": 2}


async def test_open_proposals_are_read_in_batches_and_only_when_due(
    chain: DaoChain, engine: PromiseStore, cursors: SqliteCursorStore
) -> None:
    await chain.propose(5)
    await chain.finalize()
    listener = listener_of(chain.settings(), chain.node, engine, cursors)
    await caught_up(listener)
    chain.node.requests_by_method.clear()

    await chain.mine(1)
    await caught_up(listener)

    assert chain.node.requests_by_method["eth_call"] == 1, "the clock alone: no deadline has passed"
