"""Batches of which the registry takes a part: each score is settled by what the receipt says of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from eth_abi.abi import encode
from eth_account import Account
from eth_utils.address import to_checksum_address

from contracts.bindings import ErrorType, Event, Log, proposal_scores, reputation_dao
from contracts.rpc import Receipt
from contracts.transactions import Sent, SentStatus, patience
from listener.invocation import ProposalRequest
from orchestrator import Orchestrator
from orchestrator.client.codec import decode_value
from scorers.batches.book import outcome_id
from scorers.batches.gathering import Batching
from scorers.batches.receipts import ReceiptIncomplete, ended_by, told_of
from scorers.batches.sorting import reason_of
from scorers.batches.values import Batch, BatchEnd, Item, Place
from scorers.batches.workflow import send_batch
from scorers.steps import votes as votes_module
from scorers.submission import Standing, SubmissionStatus, judge_sent
from scorers.values import ScoreStatus
from tests.integration.test_scorers_batches import ids, proposals, score_all, submitted
from tests.scorers_chain import ACCOUNTS, FAST, GWEI, World, world

TIMEOUT_S = 60
ROOT = "0x" + "01" * 32
UNKNOWN = 77
STANDING = Standing(scorer=ACCOUNTS[1][0], cancelled=False, entry=None)


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


def item(number: int, name: str = "score", *, score: int = 7, root: str = ROOT) -> Item:
    return Item(logical_id=f"{name}-{number}", proposal_id=number, status=1, score=score, root=root)


def batch(made: World, *items: Item) -> Batch:
    place = Place(chain_id=made.chain_id, registry=made.registry, scorer=ACCOUNTS[1][0])
    return Batch(place=place, items=items)


async def told(app: Orchestrator, one: Item) -> Sent:
    record = await app.promises.get(outcome_id(one.logical_id))
    sent = decode_value(record.value, Sent, "outcome")
    assert isinstance(sent, Sent)
    return sent


async def cancel_first(made: World, request: ProposalRequest) -> None:
    """Put the cancellation of a proposal into the pool, paid so well that it comes before all else."""
    fields = {
        "type": 2,
        "chainId": made.chain_id,
        "nonce": await made.node.nonce(ACCOUNTS[0][0]),
        "value": 0,
        "to": to_checksum_address(made.dao),
        "data": reputation_dao.CANCEL.encode(int(request.proposal_id)),
        "gas": 100_000,
        "maxFeePerGas": 900 * GWEI,
        "maxPriorityFeePerGas": 90 * GWEI,
    }
    raw = bytes(Account.sign_transaction(fields, ACCOUNTS[0][1]).raw_transaction)
    await made.node.send_raw(raw)


async def broadcast(made: World, count: int) -> None:
    """Wait until so many transactions of the scorer wait in the pool."""
    async with asyncio.timeout(TIMEOUT_S):
        while await made.node.nonce(ACCOUNTS[1][0], "pending") < count:  # noqa: ASYNC110 - a node tells no event
            await asyncio.sleep(0.01)


async def test_a_mixed_receipt_settles_each_score_with_what_happened_to_it(blocks: World) -> None:
    """Two batches are tried before either is mined, and a proposal is withdrawn meanwhile."""
    requests = await proposals(blocks, 4)
    first, twice, withdrawn, last = ids(requests)
    again = [item(twice, "again"), item(withdrawn, "again"), item(last, "again"), item(UNKNOWN, "again")]
    async with blocks.scoring(batching=Batching()) as app, asyncio.timeout(TIMEOUT_S):
        await blocks.node.request("evm_setAutomine", [False])
        one = await app.begin_run("batch-1", send_batch, batch(blocks, item(first), item(twice)))
        await broadcast(blocks, 1)
        other = await app.begin_run("batch-2", send_batch, batch(blocks, *again))
        await broadcast(blocks, 2)
        await cancel_first(blocks, requests[2])
        await blocks.node.request("evm_setAutomine", [True])
        await blocks.mine()
        ends: list[BatchEnd] = [await one.result(), await other.result()]
        outcomes = [await told(app, each) for each in again]
    assert [end.submitted for end in ends] == [2, 1]
    assert [len(end.transaction_hashes) for end in ends] == [1, 1]
    assert sorted(each.item.proposal_id for each in ends[1].aside) == sorted([twice, withdrawn, UNKNOWN])
    transaction = ends[1].transaction_hashes[0]
    assert [(each.status, each.transaction_hash) for each in outcomes] == [
        (SentStatus.REVERTED, transaction),
        (SentStatus.REVERTED, transaction),
        (SentStatus.CONFIRMED, transaction),
        (SentStatus.REFUSED, None),
    ]
    names = [(each.reason or "").partition("(")[0] for each in outcomes]
    assert names == ["AlreadySubmitted", "ProposalWasCanceled", "", "NonexistentProposal"]
    assert all(each.revert_hex for each in outcomes if each.status is not SentStatus.CONFIRMED)
    assert await submitted(blocks) == [first, twice, last]
    assert await blocks.node.nonce(ACCOUNTS[1][0]) == 2


async def test_what_another_transaction_of_ours_submitted_ends_as_submitted(blocks: World) -> None:
    """The same verdict, skipped in a batch: the scoring finds the one that stands and succeeds with it."""
    requests = await proposals(blocks, 2)
    async with blocks.scoring() as app:
        (alone,) = await score_all(app, blocks, requests[:1])
    assert alone.root is not None
    number = int(requests[0].proposal_id)
    stale = {"trial": True}
    simulate = blocks.node.simulate

    async def unaware(*arguments: object, **named: object) -> bytes:
        """Answer the first trial as a node that does not know of the submission yet."""
        answer = await simulate(*arguments, **named)  # type: ignore[arg-type]
        if stale.pop("trial", False):
            refusals = proposal_scores.SUBMIT_SCORES.decode(answer)
            assert [bool(each) for each in refusals] == [True, False]
            return encode(["bytes[]"], [[b"", b""]])
        return answer

    blocks.node.simulate = unaware  # type: ignore[method-assign]
    mine = item(number, score=alone.score, root=alone.root)
    async with blocks.scoring(batching=Batching()) as app, asyncio.timeout(TIMEOUT_S):
        end = await app.run("batch-1", send_batch, batch(blocks, mine, item(int(requests[1].proposal_id))))
        found = await told(app, mine)
    assert (end.submitted, len(end.aside)) == (1, 1)
    assert found.status is SentStatus.REVERTED
    assert (found.reason or "").startswith("AlreadySubmitted(")
    # It is no failure: the registry is asked, and the entry there is the same.
    assert judge_sent(STANDING, found, 1) is None


async def test_a_batch_that_would_bring_nothing_is_not_sent(blocks: World) -> None:
    """All was withdrawn between the trial and the sending: no gas is spent, and each has its reason."""
    requests = await proposals(blocks, 2)
    estimate, seen = blocks.node.estimate_gas, 0

    async def withdrawn(*arguments: object, **named: object) -> int:
        nonlocal seen
        seen += 1
        if seen == 2:
            for request in requests:
                await blocks.execute(0, blocks.dao, reputation_dao.CANCEL, int(request.proposal_id))
        return await estimate(*arguments, **named)  # type: ignore[arg-type]

    blocks.node.estimate_gas = withdrawn  # type: ignore[method-assign]
    items = [item(number) for number in ids(requests)]
    async with blocks.scoring(batching=Batching()) as app, asyncio.timeout(TIMEOUT_S):
        end = await app.run("batch-1", send_batch, batch(blocks, *items))
        outcomes = [await told(app, each) for each in items]
    assert (end.submitted, end.transaction_hashes) == (0, ())
    assert [each.reason for each in outcomes] == [
        f"ProposalWasCanceled(proposalId={number})" for number in ids(requests)
    ]
    assert await blocks.node.nonce(ACCOUNTS[1][0]) == 0


async def test_a_pause_concerns_the_whole_batch(blocks: World) -> None:
    requests = await proposals(blocks, 2)
    items = [item(number) for number in ids(requests)]
    await blocks.execute(0, blocks.registry, proposal_scores.PAUSE)
    calls = blocks.node.requests_by_method["eth_call"]
    async with blocks.scoring(batching=Batching()) as app, asyncio.timeout(TIMEOUT_S):
        end = await app.run("batch-1", send_batch, batch(blocks, *items))
    assert [each.reason for each in end.aside] == ["EnforcedPause()"] * 2
    # Asked at the newest block and once more at the finalised one, however many they are.
    assert blocks.node.requests_by_method["eth_call"] - calls == 2


async def test_a_score_that_is_made_under_another_policy_ends_with_that_reason(blocks: World) -> None:
    await blocks.execute(0, blocks.registry, proposal_scores.REGISTER_POLICY, b"\x0a" * 32)
    (request,) = await proposals(blocks, 1)
    wrong = item(int(request.proposal_id))
    async with blocks.scoring(batching=Batching()) as app, asyncio.timeout(TIMEOUT_S):
        end = await app.run("batch-1", send_batch, batch(blocks, wrong))
        found = await told(app, wrong)
    assert end.submitted == 0
    assert (found.reason or "").startswith("WrongPolicy(")
    judged = judge_sent(STANDING, found, 0)
    assert judged is not None
    assert (judged.status, "0x" + "0a" * 32 in (judged.detail or "")) == (SubmissionStatus.FAILED, True)


@pytest.mark.parametrize("fate", ["included", "pooled", "dropped"])
async def test_a_receipt_that_a_reorg_takes_back_settles_nothing_as_submitted(fate: str) -> None:
    """The batch was confirmed early, and its block is gone before its receipt is read for its items."""
    reorganised = 0
    async with world(finality_lag=8) as made:
        await made.reputations({2: 10, 3: 20})
        requests = await proposals(made, 2)
        await made.mine(8)
        receipt = made.node.receipt

        async def taken_back(transaction_hash: bytes) -> Receipt | None:
            nonlocal reorganised
            found = await receipt(transaction_hash)
            if found is None or reorganised:
                return found
            depth = (await made.node.header("latest")).number - found.block_number + 1
            reorganised += 1
            await made.node.request("hardhatfree_reorg", [depth, {"fate": fate, "length": depth + 1}])
            return await receipt(transaction_hash)

        made.node.receipt = taken_back  # type: ignore[method-assign]
        early = replace(FAST, early=True, watch_ms=300)
        async with made.scoring(batching=Batching(size_max=2, wait_s=5), sending=early) as app:
            await made.node.request("evm_setIntervalMining", [100])
            outcomes = await score_all(app, made, requests)
        assert reorganised
        assert [each.status for each in outcomes] == [ScoreStatus.SCORED] * 2
        assert await submitted(made) == ids(requests)


def receipt_of(*logs: Log) -> Receipt:
    return Receipt(
        transaction_hash=b"\x0a" * 32,
        block_number=5,
        block_hash=b"\x0b" * 32,
        status=1,
        gas_used=1,
        contract_address=None,
        logs=logs,
    )


def log_of(number: int, event: Event[Any], types: list[str], values: list[object], address: str) -> Log:
    return Log(
        address=address,
        topics=(event.topic0, encode(["uint256"], [number]), encode(["address"], [ACCOUNTS[1][0]])),
        data=encode(types, values),
        block_number=5,
        block_hash=b"\x0b" * 32,
        transaction_hash=b"\x0a" * 32,
        log_index=0,
    )


def test_a_receipt_is_read_by_the_events_of_this_registry_in_their_order() -> None:
    place = Place(chain_id=1, registry="0x" + "5C" * 20, scorer=ACCOUNTS[1][0])
    here, elsewhere = place.registry.lower(), "0x" + "11" * 20
    verdict = (["uint32", "uint8", "int32", "bytes32"], [1, 1, 7, b"\x01" * 32])
    taken = log_of(1, proposal_scores.SCORE_SUBMITTED, *verdict, here)
    foreign = log_of(1, proposal_scores.SCORE_SUBMITTED, *verdict, elsewhere)
    final = log_of(1, proposal_scores.SCORE_FINALIZED, *verdict, here)
    strange = log_of(2, proposal_scores.SUBMISSION_SKIPPED, ["bytes"], [b"\xde\xad\xbe\xef"], here)
    assert told_of(receipt_of(taken, final, foreign, strange), place) == [taken, strange]
    sent = Sent(status=SentStatus.CONFIRMED, logical_id="batch", transaction_hash="0x0a", block_number=5)
    ended = ended_by(item(2), sent, strange).sent
    assert (ended.status, ended.logical_id, ended.revert_hex) == (
        SentStatus.REVERTED,
        "score-2",
        "0xdeadbeef",
    )
    assert ended.reason == "0xdeadbeef (not an error that the contract defines)"
    assert ended_by(item(1), sent, taken).sent == replace(sent, logical_id="score-1")
    for one, log in ((item(2), taken), (item(1), strange)):
        with pytest.raises(ReceiptIncomplete, match="it tells of proposal"):
            ended_by(one, sent, log)


@pytest.mark.parametrize("cut", ["receipt", "logs"])
async def test_a_receipt_that_a_node_does_not_show_whole_is_read_again(blocks: World, cut: str) -> None:
    requests = await proposals(blocks, 2)
    receipt, seen = blocks.node.receipt, 0

    async def lagging(transaction_hash: bytes) -> Receipt | None:
        nonlocal seen
        seen += 1
        found = await receipt(transaction_hash)
        if seen > 1 or found is None:
            return found
        return None if cut == "receipt" else replace(found, logs=found.logs[:1])

    blocks.node.receipt = lagging  # type: ignore[method-assign]
    async with blocks.scoring(batching=Batching(size_max=2, wait_s=5)) as app:
        outcomes = await score_all(app, blocks, requests)
    assert seen == 2
    assert [each.status for each in outcomes] == [ScoreStatus.SCORED] * 2
    assert await blocks.node.nonce(ACCOUNTS[1][0]) == 1


def test_words_of_a_dao_that_defines_no_error_are_told_and_not_believed() -> None:
    text = bytes.fromhex("08c379a0") + encode(["string"], ["GovernorBravo::state: invalid proposal id"])
    assert reason_of(text) == (
        "Error(message='GovernorBravo::state: invalid proposal id') (not an error that the contract defines)"
    )
    canceled = ErrorType("ProposalWasCanceled(uint256 proposalId)").selector + encode(["uint256"], [3])
    assert reason_of(canceled) == "ProposalWasCanceled(proposalId=3)"
