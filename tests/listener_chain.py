"""A DAO on a local chain with finality, for the tests of the listener."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from contracts.artifacts import load
from contracts.bindings import Function, deploy_data, reputation_dao
from contracts.bindings.reputation_dao import CANCEL, PROPOSE, ClockUnit
from contracts.rpc import Node, Receipt
from hardhat_free_chain import ChainServer, ChainSettings
from listener import ListenerSettings

REGISTRY = "0x" + "5c" * 20
CHAIN_ID = 31337
FINALITY_LAG = 3
VOTING_PERIOD = 20


@dataclass(slots=True, kw_only=True)
class DaoChain:
    """One deployed DAO. `finalize` mines until what was done before is final."""

    url: str
    node: Node
    admin: str
    server: ChainServer | None = None
    dao: str = ""
    deployed_at: int = 0
    contents: list[bytes] = field(default_factory=list)

    async def deploy(self, clock: ClockUnit, voting_period: int) -> None:
        data = deploy_data(load(reputation_dao.NAME), self.admin, voting_period, clock)
        receipt = await self.transact(None, data)
        assert receipt.contract_address is not None
        self.dao, self.deployed_at = receipt.contract_address, receipt.block_number

    async def transact(self, to: str | None, data: bytes) -> Receipt:
        fields = {"from": self.admin, "data": "0x" + data.hex(), "gas": hex(5_000_000)}
        sent = await self.node.request("eth_sendTransaction", [{**fields, **({"to": to} if to else {})}])
        async with asyncio.timeout(20):
            while (receipt := await self.node.receipt(bytes.fromhex(sent[2:]))) is None:  # noqa: ASYNC110
                await asyncio.sleep(0.01)  # anvil answers before it mines, and a node tells no event.
        assert receipt.status == 1
        return receipt

    async def send(self, function: Function[object], *arguments: object) -> Receipt:
        return await self.transact(self.dao, function.encode(*arguments))

    async def propose(self, count: int = 1) -> list[int]:
        """Make proposals, a block each; return their ids."""
        ids = []
        for _ in range(count):
            content = len(self.contents).to_bytes(31, "big") + b"\x01"
            receipt = await self.send(PROPOSE, content)
            self.contents.append(content)
            ids.append(reputation_dao.PROPOSAL_CREATED.decode(receipt.logs[0]).proposal_id)
        return ids

    async def cancel(self, proposal_id: int) -> None:
        await self.send(CANCEL, proposal_id)

    async def mine(self, blocks: int) -> None:
        await self.node.request("hardhat_mine", [hex(blocks)])

    async def finalize(self) -> None:
        await self.mine(FINALITY_LAG)

    async def end_voting(self) -> None:
        """Mine until every vote so far has ended at a finalised block."""
        await self.mine(VOTING_PERIOD + FINALITY_LAG + 1)

    def settings(self, **changes: object) -> ListenerSettings:
        wanted: dict[str, object] = {
            "chain_id": CHAIN_ID,
            "dao": self.dao,
            "registry": REGISTRY,
            "start_block": self.deployed_at,
            "poll_interval_s": 0.02,
            "backoff_s_min": 0.01,
            "backoff_s_max": 0.05,
        }
        return ListenerSettings(**{**wanted, **changes})  # type: ignore[arg-type]


@asynccontextmanager
async def dao_at(url: str, clock: ClockUnit, voting_period: int) -> AsyncIterator[DaoChain]:
    """Found a DAO on a chain that is served already."""
    async with Node(url) as node:
        accounts = await node.request("eth_accounts", [])
        chain = DaoChain(url=url, node=node, admin=str(accounts[0]).lower())
        await chain.deploy(clock, voting_period)
        yield chain


@asynccontextmanager
async def dao_chain(
    *,
    clock: ClockUnit = ClockUnit.BLOCK_NUMBER,
    voting_period: int = VOTING_PERIOD,
    chain_id: int = CHAIN_ID,
) -> AsyncIterator[DaoChain]:
    """Serve a chain with one DAO on it."""
    settings = ChainSettings(finality_lag=FINALITY_LAG, chain_id=chain_id)
    async with ChainServer(settings) as server, dao_at(server.url, clock, voting_period) as chain:
        chain.server = server
        yield chain
