"""A batch of which the registry takes a part, and a worker that is killed after the receipt of it.

A proposal is withdrawn while the batch waits in the pool: its trial had passed, the registry skips it.
Whoever goes on reads the receipt anew: each score ends as the receipt says, and nothing else is sent.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.bindings import Log, decode_error, proposal_scores, reputation_dao
from contracts.rpc import Node
from orchestrator.client.codec import decode_value
from orchestrator.protocol.records import PromiseRecord
from scorers.values import ScoreOutcome, ScoreStatus
from tests.acceptance.boundaries import FULL, PROPOSALS
from tests.acceptance.conftest import Record, survived
from tests.acceptance.nursery import Nursery
from tests.acceptance.scene import (
    ADMIN,
    CHAIN_ID,
    END_S,
    KILLED,
    LOOK_S,
    SCORER,
    Ground,
    Scene,
    furnish,
    scene,
    signer,
)
from tests.anvil_node import SOON_FINAL, anvil

pytestmark = pytest.mark.acceptance
WITHDRAWN = 2
GWEI = 10**9
BLOCK_S = 0.2
ALWAYS = ("after:1:record confirm_transaction ", "after:2:promise.settle sent-")
ALWAYS_ON_ANVIL = ("before:1:record read_ends ",)
OTHERS = (
    "after:1:record read_ends ",
    "after:1:promise.settle inBatch-",
    "before:1:record settle_items ",
)
"""Further places after the receipt."""
ALL = (*ALWAYS, *ALWAYS_ON_ANVIL, *OTHERS)


@pytest.fixture(scope="module")
def anvils(nursery: Nursery) -> Iterator[Ground]:
    """The same on anvil, which mines when it is told to and finalises two blocks later."""
    with anvil(*SOON_FINAL) as url:
        yield asyncio.run(furnish(nursery, url, PROPOSALS, of_others=True))


@pytest.mark.parametrize("kill", ALL if FULL else ALWAYS)
async def test_killed_after_a_mixed_receipt(
    kill: str, ground: Ground, tmp_path: Path, record_property: Record
) -> None:
    await _killed(kill, ground, tmp_path, record_property)


@pytest.mark.parametrize("kill", ALL if FULL else ALWAYS_ON_ANVIL)
async def test_killed_after_a_mixed_receipt_on_anvil(
    kill: str, anvils: Ground, tmp_path: Path, record_property: Record
) -> None:
    await _killed(kill, anvils, tmp_path, record_property)


async def _killed(kill: str, ground: Ground, folder: Path, record: Record) -> None:
    began = time.monotonic()
    async with scene(ground, folder, batched=True) as played, Node(ground.url) as node:
        await played.serve()
        victim = played.work(kill)
        await node.request("evm_setAutomine", [False])
        played.listen()
        await _pooled(node, ground)
        await _withdraw_first(node, ground)
        await node.request("evm_setAutomine", [True])
        await node.request("evm_mine", [])
        async with asyncio.TaskGroup() as group:
            mining = group.create_task(_mine(node))
            assert await victim.ended(END_S) == KILLED, victim.words()
            played.work()
            promises = await played.finished(END_S)
            mining.cancel()
        await _judge(played, node, promises)
    survived(record, played, ("mixed batch", kill.partition(":")[0], kill.split(":")[2], 1), began)


async def _mine(node: Node) -> None:
    """Let time pass on the chain, so that what is mined becomes final."""
    while True:
        await asyncio.sleep(BLOCK_S)
        await node.request("evm_mine", [])


async def _pooled(node: Node, ground: Ground) -> None:
    """Wait until the batch has been broadcast."""
    end = time.monotonic() + END_S
    while await node.nonce(signer(SCORER).address, "pending") <= ground.scorer_nonce:
        assert time.monotonic() < end, "nothing was broadcast"
        await asyncio.sleep(LOOK_S)


async def _withdraw_first(node: Node, ground: Ground) -> None:
    """Put the cancellation of a proposal into the pool, paid so well that it comes before the batch."""
    admin = signer(ADMIN)
    _, raw = admin.sign_fields(
        {
            "chainId": CHAIN_ID,
            "nonce": await node.nonce(admin.address),
            "value": 0,
            "to": ground.dao,
            "data": reputation_dao.CANCEL.encode(WITHDRAWN),
            "gas": 100_000,
            "maxFeePerGas": 900 * GWEI,
            "maxPriorityFeePerGas": 90 * GWEI,
        }
    )
    await node.send_raw(raw)


async def _judge(played: Scene, node: Node, promises: dict[str, PromiseRecord]) -> None:
    ground = played.ground
    outcomes = {number: _outcome(ground, promises, number) for number in range(1, ground.proposals + 1)}
    withdrawn = outcomes.pop(WITHDRAWN)
    assert (withdrawn.status, withdrawn.transaction_hash) == (ScoreStatus.CANCELLED, None)
    assert {each.status for each in outcomes.values()} <= {ScoreStatus.SCORED, ScoreStatus.NO_VOTES}
    taken = [
        (proposal_scores.SCORE_SUBMITTED.decode(log).proposal_id, "0x" + log.transaction_hash.hex())
        for log in await _logs(node, ground, proposal_scores.SCORE_SUBMITTED.topic0)
    ]
    assert sorted(taken) == [(number, each.transaction_hash) for number, each in sorted(outcomes.items())]
    (skipped,) = await _logs(node, ground, proposal_scores.SUBMISSION_SKIPPED.topic0)
    told = proposal_scores.SUBMISSION_SKIPPED.decode(skipped)
    assert told.proposal_id == WITHDRAWN
    assert str(decode_error(told.refusal)) == f"ProposalWasCanceled(proposalId={WITHDRAWN})"
    assert {each for _, each in taken} == {"0x" + skipped.transaction_hash.hex()}
    assert await node.nonce(signer(SCORER).address) == ground.scorer_nonce + 1
    assert not played.history.restarted(), "steps began again after they had settled"


async def _logs(node: Node, ground: Ground, topic0: bytes) -> list[Log]:
    head = (await node.header("latest")).number
    return await node.logs(ground.registry, [topic0], ground.start_block, head)


def _outcome(ground: Ground, promises: dict[str, PromiseRecord], number: int) -> ScoreOutcome:
    outcome = decode_value(promises[ground.promise_id(number)].value, ScoreOutcome, "outcome")
    assert isinstance(outcome, ScoreOutcome)
    return outcome
