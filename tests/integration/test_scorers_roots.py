"""M1: a root computed a second time, by other code, from nothing but JSON-RPC answers of the chain.

Nothing of the project computes here: requests, ABI, canonical text, leaves and tree are written down anew
from docs/scoring.md and docs/commitments.md.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any

import pytest
from eth_abi.abi import decode, encode
from eth_utils.crypto import keccak

from contracts.bindings import reputation_dao
from contracts.bindings.reputation_dao import ClockUnit, Support
from contracts.rpc import Node, WrongChain
from listener.invocation import EndReason, ProposalRequest
from scorers.steps.proposal import VotingNotEnded, proposal_facts
from scorers.steps.votes import read_votes
from scorers.values import ScoreStatus
from tests.integration.test_scorers_workflow import _short_waits, score  # noqa: F401 - a fixture
from tests.scorers_chain import World, world

pytestmark = pytest.mark.usefixtures("_short_waits")
VERSION = 2
PERIOD = {ClockUnit.BLOCK_NUMBER: 12, ClockUnit.TIMESTAMP: 3_600}


class Recomputed:
    """One proposal, read and counted by hand."""

    def __init__(self, node: Node, request: ProposalRequest, end_block: int) -> None:
        self.rpc = node.request
        self.request = request
        self.end_block = end_block

    async def ask(self, to: str, signature: str, types: list[str], *arguments: object) -> Any:
        inputs = signature[signature.index("(") + 1 : -1].split(",") if not signature.endswith("()") else []
        data = keccak(text=signature)[:4] + encode(inputs, arguments)
        answer = await self.rpc("eth_call", [{"to": to, "data": "0x" + data.hex()}, "latest"])
        values = decode(types, bytes.fromhex(answer[2:]))
        return values[0] if len(values) == 1 else values

    async def votes(self) -> list[dict[str, Any]]:
        topic = "0x" + keccak(text="VoteCast(address,uint256,uint8,uint256,string)").hex()
        asked = {
            "address": self.request.dao,
            "topics": [topic],
            "fromBlock": hex(self.request.block_number),
            "toBlock": hex(self.end_block),
        }
        ballots = []
        for log in await self.rpc("eth_getLogs", [asked]):
            number, support, weight, _ = decode(
                ["uint256", "uint8", "uint256", "string"], bytes.fromhex(log["data"][2:])
            )
            if number == int(self.request.proposal_id):
                ballots.append(
                    {
                        "voter": "0x" + log["topics"][1][-40:],
                        "support": support,
                        "weight": weight,
                        "block_number": int(log["blockNumber"], 16),
                        "log_index": int(log["logIndex"], 16),
                    }
                )
        return ballots

    async def form(self) -> dict[str, object]:
        dao = self.request.dao
        return written(
            "DaoForm",
            kind=chosen("DaoKind", "REPUTATION"),
            counting=chosen("Counting", "SIMPLE"),
            weights=chosen("WeightSource", "PAST_VOTES"),
            counting_mode=await self.ask(dao, "COUNTING_MODE()", ["string"]),
            clock_mode=await self.ask(dao, "CLOCK_MODE()", ["string"]),
            early_end=False,
            token="",
        )

    async def steps(self) -> tuple[bytes, list[tuple[str, object, object]]]:
        """Return the domain, and (function, input, output) of each step in its written form."""
        request, number = self.request, int(self.request.proposal_id)
        snapshot = await self.ask(request.dao, "proposalSnapshot(uint256)", ["uint256"], number)
        deadline = await self.ask(request.dao, "proposalDeadline(uint256)", ["uint256"], number)
        against, in_favour, abstain = await self.ask(
            request.dao, "proposalVotes(uint256)", ["uint256"] * 3, number
        )
        policy_hash = await self.ask(request.registry, "policyOf(uint256)", ["bytes32"], number)
        tally = written(
            "Tally", for_votes=str(in_favour), against_votes=str(against), abstain_votes=str(abstain)
        )
        proposal = written(
            "Proposal",
            chain_id=str(request.chain_id),
            dao=request.dao,
            form=await self.form(),
            registry=request.registry,
            scored_dao=request.dao,
            proposal_id=request.proposal_id,
            snapshot=str(snapshot),
            deadline=str(deadline),
            first_block=str(request.block_number),
            last_block=str(self.end_block),
            tally=tally,
            policy_hash="0x" + policy_hash.hex(),
        )
        votes = await self.votes()
        ballots = [
            written(
                "Ballot",
                **{
                    **vote,
                    "weight": str(vote["weight"]),
                    "block_number": str(vote["block_number"]),
                    "overriding": False,
                },
            )
            for vote in votes
        ]
        voters = list(dict.fromkeys(vote["voter"] for vote in votes))
        reputations = [
            written(
                "Reputation",
                voter=voter,
                weight=str(
                    await self.ask(request.dao, "getPastVotes(address,uint256)", ["uint256"], voter, snapshot)
                ),
                own="0",
                overridden="0",
            )
            for voter in voters
        ]
        eligibility = written("Eligibility", counted=ballots, excluded=[])
        domain = await self.ask(request.registry, "domainOf(uint256)", ["bytes32"], number)
        score = (abs(in_favour - against) * 10_000) // (in_favour + against)
        verdict = written(
            "Verdict",
            status=chosen("ScoreStatus", "SCORED"),
            score=score if in_favour >= against else -score,
            for_votes=str(in_favour),
            against_votes=str(against),
            abstain_votes=str(abstain),
            counted=len(ballots),
            excluded=0,
            votes=len(votes),
            votes_root="0x" + standard_root(vote_leaves(domain, votes)).hex(),
            findings=[],
        )
        policy = written("Policy", name="reputation-weighted", version=1, minimum_weight="1")
        created = {name: getattr(request, name) for name in type(request).__dataclass_fields__}
        return domain, [
            ("read_proposal", {"request": written("ProposalRequest", **created)}, proposal),
            (
                "fetch_votes",
                {"proposal": proposal},
                written("Votes", ballots=ballots, tally=tally),
            ),
            ("score_reputations", {"proposal": proposal, "voters": voters}, reputations),
            (
                "check_eligibility",
                {
                    "policy": policy,
                    "ballots": ballots,
                    "reputations": reputations,
                    "counting": chosen("Counting", "SIMPLE"),
                },
                eligibility,
            ),
            (
                "calculate_score",
                {"proposal": proposal, "raw": tally, "eligibility": eligibility},
                verdict,
            ),
        ]

    async def root(self) -> str:
        domain, steps = await self.steps()
        leaves = []
        for index, (function, given, result) in enumerate(steps):
            values = (domain, index, len(steps), function, VERSION, text_hash(given), text_hash(result))
            types = ["bytes32", "uint256", "uint256", "string", "uint256", "bytes32", "bytes32"]
            leaves.append(keccak(keccak(encode(types, values))))
        return "0x" + standard_root(leaves).hex()


VOTE = ["bytes32", "uint256", "uint256", "address", "uint8", "uint256", "uint256", "bool", "string"]


def vote_leaves(domain: bytes, votes: list[dict[str, Any]]) -> list[bytes]:
    """One leaf a voter, here with one vote each, all of which count."""
    leaves = []
    for index, vote in enumerate(votes):
        place = (vote["block_number"], vote["log_index"])
        row = (domain, index, len(votes), vote["voter"], vote["support"], vote["weight"], vote["weight"])
        leaves.append(keccak(keccak(encode([*VOTE, *["uint256"] * 2], [*row, True, "", *place]))))
    return leaves


def written(name: str, /, **fields: object) -> dict[str, object]:
    return {"$class": name, "fields": fields}


def chosen(enumeration: str, name: str) -> dict[str, str]:
    return {"$enum": enumeration, "name": name}


def text_hash(tree: object) -> bytes:
    # All keys and texts here are plain ASCII, where RFC 8785 is sorted keys without spaces.
    return sha256(json.dumps(tree, sort_keys=True, separators=(",", ":")).encode()).digest()


def standard_root(leaves: list[bytes]) -> bytes:
    """The root of OpenZeppelin's StandardMerkleTree: sorted leaves at the end of a heap of sorted pairs."""
    heap = [b""] * (len(leaves) - 1) + sorted(leaves, reverse=True)
    for place in reversed(range(len(leaves) - 1)):
        heap[place] = keccak(b"".join(sorted(heap[2 * place + 1 : 2 * place + 3])))
    return heap[0]


@asynccontextmanager
async def members(clock: ClockUnit) -> AsyncIterator[World]:
    async with world(clock, PERIOD[clock]) as made:
        await made.reputations({2: 10, 3: 20, 4: 2**200, 5: 7})
        yield made


async def time_of(made: World, number: int) -> int:
    return (await made.node.header(number)).timestamp


@pytest.mark.parametrize("clock", list(ClockUnit))
async def test_a_second_computation_from_bare_chain_reads_gives_the_root(clock: ClockUnit) -> None:
    async with members(clock) as made:
        request = await made.propose()
        await made.mine()
        other = await made.propose()
        await made.vote(2, request, Support.FOR)
        await made.vote(5, other, Support.FOR)
        await made.vote(3, request, Support.AGAINST)
        await made.vote(5, request, Support.ABSTAIN)
        if clock is ClockUnit.BLOCK_NUMBER:
            await made.mine(20)
            end_block = request.block_number + PERIOD[clock]
        else:
            await made.mine()
            end_block = (await made.node.header("latest")).number
            await made.pass_time(4_000)
            await made.mine(3)
        async with made.scoring() as app:
            await made.end(app, request)
            outcome = await score(app, request)
        assert outcome.status is ScoreStatus.SCORED
        assert outcome.score == -3_333
        assert outcome.root == await Recomputed(made.node, request, end_block).root()


async def test_a_vote_in_the_very_last_block_by_blocks_counts() -> None:
    async with members(ClockUnit.BLOCK_NUMBER) as made:
        request = await made.propose()
        deadline = request.block_number + PERIOD[ClockUnit.BLOCK_NUMBER]
        await made.mine(deadline - request.block_number - 1)
        await made.vote(2, request, Support.FOR)
        assert (await made.node.header("latest")).number == deadline
        async with made.scoring() as app:
            await made.end(app, request)
            scoring = asyncio.create_task(score(app, request))
            await asyncio.sleep(0.2)
            assert not scoring.done(), "the vote is open in its last block"
            await made.mine()
            outcome = await scoring
        assert (outcome.score, outcome.counted) == (10_000, 1)
        assert outcome.root == await Recomputed(made.node, request, deadline).root()


async def test_a_vote_in_the_second_of_the_deadline_counts() -> None:
    """The last block of a vote is the one whose timestamp equals the deadline, not the one before."""
    async with members(ClockUnit.TIMESTAMP) as made:
        request = await made.propose()
        deadline = await time_of(made, request.block_number) + PERIOD[ClockUnit.TIMESTAMP]
        await made.mine()
        await made.node.request("evm_setNextBlockTimestamp", [deadline])
        await made.vote(2, request, Support.FOR)
        head = await made.node.header("latest")
        assert head.timestamp == deadline
        await made.pass_time(4_000)
        await made.mine(2)
        async with made.scoring() as app:
            await made.end(app, request)
            outcome = await score(app, request)
        assert (outcome.score, outcome.counted) == (10_000, 1)
        assert outcome.root == await Recomputed(made.node, request, head.number).root()


async def test_a_cancellation_between_the_reading_and_the_submission_sends_nothing() -> None:
    async with members(ClockUnit.BLOCK_NUMBER) as made:
        request = await made.propose()
        await made.mine()
        await made.vote(2, request, Support.FOR)
        await made.mine(20)
        await made.execute(0, made.dao, reputation_dao.CANCEL, int(request.proposal_id))
        async with made.scoring() as app:
            # The listener looked before the cancellation: the workflow was told of an ordinary end.
            await made.end(app, request, EndReason.ENDED)
            outcome = await score(app, request)
        assert outcome.status is ScoreStatus.CANCELLED
        assert outcome.transaction_hash is None


async def test_a_node_of_another_chain_is_not_read() -> None:
    async with members(ClockUnit.BLOCK_NUMBER) as made:
        request = await made.propose()
        await made.mine(20)
        elsewhere = ProposalRequest(
            **{name: getattr(request, name) for name in type(request).__dataclass_fields__}
            | {"chain_id": request.chain_id + 1}
        )
        with pytest.raises(WrongChain, match=str(request.chain_id + 1)):
            await proposal_facts(made.node, elsewhere)


class SecondLayer(Node):
    """Numbers its blocks by itself, while its contracts see the first layer's."""

    async def header(self, block: Any) -> Any:
        found = await super().header(block)
        return type(found)(
            number=found.number if isinstance(block, int) else found.number - 1,
            hash=found.hash,
            parent_hash=found.parent_hash,
            timestamp=found.timestamp,
        )

    async def call_each(self, calls: Any, block: Any = "latest") -> Any:
        return await super().call_each(calls, "latest")


async def test_a_block_clock_of_another_chain_is_told_and_not_compared() -> None:
    """Its deadline names no block here: the vote's last block is the last vote's, whoever reads it when."""
    async with members(ClockUnit.BLOCK_NUMBER) as made:
        request = await made.propose()
        quiet = await made.propose()
        await made.mine()
        await made.vote(2, request, Support.FOR)
        await made.vote(3, request, Support.AGAINST)
        last = (await made.node.header("latest")).number
        async with SecondLayer(made.server.url) as node:
            with pytest.raises(VotingNotEnded):
                await proposal_facts(node, request)
            await made.mine(20)
            facts = await proposal_facts(node, request)
            assert (facts.last_block, facts.tally.for_votes, facts.tally.against_votes) == (last, 10, 20)
            assert (await read_votes(node, facts)).tally == facts.tally
            assert (await proposal_facts(node, quiet)).last_block == quiet.block_number
            await made.mine(30)
            assert await proposal_facts(node, request) == facts
