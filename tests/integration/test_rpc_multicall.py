"""Thousands of calls by few requests: the same outcomes as single calls, whatever the node takes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from contracts.artifacts import load, parse
from contracts.bindings import deploy_data, reputation_dao
from contracts.bindings.reputation_dao import CLOCK, PROPOSAL_DEADLINE
from contracts.rpc import CallReverted, NoCode, Node, NodeUnavailable, RpcError, RpcRefused
from contracts.rpc.aggregation import MULTICALL3
from contracts.rpc.metrics import PoolCollector
from contracts.rpc.multicall import Way
from contracts.rpc.refusals import ErrorObject
from hardhat_free_chain import ChainServer, ChainSettings
from orchestrator.testing import VirtualClock
from tests.anvil_node import anvil
from tests.rpc_truth import Truth, Voice, pool_of

AGGREGATOR = Path(__file__).parents[1] / "contracts/artifacts/Aggregator.json"
EMPTY = "0x" + "ee" * 20


@pytest.fixture(params=["hardhat_free_chain", "anvil", "anvil with Multicall3"])
async def node(request: pytest.FixtureRequest) -> AsyncIterator[Node]:
    if request.param == "hardhat_free_chain":
        async with ChainServer(ChainSettings()) as server, Node(server.url) as node:
            yield node
        return
    with anvil() as url:
        async with Node(url) as node:
            if request.param.endswith("Multicall3"):
                code = parse(AGGREGATOR.read_text()).deployed_bytecode
                await node.request("anvil_setCode", [MULTICALL3, "0x" + code.hex()])
            yield node


async def deployed(node: Node) -> str:
    (admin, *_) = await node.request("eth_accounts", [])
    data = "0x" + deploy_data(load(reputation_dao.NAME), admin, 5, 0).hex()
    sent = await node.request("eth_sendTransaction", [{"from": admin, "data": data, "gas": hex(8_000_000)}])
    await node.request("evm_mine", [])
    receipt = await node.receipt(bytes.fromhex(sent[2:]))
    assert receipt is not None
    assert receipt.contract_address is not None
    return receipt.contract_address


def told(outcome: bytes | RpcError) -> object:
    """What of an outcome has to be the same: the words of a revert are the node's own."""
    if isinstance(outcome, CallReverted):
        return "reverted", outcome.to, outcome.data
    return (type(outcome), str(outcome)) if isinstance(outcome, RpcError) else outcome


async def test_outcomes_are_those_of_single_calls(node: Node) -> None:
    dao = await deployed(node)
    calls = [
        (dao, CLOCK.encode()),
        (dao, PROPOSAL_DEADLINE.encode(9)),  # reverts with a reason
        (dao, b"\xde\xad\xbe\xef"),  # reverts without one
        (EMPTY, CLOCK.encode()),
        *((dao, PROPOSAL_DEADLINE.encode(number)) for number in range(30)),
        *((dao, CLOCK.encode()) for _ in range(270)),
    ]
    head = (await node.header("latest")).number
    together = await node.multicall(calls, head)
    singly = await node.call_each(calls, head)
    assert [told(each) for each in together] == [told(each) for each in singly]
    assert isinstance(together[1], CallReverted)
    assert "NonexistentProposal" in str(together[1])
    assert isinstance(together[3], NoCode)
    assert [told(each) for each in await node.multicall(calls)] == [told(each) for each in together]
    assert await node.multicall([]) == []


async def test_few_requests_are_made(node: Node) -> None:
    dao = await deployed(node)
    head = (await node.header("latest")).number
    numbers = node.pool.endpoints[0].numbers
    await node.multicall([(dao, CLOCK.encode())] * 2, head)
    before, together = numbers.requests.total(), node.pool.calls_together.total()
    assert len(await node.multicall([(dao, CLOCK.encode())] * 400, head)) == 400
    assert numbers.requests.total() - before <= 14
    assert node.pool.calls_together.total() - together == 400
    registry = CollectorRegistry()
    registry.register(PoolCollector(node.pool))
    found = {
        each.labels["way"]: each.value
        for family in registry.collect()
        for each in family.samples
        if each.name == "rpc_calls_together_total"
    }
    assert found == dict(node.pool.calls_together)


def test_a_node_that_takes_neither_is_read_by_batches() -> None:
    async def story() -> None:
        voice = Voice(endpoint="a", truth=Truth())

        def only_single(voice: Voice, method: str, params: object) -> object | None:
            if method != "eth_call":
                return None
            assert isinstance(params, list)
            if len(params[0]["data"]) > 20 or "to" not in params[0]:
                return ErrorObject(code=-32000, message="out of gas")
            return None

        voice.fault = only_single
        async with pool_of(voice) as node:
            calls = [("0x" + f"{number:040x}", b"\x01") for number in range(300)]
            assert await node.multicall(calls, 7) == [voice.truth.hash(7)] * 300
            assert node._multicall._way is Way.SINGLY
            voice.asked.clear()
            assert await node.multicall(calls, 7) == [voice.truth.hash(7)] * 300
            assert voice.asked["eth_call"] == 300

            voice.fault = lambda voice, method, _: ErrorObject(code=-32000, message="strange")
            assert all(isinstance(each, RpcRefused) for each in await node.multicall(calls, 7))

    VirtualClock().run(story())


def test_a_node_that_is_away_is_told_and_not_asked_for_less() -> None:
    async def story() -> None:
        voice = Voice(endpoint="a", truth=Truth())
        async with pool_of(voice) as node:

            def away(voice: Voice, method: str, params: object) -> None:
                raise NodeUnavailable("a", "it is away")

            voice.fault = away
            with pytest.raises(NodeUnavailable):
                await node.multicall([(EMPTY, b"\x01")] * 300, 7)
            assert voice.asked["eth_call"] <= 6

    VirtualClock().run(story())
