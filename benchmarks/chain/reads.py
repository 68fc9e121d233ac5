"""1,000 reads of past voting power by Multicall3 on anvil, beside a JSON-RPC batch of them."""

from __future__ import annotations

import time
from statistics import median

from benchmarks.chain.stage import ARTIFACTS, Figure, node_on_anvil, put_multicall3
from contracts.artifacts import parse
from contracts.bindings import deploy_data
from contracts.bindings.votes_token import GET_PAST_VOTES
from contracts.rpc import Call, Node

READS = 1_000
LIMIT_S = 0.2


async def measure(rounds: int) -> list[Figure]:
    """Return the medians of both, taken in turns."""
    together_s, batch_s = [], []
    async with node_on_anvil() as (node, _):
        await put_multicall3(node)
        calls, block = await _voters(node)
        for _ in range(rounds):
            began = time.perf_counter()
            together = await node.multicall(calls, block)
            votes = [GET_PAST_VOTES.decode(each) for each in together if isinstance(each, bytes)]
            together_s.append(time.perf_counter() - began)
            assert len(votes) == READS
            began = time.perf_counter()
            assert await node.call_each(calls, block) == together
            batch_s.append(time.perf_counter() - began)
    taken_s = median(together_s)
    return [
        Figure(
            name="1,000 reads of voting power by Multicall3",
            value=f"{taken_s:.3f} s",
            target=f"{LIMIT_S:g} s",
            met=taken_s < LIMIT_S,
        ),
        Figure(name="the same by JSON-RPC batches", value=f"{median(batch_s):.3f} s"),
    ]


async def _voters(node: Node) -> tuple[list[Call], int]:
    """Deploy a token with votes; return the reads, and the block at which they are made."""
    (holder, *_) = await node.request("eth_accounts", [])
    token = parse((ARTIFACTS / "VotesToken.json").read_text())
    fields = {"from": holder, "data": "0x" + deploy_data(token, False, [], []).hex(), "gas": hex(8_000_000)}
    sent = await node.request("eth_sendTransaction", [fields])
    await node.request("evm_mine", [])
    receipt = await node.receipt(bytes.fromhex(sent[2:]))
    assert receipt is not None
    assert receipt.contract_address is not None
    await node.request("anvil_mine", [hex(3)])
    block = (await node.header("latest")).number
    voters = [f"0x{number:040x}" for number in range(1, READS + 1)]
    return [(receipt.contract_address, GET_PAST_VOTES.encode(each, block - 1)) for each in voters], block
