"""Scores that go together: one transaction for many, split where it must be, and none sinks the others."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from contracts.bindings import proposal_scores, reputation_dao
from contracts.bindings.reputation_dao import Support
from contracts.rpc import NodeUnavailable
from contracts.transactions import patience
from listener.invocation import ProposalRequest
from orchestrator import Orchestrator, PromiseState
from scorers.batches.book import outcome_id
from scorers.batches.gathering import Batching, Gathering
from scorers.batches.values import Batch, Item, Place
from scorers.batches.workflow import send_batch
from scorers.steps import votes as votes_module
from scorers.values import ScoreOutcome, ScoreStatus
from scorers.workflow import score_proposal
from tests.scorers_chain import ACCOUNTS, FAST, World, world

TIMEOUT_S = 60
TOGETHER = Batching(size_max=4, wait_s=5)
PLACE = Place(chain_id=1, registry="0x" + "5c" * 20, scorer="0x" + "11" * 20)


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PARK_S", 0.05)
    monkeypatch.setattr(patience, "PARK_S_MAX", 0.2)
    monkeypatch.setattr(votes_module, "READ_PAUSE_S", 0.01)


@pytest.fixture
async def blocks() -> AsyncIterator[World]:
    async with world() as made:
        await made.reputations({2: 10, 3: 20})
        yield made


async def proposals(made: World, count: int) -> list[ProposalRequest]:
    """Return so many proposals whose votes have ended."""
    requests = [await made.propose() for _ in range(count)]
    await made.mine()
    for request in requests:
        await made.vote(2, request, Support.FOR)
    await made.mine(25)
    return requests


async def score_all(app: Orchestrator, made: World, requests: list[ProposalRequest]) -> list[ScoreOutcome]:
    for request in requests:
        await made.end(app, request)
    async with asyncio.timeout(TIMEOUT_S):
        return list(
            await asyncio.gather(*(app.rpc(each.promise_id, score_proposal, each) for each in requests))
        )


async def submitted(made: World) -> list[int]:
    head = await made.node.header("latest")
    event = proposal_scores.SCORE_SUBMITTED
    logs = await made.node.logs(made.registry, [event.topic0], 0, head.number)
    return sorted(event.decode(log).proposal_id for log in logs)


def ids(requests: list[ProposalRequest]) -> list[int]:
    return sorted(int(request.proposal_id) for request in requests)


async def test_scores_that_are_ready_go_by_one_transaction(blocks: World) -> None:
    requests = await proposals(blocks, 4)
    async with blocks.scoring(batching=TOGETHER) as app:
        outcomes = await score_all(app, blocks, requests)
        pending = await app.promises.search(state=PromiseState.PENDING, limit=1000)
    assert {each.status for each in outcomes} == {ScoreStatus.SCORED}
    assert len({each.transaction_hash for each in outcomes}) == 1
    assert None not in {each.transaction_hash for each in outcomes}
    assert await submitted(blocks) == ids(requests)
    assert await blocks.node.nonce(ACCOUNTS[1][0]) == 1
    assert [each.id for each in pending.promises] == []


async def test_a_decided_one_is_left_out_and_the_others_go(blocks: World) -> None:
    """Somebody submitted the same for one of them already; the trial finds it, and so does the registry."""
    requests = await proposals(blocks, 3)
    async with blocks.scoring() as app:
        (alone,) = await score_all(app, blocks, requests[:1])
    assert alone.root is not None
    async with blocks.scoring(batching=TOGETHER) as app:
        place = Place(chain_id=blocks.chain_id, registry=blocks.registry, scorer=ACCOUNTS[1][0])
        items = tuple(
            Item(
                logical_id=f"item-{request.proposal_id}",
                proposal_id=int(request.proposal_id),
                status=1,
                score=alone.score,
                root=alone.root,
            )
            for request in requests
        )
        async with asyncio.timeout(TIMEOUT_S):
            end = await app.run("batch-1", send_batch, Batch(place=place, items=items))
            again = await app.run("batch-2", send_batch, Batch(place=place, items=items))
        told = await app.promises.get(outcome_id(items[1].logical_id))
    (left,) = end.aside
    assert (left.item.proposal_id, end.submitted) == (int(requests[0].proposal_id), 2)
    assert left.reason.startswith("AlreadySubmitted(")
    assert (again.submitted, again.elsewhere) == (0, 3)
    assert not told.pending
    assert await submitted(blocks) == ids(requests)


async def test_one_that_is_withdrawn_meanwhile_sinks_no_other(blocks: World) -> None:
    """The trial before had passed; the registry skips it, and the same transaction carries the others."""
    requests = await proposals(blocks, 3)
    lies = True

    async def cancel_before_sending(raw: bytes) -> bytes:
        nonlocal lies
        if lies:
            lies = False
            await blocks.execute(0, blocks.dao, reputation_dao.CANCEL, int(requests[1].proposal_id))
        return await send_raw(raw)

    send_raw, blocks.node.send_raw = blocks.node.send_raw, cancel_before_sending  # type: ignore[method-assign]
    async with blocks.scoring(batching=Batching(size_max=3, wait_s=5)) as app:
        outcomes = await score_all(app, blocks, requests)
    assert [each.status for each in outcomes] == [
        ScoreStatus.SCORED,
        ScoreStatus.CANCELLED,
        ScoreStatus.SCORED,
    ]
    assert await submitted(blocks) == ids([requests[0], requests[2]])
    assert outcomes[0].transaction_hash == outcomes[2].transaction_hash
    assert await blocks.node.nonce(ACCOUNTS[1][0]) == 1


async def test_more_than_one_transaction_may_hold_is_split(blocks: World) -> None:
    requests = await proposals(blocks, 5)
    async with blocks.scoring(
        batching=Batching(size_max=5, wait_s=5), sending=replace(FAST, gas_max=350_000)
    ) as app:
        outcomes = await score_all(app, blocks, requests)
    assert {each.status for each in outcomes} == {ScoreStatus.SCORED}
    assert await submitted(blocks) == ids(requests)
    hashes = {each.transaction_hash for each in outcomes}
    assert 2 <= len(hashes) <= 4
    for transaction_hash in hashes:
        receipt = await blocks.node.receipt(bytes.fromhex((transaction_hash or "")[2:]))
        assert receipt is not None
        assert receipt.gas_used <= 350_000


async def test_none_waits_longer_for_others_than_is_set(blocks: World) -> None:
    requests = await proposals(blocks, 1)
    async with blocks.scoring(batching=Batching(size_max=100, wait_s=0.05)) as app:
        (outcome,) = await score_all(app, blocks, requests)
    assert outcome.status is ScoreStatus.SCORED


def item(number: int) -> Item:
    return Item(logical_id=f"item-{number}", proposal_id=number, status=1, score=0, root="0x" + "01" * 32)


async def test_gathering_is_bounded_and_survives_the_one_that_leads() -> None:
    begun: list[Batch] = []
    failures = [NodeUnavailable("http://server.invalid", "away")]

    async def begin(batch_id: str, batch: Batch) -> None:
        if failures:
            raise failures.pop()
        begun.append(batch)

    gathering = Gathering(Batching(size_max=3, wait_s=0.01), begin)
    leading = asyncio.create_task(gathering.join(PLACE, item(1)))
    following = [asyncio.create_task(gathering.join(PLACE, item(number))) for number in (2, 3, 4, 5)]
    async with asyncio.timeout(TIMEOUT_S):
        with pytest.raises(NodeUnavailable):
            await leading
        batch_ids = {await each for each in following}
    assert sorted(each.proposal_id for batch in begun for each in batch.items) == [2, 3, 4, 5]
    assert max(len(batch.items) for batch in begun) <= 3
    assert len(batch_ids) == len(begun)


async def test_a_leader_that_is_cancelled_leaves_the_others_to_go_on() -> None:
    begun: list[Batch] = []

    async def begin(batch_id: str, batch: Batch) -> None:
        begun.append(batch)

    gathering = Gathering(Batching(size_max=9, wait_s=0.05), begin)
    leading = asyncio.create_task(gathering.join(PLACE, item(1)))
    await asyncio.sleep(0)
    following = asyncio.create_task(gathering.join(PLACE, item(2)))
    await asyncio.sleep(0)
    leading.cancel()
    async with asyncio.timeout(TIMEOUT_S):
        await following
    assert [[each.proposal_id for each in batch.items] for batch in begun] == [[2]]


async def test_a_batch_that_is_cancelled_lets_its_items_try_again(blocks: World) -> None:
    await proposals(blocks, 1)
    async with blocks.scoring(batching=TOGETHER) as app, asyncio.timeout(TIMEOUT_S):
        held = asyncio.Event()

        async def never(raw: bytes) -> bytes:
            held.set()
            raise NodeUnavailable(blocks.node.endpoint, "away")

        blocks.node.send_raw = never  # type: ignore[method-assign]
        place = Place(chain_id=blocks.chain_id, registry=blocks.registry, scorer=ACCOUNTS[1][0])
        handle = await app.begin_run("batch-1", send_batch, Batch(place=place, items=(item(1),)))
        await held.wait()
        await handle.cancel()
        assert await handle.exception() is not None
        told = await app.promises.get(outcome_id("item-1"))
    assert told.state is PromiseState.RESOLVED
    assert "its batch was cancelled" in base64.b64decode(told.value.data or "").decode()
