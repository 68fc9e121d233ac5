"""A DAO and its registry on a served local chain, with the moves that the tests of scoring share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from eth_account import Account
from eth_utils.address import to_checksum_address

from contracts.artifacts import load
from contracts.bindings import Function, deploy_data, proposal_scores, reputation_dao
from contracts.bindings.reputation_dao import ClockUnit, Support
from contracts.deployment import RegistryTerms
from contracts.rpc import Node, Receipt
from contracts.transactions import SendingPolicy, Signer
from hardhat_free_chain import ChainServer, ChainSettings, deterministic_accounts
from listener.invocation import EndReason, ProposalRequest, VotingEnded, request_of
from orchestrator import Constant, Orchestrator
from scorers.batches.gathering import Batching
from scorers.policy import AnyPolicy
from scorers.registration import register_scoring
from scorers.rounds.metrics import AgreementMetrics

GWEI = 10**9
GAS = 8_000_000
ACCOUNTS = [(address.lower(), str(key)) for address, key in deterministic_accounts(10)]
FAST = SendingPolicy(watch_ms=2_000, poll_ms=10, pause_ms=10, pause_ms_max=50)
RETRY = Constant(delay_s=0.02, attempts_max=3)


@dataclass
class World:
    """Account 0 is the admin, 1 the scorer; the others vote."""

    server: ChainServer
    node: Node
    chain_id: int
    dao: str = ""
    registry: str = ""
    nonces: dict[int, int] = field(default_factory=dict)

    @property
    def signer(self) -> Signer:
        return Signer.from_key(ACCOUNTS[1][1])

    async def send(self, index: int, to: str | None, data: bytes, *, value: int = 0) -> Receipt:
        nonce = await self.node.nonce(ACCOUNTS[index][0], "pending")
        fields: dict[str, object] = {
            "type": 2,
            "chainId": self.chain_id,
            "nonce": nonce,
            "value": value,
            "data": data,
            "gas": GAS,
            "maxFeePerGas": 100 * GWEI,
            "maxPriorityFeePerGas": GWEI,
        }
        if to is not None:
            fields["to"] = to_checksum_address(to)
        raw = bytes(Account.sign_transaction(fields, ACCOUNTS[index][1]).raw_transaction)
        receipt = await self.node.receipt(await self.node.send_raw(raw))
        assert receipt is not None
        assert receipt.status == 1
        return receipt

    async def execute(self, index: int, to: str, function: Function[object], *arguments: object) -> Receipt:
        return await self.send(index, to, function.encode(*arguments))

    async def deploy(
        self,
        clock: ClockUnit,
        period: int,
        terms: RegistryTerms | None = None,
        scorers: Sequence[int] = (1,),
    ) -> None:
        admin, terms = ACCOUNTS[0][0], terms or RegistryTerms()
        self.dao = await self._deployed("ReputationDao", admin, period, int(clock))
        self.registry = await self._deployed(
            "ProposalScores", self.dao, admin, 0, terms.quorum, terms.challenge_window_s, terms.rules
        )
        for scorer in scorers:
            arguments = (proposal_scores.SCORER_ROLE, ACCOUNTS[scorer][0])
            await self.execute(0, self.registry, proposal_scores.GRANT_ROLE, *arguments)

    async def _deployed(self, name: str, *arguments: object) -> str:
        created = (await self.send(0, None, deploy_data(load(name), *arguments))).contract_address
        assert created is not None
        return created.lower()

    async def reputations(self, weights: dict[int, int]) -> None:
        voters = [ACCOUNTS[index][0] for index in weights]
        await self.execute(0, self.dao, reputation_dao.SET_REPUTATIONS, voters, list(weights.values()))

    async def propose(self) -> ProposalRequest:
        receipt = await self.execute(0, self.dao, reputation_dao.PROPOSE, b"\x07" * 32)
        log = receipt.logs[0]
        created = reputation_dao.PROPOSAL_CREATED.decode(log)
        return request_of(created, log, chain_id=self.chain_id, registry=self.registry)

    async def vote(self, index: int, request: ProposalRequest, support: Support) -> None:
        await self.execute(index, self.dao, reputation_dao.CAST_VOTE, int(request.proposal_id), int(support))

    async def mine(self, blocks: int = 1) -> None:
        for _ in range(blocks):
            await self.node.request("evm_mine", [])

    async def pass_time(self, seconds: int) -> None:
        await self.node.request("evm_increaseTime", [seconds])
        await self.mine()

    async def end(
        self, app: Orchestrator, request: ProposalRequest, reason: EndReason = EndReason.ENDED
    ) -> None:
        """Settle the promise that the listener would settle."""
        head = await self.node.header("finalized")
        value = VotingEnded(
            block_number=head.number, block_hash="0x" + head.hash.hex(), clock=0, deadline=0, reason=reason
        )
        await app.promises.create(request.voting_ended_id)
        await app.promises.resolve(request.voting_ended_id, value)

    @asynccontextmanager
    async def scoring(
        self,
        store: str = ":memory:",
        *,
        node: Node | None = None,
        policy: AnyPolicy | None = None,
        other_policies: Sequence[AnyPolicy] = (),
        batching: Batching | None = None,
        sending: SendingPolicy = FAST,
        scorer: int | None = 1,
        agreement: AgreementMetrics | None = None,
    ) -> AsyncIterator[Orchestrator]:
        app = Orchestrator.local(store, group="proposal-scorers")
        register_scoring(
            app,
            node=node or self.node,
            signer=None if scorer is None else Signer.from_key(ACCOUNTS[scorer][1]),
            policy=policy,
            other_policies=other_policies,
            sending=sending,
            retry=RETRY,
            batching=batching,
            agreement=agreement,
        )
        async with app:
            yield app


@asynccontextmanager
async def world(
    clock: ClockUnit = ClockUnit.BLOCK_NUMBER,
    period: int = 20,
    *,
    finality_lag: int = 0,
    terms: RegistryTerms | None = None,
    scorers: Sequence[int] = (1,),
) -> AsyncIterator[World]:
    async with ChainServer(ChainSettings(finality_lag=finality_lag)) as server, Node(server.url) as node:
        made = World(server=server, node=node, chain_id=await node.chain_id())
        await made.deploy(clock, period, terms, scorers)
        yield made
