"""The local chain: many events, transactions, reorganisations, and the clean slate of a test."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from statistics import median

from benchmarks.chain.stage import VOTES, Figure, cast_votes
from contracts.rpc import Node
from hardhat_free_chain import ChainServer, ChainSettings
from hardhat_free_chain.faults import Finality, PrunedState, StaleHead, TruncatedLogs
from tests.chain_support import ACCOUNTS, signed

EVENTS = 10_000
LIMIT_S = 0.5
DEPTH = 64
TRANSACTIONS = 200
READS = 300
# None of these changes an answer here; each looks at every request.
IDLE_RULES = (StaleHead(blocks=0), Finality(lag=0), PrunedState(keep=10**6), TruncatedLogs(keep=10**6))


async def measure(rounds: int) -> list[Figure]:
    """Return medians over the rounds, all over HTTP but for reorganisations and snapshots."""
    async with ChainServer(ChainSettings()) as server, Node(server.url, timeout_s=60.0) as node:
        first, last = await cast_votes(node, EVENTS)
        query = {"address": VOTES, "fromBlock": hex(first), "toBlock": hex(last)}
        logs_s = await _median(rounds, lambda: node.request("eth_getLogs", [query]))
        sending_s = await _sending(node)
        reorg_s = await _median(rounds, lambda: server.run(server.chain.reorg, DEPTH))
        slate_s = await _median(rounds, lambda: _clean_slate(server))
        endpoint = await server.open_endpoint(*IDLE_RULES)
        async with Node(endpoint.url, timeout_s=60.0) as faulty:
            plain_s = await _median(rounds, lambda: _reads(node))
            ruled_s = await _median(rounds, lambda: _reads(faulty))
    return [
        Figure(
            name="local chain: eth_getLogs of 10,000 events",
            value=f"{logs_s:.3f} s",
            target=f"{LIMIT_S:g} s",
            met=logs_s < LIMIT_S,
        ),
        Figure(
            name="local chain: transfers mined one by one", value=f"{TRANSACTIONS / sending_s:.0f} a second"
        ),
        Figure(
            name=f"local chain: reorg({DEPTH}), a transfer in each block", value=f"{1e3 * reorg_s:.0f} ms"
        ),
        Figure(name="local chain: snapshot, transfer, revert", value=f"{1e3 * slate_s:.1f} ms"),
        Figure(
            name="local chain: a read under four rules, beside none",
            value=f"{1e3 * ruled_s / READS:.2f} ms, {1e3 * plain_s / READS:.2f} ms",
        ),
    ]


async def _median(rounds: int, work: Callable[[], Awaitable[object]]) -> float:
    taken_s = []
    for _ in range(rounds):
        began = time.perf_counter()
        await work()
        taken_s.append(time.perf_counter() - began)
    return median(taken_s)


async def _sending(node: Node) -> float:
    start = await node.nonce(ACCOUNTS[1].address)
    raws = [signed(1, nonce=start + index) for index in range(TRANSACTIONS)]
    began = time.perf_counter()
    for raw in raws:
        await node.send_raw(raw)
    return time.perf_counter() - began


async def _clean_slate(server: ChainServer) -> None:
    number = await server.request("evm_snapshot")
    await server.request("eth_sendRawTransaction", "0x" + signed(2).hex())
    assert await server.request("evm_revert", number)


async def _reads(node: Node) -> None:
    for _ in range(READS):
        await node.balance(VOTES)
