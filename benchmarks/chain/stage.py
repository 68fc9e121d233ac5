"""anvil with something to read: a contract that casts votes by the thousand, and Multicall3's function."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from contracts.artifacts import parse
from contracts.bindings.reputation_dao import VOTE_CAST
from contracts.rpc import Node
from contracts.rpc.aggregation import MULTICALL3
from tests.anvil_node import anvil

VOTES = "0x" + "c0" * 20
ARTIFACTS = Path(__file__).parents[2] / "tests/contracts/artifacts"
_EVENTS_IN_TRANSACTION = 2_000
# Emits VoteCast(caller, n, 1, n, "") for n from the first word of the call data down to 1.
_CASTER = bytes.fromhex(
    "608060605260016020526000355b80156049578060005280604052337f"
    f"{VOTE_CAST.topic0.hex()}60a06000a260019003600d565b00"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of the report; `target` says what it is held against, `met` whether it holds."""

    name: str
    value: str
    target: str = ""
    met: bool | None = None


@asynccontextmanager
async def node_on_anvil(*options: str) -> AsyncIterator[tuple[Node, str]]:
    """Hold a node on a fresh anvil, and its URL."""
    with anvil(*options) as url:
        async with Node(url, timeout_s=60.0) as node:
            yield node, url


async def cast_votes(node: Node, count: int) -> tuple[int, int]:
    """Make a contract emit so many events; return the first and the last block that hold them."""
    await node.request("anvil_setCode", [VOTES, "0x" + _CASTER.hex()])
    (sender, *_) = await node.request("eth_accounts", [])
    first = (await node.header("latest")).number + 1
    for _ in range(count // _EVENTS_IN_TRANSACTION):
        data = "0x" + _EVENTS_IN_TRANSACTION.to_bytes(32, "big").hex()
        fields = {"from": sender, "to": VOTES, "data": data, "gas": hex(12_000_000)}
        await node.request("eth_sendTransaction", [fields])
        await node.request("evm_mine", [])
    return first, (await node.header("latest")).number


async def put_multicall3(node: Node) -> None:
    """Put Multicall3's function at Multicall3's address: anvil has none."""
    code = parse((ARTIFACTS / "Aggregator.json").read_text()).deployed_bytecode
    await node.request("anvil_setCode", [MULTICALL3, "0x" + code.hex()])
