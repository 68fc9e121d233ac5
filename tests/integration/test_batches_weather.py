"""Batches in random weather: each score stands on the chain once, whoever else submits it, and no gap stays.

The weather, the deaths and the operator are those of `test_transactions_weather`; the registry takes a batch
whole or not at all, others submit some of the scores meanwhile, and not every batch fits into a transaction.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import count
from random import Random

import pytest
from eth_abi.abi import decode

from contracts.bindings import proposal_scores
from contracts.transactions import SentStatus, patience, patiently
from orchestrator import Context, Info, Orchestrator
from orchestrator.engine import Engine
from orchestrator.store.memory import MemoryStore
from orchestrator.transport.local import LocalTransport
from scorers.batches.gathering import Batching
from scorers.batches.registration import register_batches
from scorers.batches.values import Item, Place
from scorers.batches.workflow import send_in_batch
from tests.integration.test_transactions_weather import (
    RECORDS,
    RETRY,
    SEED,
    SENDERS,
    Plan,
    Worker,
    planned,
    troubled,
    worker,
)
from tests.transactions_weather import CHAIN_ID, GWEI, REGISTRY, Block, Transaction, WeatherNode

SEEDS = [int(SEED)] if SEED else range(1_000 if RECORDS else 12)
GAS = 100_000
RIVAL = "0x" + "77" * 20
ROOT = "0x" + "5c" * 32


@pytest.fixture(autouse=True)
def _short_parking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PARK_S", 0.01)
    monkeypatch.setattr(patience, "PARK_S_MAX", 0.05)


@cache
def ids_in(data: bytes) -> tuple[int, ...]:
    """Return the proposals whose scores a call submits."""
    selector, words = data[:4], data[4:]
    if selector == proposal_scores.SUBMIT_SCORES.selector:
        (submissions,) = decode(["(uint256,uint8,int32,bytes32)[]"], words)
        return tuple(each[0] for each in submissions)
    return (int.from_bytes(words[:32], "big"),) if words else ()


class RegistryNode(WeatherNode):
    """The registry takes each proposal's score once; of a batch all or none. Gas goes by the score."""

    def submitted(self, blocks: Sequence[Block] | None = None) -> Counter[int]:
        seen = self.blocks if blocks is None else blocks
        return Counter(
            number
            for block in seen
            for each, status in block.transactions
            if status == 1 and each.to == REGISTRY
            for number in ids_in(each.data)
        )

    def _reverts(self, data: bytes, to: str, blocks: Sequence[Block] | None = None) -> bool:
        return to == REGISTRY and not self.submitted(blocks).keys().isdisjoint(ids_in(data))

    async def estimate_gas(self, sender: str, to: str | None, data: bytes, value: int = 0) -> int:
        return await super().estimate_gas(sender, to, data, value) * max(len(ids_in(data)), 1)

    def submit_by_another(self, number: int, nonce: int) -> None:
        """Let somebody else have the score of a proposal in the pool, to be mined with what comes."""
        data = proposal_scores.SUBMIT_SCORE.encode(
            number, proposal_scores.Status.NO_VOTES, 0, bytes.fromhex(ROOT[2:])
        )
        self.pool[RIVAL, nonce] = Transaction(
            raw=b"", hash=data, sender=RIVAL, nonce=nonce, data=data, to=REGISTRY, fee=9 * GWEI, tip=GWEI
        )


async def stands(info: Info, proposal_id: int) -> bool:
    """Ask at the final block whether somebody has submitted the score."""
    node = info.dependency(RegistryNode)
    return node.submitted(node.blocks[: (await node.header("finalized")).number + 1])[proposal_id] > 0


async def submit_one(ctx: Context, place: Place, item: Item) -> str:
    """Submit a score, as the scoring workflow does at its end; return how that ended."""
    for attempt in count(1):
        if await patiently(ctx, stands, item.proposal_id):
            return "stands"
        sent = await send_in_batch(ctx, place, replace(item, logical_id=f"{item.logical_id}-{attempt}"))
        if sent.status in (SentStatus.CONFIRMED, SentStatus.CANCELLED):
            return sent.status
        await ctx.sleep(0.01)
    raise AssertionError("count() does not end")


def batching_worker(batching: Batching) -> Worker:
    def made(engine: Engine, node: WeatherNode, plan: Plan) -> Orchestrator:
        app = worker(engine, node, plan)
        assert isinstance(node, RegistryNode)
        app.set_dependency(node)
        register_batches(app, batching, retry=RETRY)
        app.register(stands, retry=RETRY)
        app.register(submit_one)
        return app

    return made


def drawn(random: Random) -> tuple[RegistryNode, Plan, Batching, list[tuple[Place, Item]]]:
    weather, plan = planned(random)
    node = RegistryNode(automine=weather.automine, finality_lag=weather.finality_lag, gaps=weather.gaps)
    for name in ("random", "storm", "drops", "delays", "lies", "mines"):
        setattr(node, name, getattr(weather, name))
    if random.random() < 0.5:
        plan = replace(plan, policy=replace(plan.policy, gas_max=random.randrange(2, 5) * GAS))
    batching = Batching(size_max=random.randrange(1, 6), wait_s=random.choice([0.001, 0.02]))
    asked = [
        (
            Place(chain_id=CHAIN_ID, registry=REGISTRY, scorer=random.choice(SENDERS[: len(plan.signers)])),
            Item(logical_id=f"score-{number}", proposal_id=number, status=2, score=0, root=ROOT),
        )
        for number in range(1, random.randrange(2, 10))
    ]
    for nonce in range(random.randrange(3)):
        node.submit_by_another(random.randrange(1, 10), nonce)
    return node, plan, batching, asked


@pytest.mark.parametrize("seed", SEEDS)
async def test_each_score_stands_once_and_no_gap_stays(seed: int) -> None:
    random = Random(seed)  # noqa: S311 - weather, not cryptography
    node, plan, batching, asked = drawn(random)
    async with Engine(MemoryStore()) as engine:
        asking = Orchestrator(transport=LocalTransport(engine), worker=False)
        async with asking:
            handles = [
                await asking.begin_rpc(f"submit-{item.proposal_id}", "submit_one", place, item)
                for place, item in asked
            ]
            await troubled(engine, asking, node, plan, random, worker=batching_worker(batching))
            ended = {
                item.proposal_id: await handle.result()
                for (_, item), handle in zip(asked, handles, strict=True)
            }
    submitted = node.submitted()
    assert set(submitted.values()) <= {1}, f"seed {seed}: a score was taken twice"
    ours = {each for sent in node.succeeded() if sent.sender != RIVAL for each in ids_in(sent.data)}
    for number, end in ended.items():
        if end == SentStatus.CANCELLED:
            assert number not in ours, f"seed {seed}: {number} was given up and stands"
        else:
            assert submitted[number] == 1, f"seed {seed}: {number} ended as {end} and is not there"
    for sender in SENDERS:
        nonces = [each.nonce for each, _ in node.mined() if each.sender == sender]
        assert nonces == list(range(len(nonces))), f"seed {seed}"
