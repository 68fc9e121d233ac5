"""Pools over a local chain whose addresses misbehave, each in its own way: the truth or a named error."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import pytest

from contracts.artifacts import load
from contracts.bindings import deploy_data, reputation_dao
from contracts.bindings.reputation_dao import CLOCK, PROPOSAL_CREATED, PROPOSE
from contracts.rpc import (
    BlockMissing,
    HistoryPruned,
    LogsIncomplete,
    Node,
    NodeUnavailable,
    PoolSettings,
    StateMissing,
    TagUnsupported,
    WrongChain,
    bloom,
    logs_between,
)
from contracts.rpc import pool as pool_module
from hardhat_free_chain import ChainServer, ChainSettings
from hardhat_free_chain.faults import (
    Finality,
    HttpFailure,
    OtherChain,
    PrunedHistory,
    PrunedState,
    RangeLimit,
    RateLimit,
    Refusal,
    Rule,
    StaleHead,
    TruncatedLogs,
    WrongHashes,
)

PROPOSALS = 12
TOPICS = [PROPOSAL_CREATED.topic0]


@dataclass(slots=True)
class Stage:
    """A chain with a DAO and its proposals, the last block of which is `head`."""

    server: ChainServer
    dao: str
    head: int

    async def node(self, *faults: tuple[Rule, ...], quorum: int = 1) -> Node:
        """A node of one address for each argument, under the faults that it names."""
        endpoints = [await self.server.open_endpoint(*each, seed=7) for each in faults]
        settings = PoolSettings(quorum=quorum, patience_s=0.3)
        return Node([each.url for each in endpoints], chain_id=31337, timeout_s=5.0, settings=settings)


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "READ_PAUSES_S", (0.01, 0.01))


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with ChainServer(ChainSettings(chain_id=31337)) as server, Node(server.url) as node:
        (admin, *_) = await node.request("eth_accounts", [])

        async def transact(to: str | None, data: bytes) -> str | None:
            fields = {"from": admin, "data": "0x" + data.hex(), "gas": hex(8_000_000)}
            sent = await node.request("eth_sendTransaction", [fields | ({"to": to} if to else {})])
            receipt = await node.receipt(bytes.fromhex(sent[2:]))
            assert receipt is not None
            assert receipt.status == 1
            return receipt.contract_address

        dao = await transact(None, deploy_data(load(reputation_dao.NAME), admin, 5, 0))
        assert dao is not None
        for number in range(1, PROPOSALS + 1):
            await transact(dao, PROPOSE.encode(bytes([number]) * 32))
        yield Stage(server=server, dao=dao, head=(await node.header("latest")).number)


async def created(stage: Stage, node: Node) -> int:
    return len(await node.logs(stage.dao, TOPICS, 0, stage.head))


async def test_a_stale_head_does_not_hide_logs(stage: Stage) -> None:
    async with await stage.node((StaleHead(blocks=4),), ()) as node:
        for _ in range(8):
            assert await created(stage, node) == PROPOSALS
    # A balancer that answers each request from another replica is seen through by comparing alone.
    async with await stage.node((StaleHead(blocks=4, probability=0.5),), (), (), quorum=2) as node:
        for _ in range(8):
            assert await created(stage, node) == PROPOSALS


async def test_a_stale_head_does_not_shorten_a_page_of_a_single_endpoint(stage: Stage) -> None:
    async with await stage.node((StaleHead(blocks=4),)) as node:
        with pytest.raises(BlockMissing, match=str(stage.head)):
            await logs_between(node, stage.dao, TOPICS, 0, stage.head)
        assert len(await logs_between(node, stage.dao, TOPICS, 0, stage.head - 4)) == PROPOSALS - 4


async def test_truncated_logs_are_outvoted(stage: Stage) -> None:
    async with await stage.node((TruncatedLogs(keep=3),), (), (), quorum=2) as node:
        assert await created(stage, node) == PROPOSALS
        assert sum(each.numbers.contradictions for each in node.pool.endpoints) <= 1


async def test_truncated_logs_are_told_by_the_filter_of_their_block(stage: Stage) -> None:
    async with await stage.node((TruncatedLogs(keep=0),)) as node:
        header = await node.header(stage.head)
        assert await node.logs_of_block(stage.dao, TOPICS, header.hash) == []
        assert header.logs_bloom is not None
        assert bloom.may_contain(header.logs_bloom, stage.dao, TOPICS), "an empty answer cannot be true"
        empty = await node.header(0)
        assert not bloom.may_contain(empty.logs_bloom or bytes(256), stage.dao, TOPICS)
        with pytest.raises(BlockMissing):
            await node.logs_of_block(stage.dao, TOPICS, b"\x77" * 32)


async def test_all_logs_of_a_block_account_for_its_filter_or_somebody_else_is_asked(stage: Stage) -> None:
    """What a damaged index hides stands in the receipts; where these are not told, another node is asked."""
    no_receipts = Refusal(methods=("eth_getBlockReceipts",), code=-32601, message="method not found")
    for faults in [()], [(TruncatedLogs(keep=0),)], [(TruncatedLogs(keep=0), no_receipts), ()]:
        async with await stage.node(*faults) as node:
            for header in await node.headers([0, stage.head - 1, stage.head]):
                complete = await node.complete_logs(stage.dao, TOPICS, header)
                assert [log.block_number for log in complete] == [header.number] * (header.number > 0)
            assert await node.complete_logs("0x" + "11" * 20, TOPICS, header) == []
            assert await node.complete_logs(stage.dao, [b"\x11" * 32], header) == []
            with pytest.raises(BlockMissing):
                await node.complete_logs(stage.dao, TOPICS, replace(header, hash=b"\x77" * 32))
    hiding = (TruncatedLogs(keep=0), no_receipts)
    for several in [hiding], [hiding, hiding]:
        async with await stage.node(*several) as node:
            with pytest.raises(LogsIncomplete, match=f"the filter of block {stage.head}"):
                await node.complete_logs(stage.dao, TOPICS, header)


async def test_many_headers_come_by_one_batch_and_of_one_chain(stage: Stage) -> None:
    contradicted = await stage.node((WrongHashes(since=5),), (), (), quorum=2)
    async with contradicted as node, Node(stage.server.url) as honest:
        numbers = [3, 9, 7, stage.head]
        assert await node.headers(numbers) == [await honest.header(number) for number in numbers]
        asked = honest.pool.endpoints[0].numbers
        singly = sum(asked.latencies)
        assert await honest.headers(numbers) == await node.headers(numbers)
        assert sum(asked.latencies) == singly + 1
        assert await honest.headers([]) == []
        with pytest.raises(BlockMissing):
            await honest.headers([stage.head, stage.head + 1])


async def test_wrong_hashes_are_outvoted_and_never_mixed(stage: Stage) -> None:
    async with await stage.node((), (WrongHashes(since=5),), (), quorum=2) as node:
        async with Node(stage.server.url) as honest:
            for number in (3, 7, stage.head):
                assert (await node.header(number)).hash == (await honest.header(number)).hash
        assert await created(stage, node) == PROPOSALS


LIMITS = [
    *(RangeLimit(provider=name, blocks=3) for name in ("ankr", "alchemy", "bsc", "quicknode", "reth")),
    *(RangeLimit(provider=name, results=3) for name in ("geth", "infura")),
]


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.provider)
async def test_ranges_are_learnt_in_every_providers_words(stage: Stage, limit: RangeLimit) -> None:
    async with await stage.node((limit,)) as node:
        assert len(await logs_between(node, stage.dao, TOPICS, 0, stage.head)) == PROPOSALS
        assert node.pool.endpoints[0].span.blocks <= 6


async def test_limits_are_waited_for_or_passed_on(stage: Stage) -> None:
    async with await stage.node((RateLimit(requests=4, seconds=30.0),), ()) as node:
        node.pool.endpoints[1].latency_s = 9.0
        for _ in range(10):
            assert await created(stage, node) == PROPOSALS
        assert node.pool.endpoints[0].numbers.rested_s > 0
    with pytest.raises(NodeUnavailable, match="HTTP 503"):
        async with await stage.node((HttpFailure(status=503),)):
            pass


async def test_what_is_gone_from_a_node_is_named(stage: Stage) -> None:
    async with await stage.node((PrunedHistory(before=8),)) as node:
        with pytest.raises(HistoryPruned):
            await node.logs(stage.dao, TOPICS, 0, 5)
    async with await stage.node((PrunedHistory(before=8),), ()) as node:
        assert await created(stage, node) == PROPOSALS
    async with await stage.node((PrunedState(keep=2),)) as node:
        with pytest.raises(StateMissing):
            await node.call(stage.dao, CLOCK.encode(), stage.head - 5)
    async with await stage.node((PrunedState(keep=2),), ()) as node:
        assert CLOCK.decode(await node.call(stage.dao, CLOCK.encode(), stage.head - 5)) == stage.head - 5
    async with await stage.node((Finality(missing=True),)) as node:
        with pytest.raises((BlockMissing, TagUnsupported)):
            await node.header("finalized")


async def test_another_chain_behind_an_address(stage: Stage) -> None:
    with pytest.raises(WrongChain):
        async with await stage.node((), (OtherChain(chain_id=1),)):
            pass
