"""Batches in random weather: each score stands on the chain once, whoever else submits it, and no gap stays.

The weather, the deaths and the operator are those of `test_transactions_weather`; the registry skips what it
has, others submit some of the scores meanwhile, and not every batch fits into a transaction.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from itertools import count
from random import Random
from typing import Any

import pytest
from eth_abi.abi import decode, encode

from contracts.bindings import Event, Log, proposal_scores
from contracts.rpc import CallReverted, Receipt
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
from tests.transactions_weather import (
    ALREADY_SUBMITTED,
    CHAIN_ID,
    GWEI,
    REGISTRY,
    Block,
    Transaction,
    WeatherNode,
)

SEEDS = [int(SEED)] if SEED else range(1_000 if RECORDS else 12)
GAS = 100_000
RIVAL = "0x" + "77" * 20
ROOT = "0x" + "5c" * 32
SUBMISSION = "(uint256,uint8,int32,bytes32,bytes32)"


@pytest.fixture(autouse=True)
def _short_parking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PARK_S", 0.01)
    monkeypatch.setattr(patience, "PARK_S_MAX", 0.05)


@cache
def ids_in(data: bytes) -> tuple[int, ...]:
    """Return the proposals whose scores a call submits."""
    selector, words = data[:4], data[4:]
    if selector == proposal_scores.SUBMIT_SCORES.selector:
        (submissions,) = decode([f"{SUBMISSION}[]"], words)
        return tuple(each[0] for each in submissions)
    return (int.from_bytes(words[:32], "big"),) if words else ()


class RegistryNode(WeatherNode):
    """The registry takes each proposal's score once; of a batch what it has not. Gas goes by the score."""

    def submitted(self, blocks: Sequence[Block] | None = None) -> Counter[int]:
        """Return how often each score was taken: a score that stands is skipped and not taken again."""
        taken = Counter[int]()
        for block in self.blocks if blocks is None else blocks:
            for each, status in block.transactions:
                if status == 1 and each.to == REGISTRY:
                    taken.update(
                        number for number in ids_in(each.data) if is_single(each.data) or not taken[number]
                    )
        return taken

    def _reverts(self, data: bytes, to: str, blocks: Sequence[Block] | None = None) -> bool:
        return to == REGISTRY and bool(ids_in(data)) and self.submitted(blocks).keys() >= set(ids_in(data))

    def _refusals(self, data: bytes, blocks: Sequence[Block] | None = None) -> list[bytes]:
        taken = self.submitted(blocks)
        return [ALREADY_SUBMITTED if taken[number] else b"" for number in ids_in(data)]

    async def estimate_gas(self, sender: str, to: str | None, data: bytes, value: int = 0) -> int:
        try:
            return await super().estimate_gas(sender, to, data, value) * max(len(ids_in(data)), 1)
        except CallReverted as error:
            raise self._worded(error, data) from error

    async def simulate(
        self, sender: str, to: str, data: bytes, value: int = 0, block: int | str | bytes = "latest"
    ) -> bytes:
        try:
            answer = await super().simulate(sender, to, data, value, block)
        except CallReverted as error:
            raise self._worded(error, data) from error
        known = self.blocks[: self._number(block) + 1]
        return answer if is_single(data) else encode(["bytes[]"], [self._refusals(data, known)])

    def _worded(self, error: CallReverted, data: bytes) -> CallReverted:
        """A batch of which nothing is taken reverts with the reason of each of its items."""
        if error.data != ALREADY_SUBMITTED or is_single(data):
            return error
        told = encode(["bytes[]"], [[ALREADY_SUBMITTED] * len(ids_in(data))])
        return CallReverted(error.to, proposal_scores.NOTHING_TAKEN.selector + told, error.message)

    def _receipt(self, tx_hash: bytes) -> Receipt | None:
        receipt = super()._receipt(tx_hash)
        if receipt is None or receipt.status == 0:
            return receipt
        before = Counter[int]()
        for number in range(receipt.block_number + 1):
            block = self.blocks[number]
            for each, status in block.transactions:
                if each.hash == tx_hash:
                    return replace(receipt, logs=tuple(told(each, receipt, before)))
                if status == 1 and each.to == REGISTRY:
                    before.update(ids_in(each.data))
        return receipt

    def submit_by_another(self, number: int, nonce: int) -> None:
        """Let somebody else have the score of a proposal in the pool, to be mined with what comes."""
        data = proposal_scores.SUBMIT_SCORE.encode(
            number, proposal_scores.Status.NO_VOTES, 0, bytes.fromhex(ROOT[2:])
        )
        self.pool[RIVAL, nonce] = Transaction(
            raw=b"", hash=data, sender=RIVAL, nonce=nonce, data=data, to=REGISTRY, fee=9 * GWEI, tip=GWEI
        )


def is_single(data: bytes) -> bool:
    return data[:4] != proposal_scores.SUBMIT_SCORES.selector


def told(each: Transaction, receipt: Receipt, before: Counter[int]) -> Iterator[Log]:
    """Yield the registry's event of each score in a transaction; `before` has what stood before it."""
    for index, number in enumerate(ids_in(each.data)):
        event: Event[Any] = proposal_scores.SCORE_SUBMITTED
        data = encode(["uint32", "uint8", "int32", "bytes32"], [1, 2, 0, bytes(32)])
        if before[number]:
            event, data = proposal_scores.SUBMISSION_SKIPPED, encode(["bytes"], [ALREADY_SUBMITTED])
        yield Log(
            address=REGISTRY,
            topics=(event.topic0, encode(["uint256"], [number]), encode(["address"], [each.sender])),
            data=data,
            block_number=receipt.block_number,
            block_hash=receipt.block_hash,
            transaction_hash=each.hash,
            log_index=index,
        )


async def stands(info: Info, proposal_id: int) -> bool:
    """Ask at the final block whether somebody has submitted the score."""
    node = info.dependency(RegistryNode)
    return node.submitted(node.blocks[: (await node.header("finalized")).number + 1])[proposal_id] > 0


async def submit_one(ctx: Context, place: Place, item: Item) -> str:
    """Submit a score, as the scoring workflow does at its end; return how that ended, at which attempt."""
    for attempt in count(1):
        if await patiently(ctx, stands, item.proposal_id):
            return "stands"
        sent = await send_in_batch(ctx, place, replace(item, logical_id=f"{item.logical_id}-{attempt}"))
        if sent.status in (SentStatus.CONFIRMED, SentStatus.CANCELLED):
            return f"{sent.status} {attempt}"
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
        if end.startswith(SentStatus.CANCELLED):
            assert number not in ours, f"seed {seed}: {number} was given up ({end}) and stands"
        else:
            assert submitted[number] == 1, f"seed {seed}: {number} ended as {end} and is not there"
    for sender in SENDERS:
        nonces = [each.nonce for each, _ in node.mined() if each.sender == sender]
        assert nonces == list(range(len(nonces))), f"seed {seed}"
