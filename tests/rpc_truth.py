"""A chain that is known beforehand, and endpoints that tell of it late, wrongly, or not at all.

`Truth` is the chain. A `Voice` is one endpoint's connection in the place of HTTP: it answers from the truth
at its own head, or as its faults will have it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Self, cast

import msgspec

from contracts.rpc import Node, PoolSettings
from contracts.rpc.connection import Outcome
from contracts.rpc.errors import RpcError
from contracts.rpc.refusals import ErrorObject
from tests.rpc_node import block, log

CHAIN_ID = 31337
DAO = "0x" + "aa" * 20
FINALITY = 8
Fault = Callable[["Voice", str, Sequence[Any]], object | None]
"""Takes a request; returns an ErrorObject, another result, or None for the truth. May raise RpcError."""


@dataclass(slots=True)
class Truth:
    """A chain of blocks, each with at most one log; `forks` counts how often a block was replaced."""

    head: int = 50
    with_logs: set[int] = field(default_factory=lambda: set(range(0, 1000, 3)))
    forks: Counter[int] = field(default_factory=Counter)

    def hash(self, number: int) -> bytes:
        return sha256(f"{number} {self.forks[number]}".encode()).digest()

    def reorg(self, depth: int) -> None:
        for number in range(self.head - depth + 1, self.head + 1):
            self.forks[number] += 1

    def copy(self) -> Truth:
        return Truth(head=self.head, with_logs=set(self.with_logs), forks=Counter(self.forks))

    def header(self, number: int) -> dict[str, object]:
        parent = "0x" + self.hash(number - 1).hex()
        return block(number, block_hash=self.hash(number), parentHash=parent)

    def log(self, number: int) -> dict[str, object]:
        return cast("dict[str, object]", log(number, address=DAO, blockHash="0x" + self.hash(number).hex()))

    def result(self, method: str, params: Sequence[Any], head: int) -> object:
        if method in ("eth_chainId", "eth_blockNumber"):
            return hex(CHAIN_ID if method == "eth_chainId" else head)
        if method == "eth_getBlockByNumber":
            number = _number(params[0], head)
            return self.header(number) if number <= head else None
        if method == "eth_getBlockByHash":
            known = (number for number in range(head + 1) if "0x" + self.hash(number).hex() == params[0])
            return next((self.header(number) for number in known), None)
        if method == "eth_getLogs":
            first, last = int(params[0]["fromBlock"], 16), min(int(params[0]["toBlock"], 16), head)
            return [self.log(number) for number in range(first, last + 1) if number in self.with_logs]
        if method == "eth_call":
            return "0x" + self.hash(_number(params[1], head)).hex()
        if method == "eth_getTransactionReceipt":
            return None
        raise AssertionError(f"not scripted: {method}")


def _number(reference: str, head: int) -> int:
    tags = {"latest": head, "pending": head, "safe": head - 4, "finalized": head - FINALITY, "earliest": 0}
    return max(0, tags[reference]) if reference in tags else int(reference, 16)


@dataclass(slots=True)
class Voice:
    """One endpoint. `lag` is how far its head lies behind; `truth` is its own if it lives on a fork."""

    endpoint: str
    truth: Truth
    lag: int = 0
    latency_s: float = 0.01
    fault: Fault | None = None
    asked: Counter[str] = field(default_factory=Counter)
    in_flight: int = 0
    in_flight_most: int = 0

    @property
    def head(self) -> int:
        return max(0, self.truth.head - self.lag)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *caught: object) -> None: ...

    async def request(self, method: str, params: Sequence[Any]) -> Outcome:
        self.asked[method] += 1
        self.in_flight += 1
        self.in_flight_most = max(self.in_flight, self.in_flight_most)
        await asyncio.sleep(self.latency_s)
        self.in_flight -= 1
        found = None if self.fault is None else self.fault(self, method, params)
        if isinstance(found, ErrorObject):
            return found
        result = self.truth.result(method, params, self.head) if found is None else found
        return msgspec.Raw(msgspec.json.encode(None if result == "null" else result))

    async def batch(self, requests: Sequence[tuple[str, Sequence[Any]]]) -> list[Outcome]:
        return [await self.request(*request) for request in requests]


def failing(error: Callable[[str], RpcError], *methods: str) -> Fault:
    """A fault that raises, at some methods or at all."""

    def fault(voice: Voice, method: str, params: Sequence[Any]) -> None:
        if not methods or method in methods:
            raise error(voice.endpoint)

    return fault


def pool_of(*voices: Voice, chain_id: int | None = CHAIN_ID, **settings: Any) -> Node:
    """A node whose endpoints are these voices, in this order."""
    node = Node(
        [f"http://{voice.endpoint}.example" for voice in voices],
        chain_id=chain_id,
        settings=PoolSettings(**settings),
    )
    for endpoint, voice in zip(node.pool.endpoints, voices, strict=True):
        endpoint.connection = cast("Any", voice)
    return node
