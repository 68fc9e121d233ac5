"""A node without a network: requests go to a local chain's address in the same process and thread.

What the address's weather does to them is what it does over HTTP: pages of gateways, replies that are lost,
cut off or late, answers that are wrong. Time that passes is the loop's, which may be virtual.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, cast

from contracts.rpc import Node, PoolSettings
from contracts.rpc.connection import Connection
from hardhat_free_chain import ChainSettings
from hardhat_free_chain.chain import LocalChain
from hardhat_free_chain.endpoint import Endpoint, Reply, Served
from hardhat_free_chain.faults.rule import Ending, Rule
from hardhat_free_chain.faults.weather import Weather
from hardhat_free_chain.filters import FilterRegistry
from hardhat_free_chain.rpc import dispatch
from hardhat_free_chain.rpc.node import Node as ServedNode

NEVER_S = 10**9


class _SameThread:
    """An owner of the chain who does at once what he is asked to."""

    async def run(self, function: Callable[..., Any], *args: Any, **named: Any) -> Any:
        return function(*args, **named)


class ChainInside:
    """A local chain and its addresses, none of them on a network. `now_s` is its wall clock, Unix seconds."""

    def __init__(self, settings: ChainSettings, now_s: Callable[[], float]) -> None:
        self.chain = LocalChain(settings, now_s)
        self._served = Served(
            settings=settings,
            node=ServedNode(chain=self.chain, filters=FilterRegistry(self.chain)),
            owner=cast(Any, _SameThread()),
            hub=cast(Any, None),
            control=cast(Any, None),
        )

    def request(self, method: str, *arguments: Any) -> Any:
        """Answer a request without any weather."""
        return dispatch.execute(self._served.node, method, list(arguments))

    def address(self, *rules: Rule, seed: int, clock_s: Callable[[], float]) -> Endpoint:
        """Return another address, in a weather of its own."""
        return Endpoint(self._served, Weather(rules, seed=seed, clock_s=clock_s))

    def node(self, addresses: list[Endpoint], *, chain_id: int, settings: PoolSettings) -> Node:
        """Return a node that reads by these addresses."""
        urls = [f"http://127.0.0.{number}:8545" for number in range(1, len(addresses) + 1)]
        node = Node(urls, chain_id=chain_id, settings=settings)
        for endpoint, url, address in zip(node.pool.endpoints, urls, addresses, strict=True):
            endpoint.connection = _Wire(url, address)
        return node


class _Wire(Connection):
    """A connection whose bodies are answered by an address of this process."""

    def __init__(self, url: str, address: Endpoint, timeout_s: float = 10.0) -> None:
        super().__init__(url, timeout_s)
        self._address = address

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    async def _post(self, method: str, body: bytes) -> bytes:
        try:
            async with asyncio.timeout(self._timeout_s):
                reply = await self._address._answer(body, None)
                if reply.delivery.ending is Ending.LOST:
                    await asyncio.sleep(NEVER_S)
        except TimeoutError as error:
            raise self._unusable(f"{method}: no answer within {self._timeout_s:g} s") from error
        if reply.delivery.ending is not Ending.ANSWERED:
            raise self._unusable(f"{method}: the connection ended")
        return await self._body(method, cast(Any, _Page.of(reply)))


@dataclass(frozen=True, slots=True)
class _Page:
    """As much of an HTTP answer as is read."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @classmethod
    def of(cls, reply: Reply) -> Self:
        page, pause_s = reply.delivery.answer, reply.delivery.retry_after_s
        if page is not None:
            pause_s = page.retry_after_s
        headers = {} if pause_s is None else {"Retry-After": f"{pause_s:g}"}
        return cls(page.status if page else reply.status, headers, page.body if page else reply.body)

    @property
    def content(self) -> _Page:
        return self

    async def iter_chunked(self, _: int) -> AsyncIterator[bytes]:
        yield self.body
