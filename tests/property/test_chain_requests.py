"""Whatever arguments a client sends, a method answers with a result or with an error that blames them."""

import random
from typing import Any

import pytest

from hardhat_free_chain import ChainSettings, LocalChain, RpcError
from hardhat_free_chain.filters import FilterRegistry
from hardhat_free_chain.rpc.dispatch import METHODS, execute
from hardhat_free_chain.rpc.node import Node
from tests.chain_support import ACCOUNTS, call_data, deploy_on, signed

TEXTS = ["", "0x", "0x0", "0x1", "0x1_0", "0x 1", "0x-1", "0xzz", "0x123", "latest", "pending", "finalized"]
WORDS = ["0x" + "00" * 32, "0x" + "ff" * 33, ACCOUNTS[0][0], "0x" + "77" * 20, "newest", "\ud800", "é"]
PLAIN = [None, True, False, 0, 1, 7, -1, 2**64, 2**256, 1.5, [], {}, [None], [[]], ["0x"]]
NAMES = [
    "from",
    "to",
    "data",
    "input",
    "value",
    "gas",
    "gasPrice",
    "maxFeePerGas",
    "maxPriorityFeePerGas",
    "accessList",
    "nonce",
    "chainId",
    "address",
    "topics",
    "fromBlock",
    "toBlock",
    "blockHash",
    "blockNumber",
    "timestamp",
    "blocks",
    "storageKeys",
]


@pytest.fixture(scope="module")
def node() -> Node:
    chain = LocalChain(ChainSettings())
    deploy_on(chain)
    return Node(chain=chain, filters=FilterRegistry(chain))


def value(chance: random.Random, node: Node, depth: int = 0) -> Any:
    """A random JSON value, often of the kind that some method wants."""
    kind = chance.randrange(8)
    if kind == 0 and depth < 3:
        return [value(chance, node, depth + 1) for _ in range(chance.randrange(4))]
    if kind <= 2 and depth < 3:
        return {name: value(chance, node, depth + 1) for name in chance.sample(NAMES, chance.randrange(6))}
    if kind == 3:
        head = node.chain.head
        probe = "0x5fbdb2315678afecb367f032d93f642f64180aa3"
        return chance.choice(["0x" + head.hash.hex(), probe, call_data("count"), "0x" + signed().hex()])
    return chance.choice(TEXTS + WORDS + PLAIN)


def refusal(node: Node, method: str, arguments: list[Any]) -> RpcError | None:
    try:
        execute(node, method, arguments)
    except RpcError as error:
        return error
    return None


@pytest.mark.parametrize("method", sorted(METHODS))
def test_no_arguments_break_a_method(node: Node, method: str) -> None:
    chance = random.Random(method)  # noqa: S311
    row = METHODS[method]
    snapshot = node.chain.snapshot()
    for attempt in range(120):
        arguments = [value(chance, node) for _ in range(chance.randint(row.least, row.most))]
        error = refusal(node, method, arguments)
        if error is not None:
            assert error.code != RpcError.code, f"{method}{arguments}: seed {method!r}, attempt {attempt}"
            assert len(error.message) < 400
    node.chain.revert(snapshot)
    node.chain.auto_mine = True


def test_the_numbers_of_arguments_are_held(node: Node) -> None:
    for method, row in METHODS.items():
        for count in {row.least - 1, row.most + 1} - {-1}:
            with pytest.raises(RpcError) as caught:
                execute(node, method, ["0x"] * count)
            assert caught.value.code == -32602, method
