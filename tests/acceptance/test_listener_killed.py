"""Listeners as real processes, killed with SIGKILL on either side of every durable step (C1, C2)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from contracts.bindings.reputation_dao import ClockUnit
from contracts.rpc import Node
from listener import ProposalRequest, VotingEnded, score_promise_id, voting_ended_id
from orchestrator.client.codec import decode, decode_value
from orchestrator.client.invocation import read_invocation
from orchestrator.engine import Engine
from orchestrator.protocol.commands import PromiseSearch
from orchestrator.protocol.records import PromiseRecord, PromiseState
from orchestrator.server import ServerSettings, create_app, listening
from orchestrator.store import open_store
from orchestrator.transport.http import HttpTransport
from tests.acceptance.conftest import CHAINS, LOCAL
from tests.acceptance.listener_process import Job, listen, run_process
from tests.anvil_node import SOON_FINAL, anvil
from tests.listener_chain import CHAIN_ID, VOTING_PERIOD, DaoChain, dao_at, dao_chain

pytestmark = pytest.mark.acceptance
KILLED = -9
POINTS = [
    "before:1:rpc eth_getLogs",
    "after:2:rpc eth_getLogs",
    "before:1:promise.create scoreProposal",
    "after:1:promise.create scoreProposal",
    "before:3:promise.create scoreProposal",
    "before:1:store advance",
    "after:1:store advance",
    "before:3:store advance",
    "before:1:promise.create votingEnded",
    "after:1:promise.create votingEnded",
    "before:2:promise.settle votingEnded",
    "after:2:promise.settle votingEnded",
    "before:1:store record",
    "after:1:store record",
]


@dataclass(slots=True, kw_only=True)
class World:
    """A chain with proposals of every kind, an orchestrator, and a folder for cursors."""

    chain: DaoChain
    server: str
    folder: Path
    voted: list[int]
    canceled: int

    def job(self, name: str, kill: str | None = None) -> Job:
        settings = self.chain.settings(range_blocks=3, dispatch_concurrency=2, poll_interval_s=0.02)
        cursor = str(self.folder / f"{name}.db")
        return Job(rpc=self.chain.url, server=self.server, cursor=cursor, settings=settings, kill=kill)

    async def promises(self) -> dict[str, PromiseRecord]:
        transport = HttpTransport(self.server)
        try:
            page = await transport.call(PromiseSearch(limit=1000))
        finally:
            await transport.close()
        return {record.id: record for record in page.promises}


@asynccontextmanager
async def chain_of(served_by: str) -> AsyncIterator[DaoChain]:
    if served_by == LOCAL:
        async with dao_chain() as chain:
            yield chain
        return
    with anvil(*SOON_FINAL) as url:
        async with dao_at(url, ClockUnit.BLOCK_NUMBER, VOTING_PERIOD) as chain:
            yield chain


@asynccontextmanager
async def world_at(folder: Path, served_by: str) -> AsyncIterator[World]:
    store = open_store(f"sqlite:///{folder / 'engine.db'}")
    async with chain_of(served_by) as chain, Engine(store) as engine:
        ids = await chain.propose(4)
        await chain.cancel(ids[1])
        await chain.end_voting()
        async with listening(create_app(engine, ServerSettings(port=0))) as url:
            voted = [each for each in ids if each != ids[1]]
            yield World(chain=chain, server=url, folder=folder, voted=voted, canceled=ids[1])


async def check(world: World, before: dict[str, PromiseRecord]) -> None:
    """Everything that is on the chain is there, once, right, and as it was when it was written first."""
    after = await world.promises()
    ids = [*world.voted, world.canceled]
    expected = [score_promise_id(CHAIN_ID, world.chain.dao, each) for each in ids]
    expected += [voting_ended_id(CHAIN_ID, world.chain.dao, each) for each in ids]
    assert sorted(after) == sorted(expected)
    for promise_id, record in before.items():
        assert after[promise_id].created_at == record.created_at
        assert after[promise_id].param == record.param
        assert record.pending or after[promise_id] == record, "a settled promise has changed"
    for each in ids:
        _check_request(world, each, after[score_promise_id(CHAIN_ID, world.chain.dao, each)])
        await _check_end(world, each, after[voting_ended_id(CHAIN_ID, world.chain.dao, each)])


def _check_request(world: World, proposal_id: int, record: PromiseRecord) -> None:
    assert record.pending, "no worker runs here"
    invocation = read_invocation(record)
    (argument,) = invocation.args
    request = decode(argument, ProposalRequest, "request")
    assert isinstance(request, ProposalRequest)
    assert (invocation.function, request.proposal_id) == ("score_proposal", str(proposal_id))
    assert request.content_hash == "0x" + world.chain.contents[proposal_id - 1].hex()


async def _check_end(world: World, proposal_id: int, record: PromiseRecord) -> None:
    assert record.state is PromiseState.RESOLVED
    ended = decode_value(record.value, VotingEnded, "end")
    assert isinstance(ended, VotingEnded)
    assert ended.reason == ("canceled" if proposal_id == world.canceled else "ended")
    async with Node(world.chain.url) as node:
        assert ended.block_hash == "0x" + (await node.header(ended.block_number)).hash.hex()
        assert ended.block_number <= (await node.header("finalized")).number


@pytest.mark.parametrize("served_by", CHAINS)
@pytest.mark.parametrize("point", POINTS)
async def test_a_listener_killed_anywhere_loses_and_doubles_nothing(
    point: str, served_by: str, tmp_path: Path
) -> None:
    async with asyncio.timeout(100), world_at(tmp_path, served_by) as world:
        code, _ = await run_process(world.job("cursor", point))
        assert code == KILLED, "the process came to its end before its place to die"
        before = await world.promises()

        progress = await listen(world.job("cursor"))

        assert (progress.open_proposals, progress.parked_proposals) == (0, 0)
        await check(world, before)


@pytest.mark.parametrize("served_by", CHAINS)
async def test_two_listeners_side_by_side_one_of_them_killed(served_by: str, tmp_path: Path) -> None:
    async with asyncio.timeout(100), world_at(tmp_path, served_by) as world:
        outcomes = await asyncio.gather(
            run_process(world.job("one")),
            run_process(world.job("shared", "before:2:store advance")),
            run_process(world.job("shared")),
        )
        codes = sorted(code for code, _ in outcomes)
        assert codes in ([KILLED, 0, 0], [0, 0, 0]), "the shared cursor may have left nothing to die at"
        await check(world, {})
