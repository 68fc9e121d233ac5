"""Playing a time line on a local chain: each recorded person is a funded key that acts for itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from eth_utils.crypto import keccak

from contracts.bindings import reputation_dao
from contracts.bindings.reputation_dao import Support
from contracts.direct import DirectSender
from contracts.rpc import Node, RpcRefused
from contracts.transactions import Signer
from scorers.errors import ScenarioError
from scorers.replay.timeline import Action, CastVote, Propose, SetReputations

BALANCE_WEI = 10**21
FEE_WEI = 10**10
GAS = 500_000
GAS_OF_A_REPUTATION = 150_000


def actor(address: str) -> Signer:
    """Return the key that stands for a recorded address on the local chain; it is no secret."""
    return Signer.from_key("0x" + keccak(text=f"dao-scorer replay {address.lower()}").hex())


class Player:
    """Sends the actions of a time line in order, one block each, at their recorded times."""

    def __init__(self, node: Node, admin: Signer, dao: str, chain_id: int) -> None:
        self._node = node
        self._admin = DirectSender(node, admin, chain_id)
        self._dao = dao
        self._chain_id = chain_id
        self._actors: dict[str, DirectSender] = {}
        self._nonces: dict[str, int] = {}

    async def fund(self, addresses: Iterable[str]) -> None:
        """Give each recorded person's key its ether."""
        for address in addresses:
            if address not in self._actors:
                sender = DirectSender(self._node, actor(address), self._chain_id)
                self._actors[address] = sender
                await self._node.request("hardhat_setBalance", [sender.address, hex(BALANCE_WEI)])

    async def play(self, actions: Sequence[Action], advanced: Callable[[], None]) -> None:
        """Send every action; `advanced` is called after each.

        Raises ScenarioError when the chain shows fewer proposals or votes than were sent.
        """
        first = (await self._node.header("latest")).number + 1
        for action in actions:
            await self._act(action)
            advanced()
        await self._check(actions, first)

    async def pass_time(self, seconds: int) -> None:
        """Let the chain's clock run on, and mine the block that shows it."""
        await self._node.request("evm_increaseTime", [seconds])
        await self._node.request("evm_mine", [])

    async def _act(self, action: Action) -> None:
        sender, data, gas = self._message(action)
        # Refused when another block holds that second already: then this one follows right after it.
        with suppress(RpcRefused):
            await self._node.request("evm_setNextBlockTimestamp", [action.at])
        if sender.address not in self._nonces:
            self._nonces[sender.address] = await self._node.nonce(sender.address)
        nonce = self._nonces[sender.address]
        await self._node.send_raw(sender.sign(nonce, self._dao, data, gas=gas, fee=FEE_WEI))
        self._nonces[sender.address] = nonce + 1

    def _message(self, action: Action) -> tuple[DirectSender, bytes, int]:
        match action:
            case SetReputations(voters=voters, amounts=amounts):
                addresses = [self._actors[voter].address for voter in voters]
                data = reputation_dao.SET_REPUTATIONS.encode(addresses, amounts)
                return self._admin, data, GAS + GAS_OF_A_REPUTATION * len(voters)
            case Propose(proposer=proposer, content_hash=content_hash):
                return self._actors[proposer], reputation_dao.PROPOSE.encode(content_hash), GAS
            case CastVote(voter=voter, number=number, in_favour=in_favour):
                support = Support.FOR if in_favour else Support.AGAINST
                return self._actors[voter], reputation_dao.CAST_VOTE.encode(number, support), GAS

    async def _check(self, actions: Sequence[Action], first: int) -> None:
        last = (await self._node.header("latest")).number
        for event, kind in ((reputation_dao.PROPOSAL_CREATED, Propose), (reputation_dao.VOTE_CAST, CastVote)):
            sent = sum(isinstance(action, kind) for action in actions)
            logs = await self._node.logs(self._dao, [event.topic0], first, last)
            if len(logs) != sent:
                raise ScenarioError(f"{sent} transactions for {event.name} were sent, {len(logs)} succeeded")
