"""Scores brought onto a chain by one key: how many one-second blocks 300 of them take, singly and together.

    python -m benchmarks.submissions [--json] [--scores N]

anvil (npm ci in contracts/) mines a block a second. Each score goes the way of the product: the registry is
asked, the transaction tried, its nonce reserved, its bytes stored (SQLite, FULL) before the broadcast, and
confirmed at depth 1 by the hash of its block. Blocks are counted from the head at the start to the last with
a submission.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from contracts.bindings import proposal_scores, reputation_dao
from contracts.bindings.reputation_dao import ClockUnit
from contracts.dao.face import DaoForm, DaoKind
from contracts.deployment import deploy_dao
from contracts.direct import DirectSender
from contracts.rpc import Node, NodeUnavailable
from contracts.transactions import SendingPolicy, Signer
from orchestrator import Context, Orchestrator
from scorers.batches.gathering import Batching
from scorers.registration import register_scoring
from scorers.submission import Submission, SubmissionStatus, submit
from scorers.values import Proposal, ScoreStatus, Tally, Verdict

BINARY = Path(__file__).parents[1] / "contracts/node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil"
KEY = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
SCORES = 300
SINGLY_BLOCKS_MAX = 6
BATCHED_BLOCKS_MAX = 3
START_S = 20
FINALITY_BLOCKS = 70
POLICY = SendingPolicy(poll_ms=200, pause_ms=200, watch_ms=20_000, early=True, in_flight_max=SCORES)
NOTHING = Tally(for_votes=0, against_votes=0, abstain_votes=0)
VERDICT = Verdict(
    status=ScoreStatus.NO_VOTES,
    score=0,
    for_votes=0,
    against_votes=0,
    abstain_votes=0,
    counted=0,
    excluded=0,
    findings=[],
)
ROOT = "0x" + "5c" * 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One way to submit; `seconds` is from the first to the last confirmation, `cpu_s` this process alone."""

    way: str
    scores: int
    blocks: int
    blocks_max: int
    transactions: int
    seconds: float
    cpu_s: float

    @property
    def met(self) -> bool:
        """Tell whether it took no more blocks than it may."""
        return self.blocks <= self.blocks_max


async def submit_verdict(ctx: Context, proposal: Proposal) -> Submission:
    """Submit a verdict, as the scoring workflow does at its end."""
    return await submit(ctx, proposal, VERDICT, ROOT)


@asynccontextmanager
async def anvil() -> AsyncIterator[Node]:
    """Run anvil on a free port of the loopback."""
    binary = str(BINARY) if os.access(BINARY, os.X_OK) else shutil.which("anvil")
    if binary is None:
        raise SystemExit("anvil is not installed: npm ci in contracts/")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([binary, "--host", "127.0.0.1", "--port", str(port), "--silent"])  # noqa: ASYNC220, S603
    try:
        async with asyncio.timeout(START_S):
            node = await _answering(f"http://127.0.0.1:{port}")
        async with node:
            yield node
    finally:
        process.kill()
        process.wait()


async def _answering(url: str) -> Node:
    while True:
        try:
            async with Node(url) as node:
                await node.chain_id()
        except NodeUnavailable:
            await asyncio.sleep(0.05)
        else:
            return Node(url)


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


async def measured(way: str, blocks_max: int, count: int, batching: Batching | None) -> Figure:
    """Submit so many scores and count the blocks."""
    with tempfile.TemporaryDirectory() as folder:
        async with anvil() as node:
            proposals = await ended_proposals(node, count)
            app = Orchestrator.local(f"sqlite:///{folder}/store.db")
            register_scoring(app, node=node, signer=Signer.from_key(KEY), sending=POLICY, batching=batching)
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
    return Figure(
        way=way,
        scores=count,
        blocks=max(each.block_number or 0 for each in ended) - head.number,
        blocks_max=blocks_max,
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


async def figures(count: int = SCORES) -> list[Figure]:
    """Measure both ways."""
    together = Batching(size_max=150, wait_s=1.0)
    return [
        await measured("singly", SINGLY_BLOCKS_MAX, count, None),
        await measured("together", BATCHED_BLOCKS_MAX, count, together),
    ]


def main() -> None:
    """Print a line a way; exit code 1 where one took more blocks than it may."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--scores", type=int, default=SCORES)
    options, _ = parser.parse_known_args()
    found = asyncio.run(figures(options.scores))
    for figure in found:
        if options.json:
            print(json.dumps(asdict(figure)))
        else:
            print(
                f"{figure.scores} scores {figure.way}: {figure.blocks} blocks (at most {figure.blocks_max}), "
                f"{figure.transactions} transactions, {figure.seconds} s, {figure.cpu_s} s of processor time"
            )
    if not all(figure.met for figure in found):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
