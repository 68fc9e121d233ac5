"""Governors with tokens on a chain, whichever node serves it: deployed, voted, and put beside a registry.

Account 0 is the admin, 1 the scorer; the others hold tokens and vote.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from eth_utils.crypto import keccak

from contracts.artifacts import Artifact, load, parse
from contracts.bindings import Function, deploy_data, governor, governor_bravo, votes_token
from contracts.dao import Dao, probe
from contracts.direct import DirectSender
from contracts.rpc import Node, Receipt
from contracts.transactions import Signer
from hardhat_free_chain import ChainServer, ChainSettings, deterministic_accounts
from tests.anvil_node import SOON_FINAL, anvil

FOLDER = Path(__file__).parent / "contracts"
ACCOUNTS = [(address.lower(), str(key)) for address, key in deterministic_accounts(10)]
ADMIN, SCORER = 0, 1
GAS = 6_000_000
NODES = ("hardhat_free_chain", "anvil")
SECOND_LAYER = "second_layer"
"""A node whose contracts see the first layer's `block.number`: one of its blocks for three of this chain."""
WEIGHTS = {2: 100, 3: 250, 4: 2**95, 5: 7}
"""What the voters hold, by account."""
NOBODY = "0x" + "00" * 20
ACTIONS: tuple[list[str], list[int], list[bytes]] = ([NOBODY], [0], [b""])
VETO = Function(
    name="veto", inputs=("address[]", "uint256[]", "bytes[]", "bytes32"), outputs=("uint256",), result=int
)


@cache
def compiled(name: str) -> Artifact:
    """Return a contract of the tests, or one of the project's."""
    file = FOLDER / "artifacts" / f"{name}.json"
    return parse(file.read_text()) if file.exists() else load(name)


@asynccontextmanager
async def serving(kind: str) -> AsyncIterator[Node]:
    """Serve a chain by the node of that name."""
    if kind == "anvil":
        with anvil(*SOON_FINAL) as url:
            async with Node(url) as node:
                yield node
    else:
        settings = ChainSettings(finality_lag=2)
        if kind == SECOND_LAYER:
            settings = replace(settings, contract_blocks_from=19_000_000, blocks_per_contract_block=3)
        async with ChainServer(settings) as server, Node(server.url) as node:
            yield node


@dataclass(slots=True, kw_only=True)
class Governance:
    """One chain with a token and a Governor."""

    node: Node
    chain_id: int
    token: str = ""
    governor: str = ""
    registry: str = ""
    bravo: bool = False
    descriptions: dict[int, str] = field(default_factory=dict)
    senders: dict[int, DirectSender] = field(default_factory=dict)

    def signer(self, index: int) -> Signer:
        """Return an account's key."""
        return Signer.from_key(ACCOUNTS[index][1])

    def sender(self, index: int) -> DirectSender:
        """Return the only sender of an account."""
        if index not in self.senders:
            self.senders[index] = DirectSender(self.node, Signer.from_key(ACCOUNTS[index][1]), self.chain_id)
        return self.senders[index]

    async def deploy(self, name: str, *arguments: object) -> str:
        """Deploy any contract; return its address."""
        receipt = await self.sender(ADMIN).send(None, deploy_data(compiled(name), *arguments), gas=GAS)
        assert receipt.contract_address is not None
        return receipt.contract_address.lower()

    async def found(
        self,
        name: str,
        *,
        seconds: bool = False,
        delay: int = 2,
        period: int = 20,
        weights: Mapping[int, int] = WEIGHTS,
    ) -> Dao:
        """Deploy a token whose holders vote for themselves, and the Governor of that name."""
        holders = [ACCOUNTS[index][0] for index in weights]
        self.token = await self.deploy("VotesToken", seconds, holders, list(weights.values()))
        for index in weights:
            await self.delegate(index, index)
        self.governor = await self.deploy(name, self.token, ACCOUNTS[ADMIN][0], delay, period)
        self.bravo = name == "BravoGovernor"
        await self.mine(3)
        return await self.dao()

    async def dao(self) -> Dao:
        """Probe the Governor at the last final block."""
        return await probe(self.node, self.governor)

    async def delegate(self, index: int, to: int) -> None:
        """Delegate what one account holds to another."""
        # A fixed limit: gas is estimated at the head, and what is sent may cost more in the block after it.
        await self.sender(index).send(self.token, votes_token.DELEGATE.encode(ACCOUNTS[to][0]), gas=500_000)

    async def propose(self, description: str) -> tuple[int, Receipt]:
        """Make a proposal; return its id and the receipt, whose first log is its creation."""
        targets, values, calldatas = ACTIONS
        if self.bravo:
            data = governor_bravo.PROPOSE.encode(targets, values, [""], calldatas, description)
        else:
            data = governor.PROPOSE.encode(targets, values, calldatas, description)
        receipt = await self.sender(ADMIN).send(self.governor, data)
        proposal_id = governor.PROPOSAL_CREATED.decode(receipt.logs[0]).proposal_id
        self.descriptions[proposal_id] = description
        return proposal_id, receipt

    async def vote(self, index: int, function: Function[object], *arguments: object) -> Receipt:
        """Send any voting function of the Governor."""
        return await self.sender(index).send(self.governor, function.encode(*arguments), gas=500_000)

    async def veto(self, proposal_id: int) -> None:
        """Cancel a proposal, whatever its state."""
        if self.bravo:
            data = governor_bravo.CANCEL.encode(proposal_id)
        else:
            data = VETO.encode(*ACTIONS, keccak(text=self.descriptions[proposal_id]))
        await self.sender(ADMIN).send(self.governor, data)

    async def mine(self, blocks: int) -> None:
        """Mine empty blocks."""
        await self.node.request("hardhat_mine", [hex(blocks)])

    async def pass_time(self, seconds: int) -> None:
        """Let time pass until the next blocks."""
        await self.node.request("evm_increaseTime", [seconds])
        await self.mine(4)


@asynccontextmanager
async def governance(kind: str) -> AsyncIterator[Governance]:
    """Serve a chain on which a Governor can be founded."""
    async with serving(kind) as node:
        yield Governance(node=node, chain_id=await node.chain_id())


def fractions(against: int, for_: int, abstain: int) -> bytes:
    """Return the parameters of a split vote."""
    parts: Sequence[int] = (against, for_, abstain)
    return b"".join(part.to_bytes(16, "big") for part in parts)
