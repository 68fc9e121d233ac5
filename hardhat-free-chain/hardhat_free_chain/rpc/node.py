"""What a method works on, and what a row of the method table is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hardhat_free_chain.chain import LocalChain
from hardhat_free_chain.filters import FilterRegistry


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """The chain and the polled filters on it."""

    chain: LocalChain
    filters: FilterRegistry


@dataclass(frozen=True, slots=True)
class Method:
    """A method with the least and the greatest number of its arguments.

    The handler runs alone on the chain and returns what becomes the JSON `result`.
    """

    handler: Callable[[Node, list[Any]], object]
    least: int = 0
    most: int = 0


MethodTable = dict[str, Method]

CLIENT_VERSION = "hardhat-free-chain/0.1.0/eth-tester/py-evm"


def under(name: str, method: Method, *namespaces: str) -> MethodTable:
    """The same method under several namespaces."""
    return {f"{namespace}_{name}": method for namespace in namespaces}
