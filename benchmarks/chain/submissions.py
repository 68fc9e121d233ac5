"""Scores brought onto a chain by one key: how many one-second blocks 300 of them take, singly and together.

anvil mines a block a second. Each score goes the way of the product: the registry is
asked, the transaction tried, its nonce reserved, its bytes stored (SQLite, FULL) before the broadcast, and
confirmed at depth 1 by the hash of its block. Blocks are counted from the head at the start to the last with
a submission.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from dataclasses import dataclass, replace

from benchmarks.chain.stage import Figure, node_on_anvil
from contracts.bindings import proposal_scores, reputation_dao
from contracts.bindings.reputation_dao import ClockUnit
from contracts.dao.face import DaoForm, DaoKind
from contracts.deployment import deploy_dao
from contracts.direct import DirectSender
from contracts.rpc import Node
from contracts.transactions import SendingPolicy, Signer
from orchestrator import Context, Orchestrator
from scorers.batches.gathering import Batching
from scorers.policy import ANY_POLICY
from scorers.registration import register_scoring
from scorers.settings import Settings
from scorers.submission import Submission, SubmissionStatus, submit
from scorers.values import Proposal, ScoreStatus, Tally, Verdict

KEY = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
SCORES = 300
SINGLY_BLOCKS_MAX = 6
BATCHED_BLOCKS_MAX = 3
FINALITY_BLOCKS = 70
CONCURRENCY: int = Settings.model_fields["concurrency"].default
"""What `dao-scorer worker` and `up` execute at once, unless told otherwise."""
DEFAULT = SendingPolicy()
POLICY = replace(DEFAULT, poll_ms=200, pause_ms=200, watch_ms=20_000, early=True)
MANY = replace(POLICY, in_flight_max=SCORES)
"""A key has as many in flight as there are scores: with 16, and one block a second, 300 take 19 blocks."""
NOTHING = Tally(for_votes=0, against_votes=0, abstain_votes=0)
VERDICT = Verdict(
    status=ScoreStatus.NO_VOTES,
    score=0,
    for_votes=0,
    against_votes=0,
    abstain_votes=0,
    counted=0,
    excluded=0,
    votes=0,
    votes_root="0x" + "00" * 32,
    findings=[],
)
ROOT = "0x" + "5c" * 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One way to submit; `seconds` is from the start to the last confirmation, `cpu_s` this process alone."""

    scores: int
    blocks: int
    transactions: int
    seconds: float
    cpu_s: float


async def submit_verdict(ctx: Context, proposal: Proposal) -> Submission:
    """Submit a verdict, as the scoring workflow does at its end."""
    return await submit(ctx, proposal, VERDICT, ROOT, ANY_POLICY)


async def ended_proposals(node: Node, count: int) -> list[Proposal]:
    """Deploy a DAO with its registry and let so many votes end, deep below what the node calls final."""
    chain_id = await node.chain_id()
    sender = DirectSender(node, Signer.from_key(KEY), chain_id)
    deployed = await deploy_dao(
        sender, voting_period=5, scorers=[sender.address], clock=ClockUnit.BLOCK_NUMBER
    )
    proposals = []
    for number in range(1, count + 1):
        data = reputation_dao.PROPOSE.encode(number.to_bytes(32, "big"))
        log = (await sender.send(deployed.dao, data, gas=300_000)).logs[0]
        created = reputation_dao.PROPOSAL_CREATED.decode(log)
        proposals.append(
            _proposal(chain_id, deployed.dao, deployed.registry, created.proposal_id, log.block_number)
        )
    await node.request("anvil_mine", [hex(FINALITY_BLOCKS)])
    return proposals


def _proposal(chain_id: int, dao: str, registry: str, proposal_id: int, block: int) -> Proposal:
    return Proposal(
        chain_id=chain_id,
        dao=dao,
        form=DaoForm(
            kind=DaoKind.GOVERNOR,
            counting_mode="support=bravo&quorum=for,abstain",
            clock_mode="mode=blocknumber&from=default",
        ),
        registry=registry,
        scored_dao=dao,
        proposal_id=proposal_id,
        snapshot=block,
        deadline=block + 5,
        first_block=block,
        last_block=block + 5,
        tally=NOTHING,
        policy_hash="0x" + "00" * 32,
    )


async def measured(count: int, batching: Batching | None, policy: SendingPolicy) -> Seen:
    """Submit so many scores and count the blocks."""
    with tempfile.TemporaryDirectory() as folder:
        async with node_on_anvil() as (node, _):
            proposals = await ended_proposals(node, count)
            app = Orchestrator.local(f"sqlite:///{folder}/store.db", concurrency=CONCURRENCY)
            register_scoring(app, node=node, signer=Signer.from_key(KEY), sending=policy, batching=batching)
            app.register(submit_verdict)
            async with app:
                await node.request("evm_setAutomine", [False])
                await node.request("evm_setIntervalMining", [1])
                begun, cpu, head = time.monotonic(), time.process_time(), await node.header("latest")
                ended = await asyncio.gather(
                    *(app.rpc(f"submit-{each.proposal_id}", submit_verdict, each) for each in proposals)
                )
                seconds, cpu_s = time.monotonic() - begun, time.process_time() - cpu
            await _check(node, proposals, ended)
    return Seen(
        scores=count,
        blocks=max(each.block_number or 0 for each in ended) - head.number,
        transactions=len({each.transaction_hash for each in ended}),
        seconds=round(seconds, 2),
        cpu_s=round(cpu_s, 2),
    )


async def _check(node: Node, proposals: list[Proposal], ended: list[Submission]) -> None:
    """Make sure that the chain holds each of them once."""
    head, event = await node.header("latest"), proposal_scores.SCORE_SUBMITTED
    logs = await node.logs(proposals[0].registry, [event.topic0], 0, head.number)
    submitted = sorted(event.decode(log).proposal_id for log in logs)
    if submitted != sorted(each.proposal_id for each in proposals):
        raise SystemExit(f"{len(submitted)} submissions of {len(proposals)} stand in the registry")
    if {each.status for each in ended} != {SubmissionStatus.SUBMITTED}:
        raise SystemExit("a submission did not end as submitted")


async def measure(rounds: int) -> list[Figure]:
    """Measure both ways once: a round of either takes some seconds of waiting for blocks."""
    fewest = -(-SCORES // DEFAULT.in_flight_max)
    return [
        _figure("singly", SINGLY_BLOCKS_MAX, await measured(SCORES, None, MANY)),
        _figure("together", BATCHED_BLOCKS_MAX, await measured(SCORES, Batching(), POLICY)),
        # A block takes what is in flight at most: a quarter more for what is noticed late.
        _figure("singly, 16 in flight", fewest + fewest // 4, await measured(SCORES, None, POLICY)),
    ]


def _figure(way: str, blocks_max: int, seen: Seen) -> Figure:
    return Figure(
        name=f"{seen.scores} scores submitted and confirmed {way}",
        value=f"{seen.blocks} blocks, {seen.transactions} transactions, {seen.seconds:.1f} s, "
        f"{seen.cpu_s:.1f} s of processor time",
        target=f"{blocks_max} blocks",
        met=seen.blocks <= blocks_max,
    )
