"""A proposal from its vote to a verified score, on a real local chain and the real engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from math import trunc

import pytest

from contracts.bindings import Log, proposal_scores, reputation_dao
from contracts.bindings.reputation_dao import ClockUnit, Support
from contracts.rpc import (
    BlockHeader,
    BlockReference,
    CallReverted,
    LogPage,
    LogsIncomplete,
    Node,
    NodeUnavailable,
    RpcError,
    StateMissing,
)
from contracts.transactions import check_sender, patience
from hardhat_free_chain.faults import PrunedState
from listener.invocation import EndReason, ProposalRequest
from orchestrator import Orchestrator, PromiseRecord, PromiseState
from orchestrator.server import fetch_bundle
from scorers import submission
from scorers.audit import audit
from scorers.policies import FirstVoteBefore, ParticipationAdjusted, ReputationWeighted, Weighting
from scorers.policies.statement import state
from scorers.policy import Policy, policy_hash
from scorers.serving import PROOFS
from scorers.steps import votes as votes_module
from scorers.steps.proposal import proposal_facts
from scorers.values import ScoreOutcome, ScoreStatus
from scorers.workflow import score_proposal
from tests.scorers_chain import ACCOUNTS, World, world

TIMEOUT_S = 30


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PARK_S", 0.05)
    monkeypatch.setattr(patience, "PARK_S_MAX", 0.2)
    monkeypatch.setattr(votes_module, "READ_PAUSE_S", 0.01)


@pytest.fixture
async def blocks() -> AsyncIterator[World]:
    async with world() as made:
        await made.reputations({2: 10, 3: 20, 4: 2**200})
        yield made


async def score(app: Orchestrator, request: ProposalRequest) -> ScoreOutcome:
    async with asyncio.timeout(TIMEOUT_S):
        return await app.rpc(request.promise_id, score_proposal, request)


async def voted(made: World, *cast: tuple[int, Support]) -> ProposalRequest:
    request = await made.propose()
    await made.mine()
    for voter, support in cast:
        await made.vote(voter, request, support)
    return request


async def submissions(made: World) -> list[proposal_scores.ScoreSubmitted]:
    head = await made.node.header("latest")
    event = proposal_scores.SCORE_SUBMITTED
    return [event.decode(log) for log in await made.node.logs(made.registry, [event.topic0], 0, head.number)]


async def test_a_proposal_is_scored_and_submitted_once(blocks: World) -> None:
    request = await voted(blocks, (2, Support.FOR), (3, Support.AGAINST))
    await blocks.mine(25)
    async with blocks.scoring() as app:
        await blocks.end(app, request)
        outcome = await score(app, request)
        assert outcome == await score(app, request)
    expected = trunc(Fraction(10_000 * (10 - 20), 30))
    assert (outcome.status, outcome.score, outcome.detail) == (ScoreStatus.SCORED, expected, None)
    assert (outcome.for_votes, outcome.against_votes, outcome.counted, outcome.leaf_count) == (10, 20, 2, 5)
    (submitted,) = await submissions(blocks)
    assert (submitted.score, "0x" + submitted.root.hex()) == (-3333, outcome.root)
    assert submitted.scorer.lower() == outcome.scorer == ACCOUNTS[1][0]


async def test_a_node_without_old_states_is_enough(blocks: World) -> None:
    """The state of the vote's blocks is gone: what is read of them is checkpointed, or stands in logs."""
    request = await voted(blocks, (2, Support.FOR), (3, Support.AGAINST))
    await blocks.mine(60)
    pruned = (await blocks.server.open_endpoint(PrunedState(keep=4))).url
    async with Node(pruned, chain_id=blocks.chain_id) as node:
        with pytest.raises(StateMissing, match="archive node"):
            await node.call(blocks.dao, reputation_dao.CLOCK.encode(), request.block_number)
        async with blocks.scoring(node=node) as app:
            await blocks.end(app, request)
            outcome = await score(app, request)
    assert (outcome.status, outcome.for_votes, outcome.against_votes) == (ScoreStatus.SCORED, 10, 20)
    assert len(await submissions(blocks)) == 1


async def test_nothing_is_read_or_sent_before_the_vote_has_ended(blocks: World) -> None:
    """The published example scored at creation, before any vote."""
    request = await voted(blocks)
    async with blocks.scoring() as app:
        before = sum(blocks.node.requests_by_method.values())
        scoring = asyncio.create_task(score(app, request))
        await asyncio.sleep(0.3)
        assert sum(blocks.node.requests_by_method.values()) == before
        await blocks.vote(2, request, Support.FOR)
        await blocks.mine(25)
        await blocks.end(app, request)
        assert (await scoring).score == 10_000


async def test_an_end_that_came_too_early_is_waited_out(blocks: World) -> None:
    """A deadline may be extended after its promise has settled: the chain is asked, not the promise."""
    request = await voted(blocks, (2, Support.FOR))
    async with blocks.scoring() as app:
        await blocks.end(app, request)
        scoring = asyncio.create_task(score(app, request))
        await asyncio.sleep(0.3)
        assert not scoring.done()
        await blocks.vote(3, request, Support.FOR)
        await blocks.mine(25)
        assert (await scoring).for_votes == 30


@pytest.mark.parametrize("lag", [0, 3])
async def test_seconds_are_seconds(lag: int) -> None:
    """The published example compared milliseconds with seconds: nobody was eligible, every score was 0."""
    async with world(ClockUnit.TIMESTAMP, 3_600, finality_lag=lag) as made:
        await made.reputations({2: 10, 3: 20})
        await made.mine(lag)
        request = await voted(made, (2, Support.FOR), (3, Support.AGAINST))
        await made.pass_time(4_000)
        await made.mine(3 + lag)
        async with made.scoring() as app:
            await made.end(app, request)
            scoring = asyncio.create_task(score(app, request))
            while not scoring.done():
                await made.mine()
                await asyncio.sleep(0.02)
            outcome = await scoring
    assert (outcome.status, outcome.score, outcome.counted, outcome.excluded) == (
        ScoreStatus.SCORED,
        -3333,
        2,
        0,
    )


async def test_a_proposal_without_votes_is_submitted_as_such(blocks: World) -> None:
    request = await voted(blocks)
    await blocks.mine(25)
    async with blocks.scoring() as app:
        await blocks.end(app, request)
        outcome = await score(app, request)
    assert (outcome.status, outcome.score) == (ScoreStatus.NO_VOTES, 0)
    (submitted,) = await submissions(blocks)
    assert submitted.status is proposal_scores.Status.NO_VOTES


async def test_a_proposal_withdrawn_during_its_vote_sends_nothing(blocks: World) -> None:
    request = await voted(blocks, (2, Support.FOR))
    await blocks.execute(0, blocks.dao, reputation_dao.CANCEL, int(request.proposal_id))
    async with blocks.scoring() as app:
        await blocks.end(app, request, EndReason.CANCELED)
        outcome = await score(app, request)
    assert (outcome.status, outcome.transaction_hash) == (ScoreStatus.CANCELLED, None)
    assert await submissions(blocks) == []


async def test_a_proposal_withdrawn_after_its_vote_sends_nothing(blocks: World) -> None:
    request = await voted(blocks, (2, Support.FOR))
    await blocks.mine(25)
    await blocks.execute(0, blocks.dao, reputation_dao.CANCEL, int(request.proposal_id))
    async with blocks.scoring() as app:
        await blocks.end(app, request)
        outcome = await score(app, request)
    assert (outcome.status, outcome.transaction_hash) == (ScoreStatus.CANCELLED, None)
    assert await submissions(blocks) == []


class HidingNode(Node):
    """Tells one vote less than there are, so often in ranges, and so often of a block's logs altogether.

    `denying` gives as all logs of a block what is less than its filter tells of; else they seem complete.
    """

    times = blocks = 0
    denying = True

    async def logs_from(self, address: object, topics: object, first: int, last: int) -> LogPage:
        page = await super().logs_from(address, topics, first, last)  # type: ignore[arg-type]
        if self.times > 0 and page.logs and reputation_dao.VOTE_CAST.matches(page.logs[0]):
            self.times -= 1
            return replace(page, logs=page.logs[:-1])
        return page

    async def complete_logs(self, address: object, topics: object, header: BlockHeader) -> list[Log]:
        logs = await super().complete_logs(address, topics, header)  # type: ignore[arg-type]
        if self.blocks == 0:
            return logs
        self.blocks -= 1
        if self.denying:
            raise LogsIncomplete(self.endpoint, header.number, header.hash)
        return []


@pytest.mark.parametrize(("times", "blocks_hidden"), [(2, 0), (999, 0), (999, 7)])
async def test_votes_that_a_node_hides_are_found(blocks: World, times: int, blocks_hidden: int) -> None:
    request = await voted(blocks, (2, Support.FOR), (3, Support.AGAINST))
    await blocks.mine(25)
    async with HidingNode(blocks.server.url) as node:
        node.times, node.blocks = times, blocks_hidden
        async with blocks.scoring(node=node) as app:
            await blocks.end(app, request)
            outcome = await score(app, request)
    assert (outcome.status, outcome.for_votes, outcome.against_votes) == (ScoreStatus.SCORED, 10, 20)
    assert len(await submissions(blocks)) == 1


async def test_sums_that_differ_by_every_log_there_is_are_not_submitted(blocks: World) -> None:
    request = await voted(blocks, (2, Support.FOR), (3, Support.AGAINST))
    await blocks.mine(25)
    async with HidingNode(blocks.server.url) as node:
        node.times = node.blocks = 999
        node.denying = False
        async with blocks.scoring(node=node) as app:
            await blocks.end(app, request)
            outcome = await score(app, request)
    assert outcome.status is ScoreStatus.TALLY_MISMATCH
    assert await submissions(blocks) == []
    assert "the DAO counted 10 for, 20 against" in (outcome.detail or "")


async def test_a_submission_of_the_same_verdict_is_a_success_and_another_a_conflict(blocks: World) -> None:
    request = await voted(blocks, (2, Support.FOR))
    await blocks.mine(25)
    async with blocks.scoring() as app:
        await blocks.end(app, request)
        first = await score(app, request)
    async with blocks.scoring() as app:  # a store that has forgotten everything
        await blocks.end(app, request)
        second = await score(app, request)
    assert first == second
    other = await voted(blocks, (2, Support.FOR))
    await blocks.mine(25)
    await blocks.execute(
        1, blocks.registry, proposal_scores.SUBMIT_SCORE, int(other.proposal_id), 1, 77, b"\x09" * 32
    )
    async with blocks.scoring() as app:
        await blocks.end(app, other)
        conflict = await score(app, other)
    assert conflict.status is ScoreStatus.CONFLICT
    assert "score 77" in (conflict.detail or "")
    assert len(await submissions(blocks)) == 2


async def test_a_missing_role_parks_the_proposal_until_it_is_granted(blocks: World) -> None:
    role = (proposal_scores.SCORER_ROLE, ACCOUNTS[1][0])
    await blocks.execute(0, blocks.registry, proposal_scores.REVOKE_ROLE, *role)
    assert (
        "lacks the scorer role"
        in (await check_sender(blocks.node, ACCOUNTS[1][0], blocks.registry)).faults[0]
    )
    request = await voted(blocks, (2, Support.FOR))
    await blocks.mine(25)
    async with blocks.scoring() as app:
        await blocks.end(app, request)
        scoring = asyncio.create_task(score(app, request))
        await asyncio.sleep(0.5)
        assert not scoring.done()
        await blocks.execute(0, blocks.registry, proposal_scores.GRANT_ROLE, *role)
        assert (await scoring).status is ScoreStatus.SCORED
    assert (await check_sender(blocks.node, ACCOUNTS[1][0], blocks.registry)).faults == ()


class WatchedNode(Node):
    """Notes at which blocks contracts are asked, and which blocks are."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.states: set[BlockReference] = set()
        self.headers: set[BlockReference] = set()

    async def call_each(
        self, calls: Sequence[tuple[str, bytes]], block: BlockReference = "latest"
    ) -> list[bytes | RpcError]:
        self.states.add(block)
        return await super().call_each(calls, block)

    async def header(self, block: BlockReference) -> BlockHeader:
        self.headers.add(block)
        return await super().header(block)


WEIGHTINGS: list[Callable[[World], Weighting]] = [
    lambda made: ReputationWeighted(contract=made.dao),
    lambda _: ParticipationAdjusted(),
]


@pytest.mark.parametrize("weighting", WEIGHTINGS, ids=["reputation", "participation"])
async def test_a_score_rests_on_nothing_that_moves_and_on_no_old_state(
    blocks: World, weighting: Callable[[World], Weighting]
) -> None:
    """Whoever reads all of it again names each block, and asks contracts only after the end of the vote."""
    request = await voted(blocks, (2, Support.FOR), (3, Support.AGAINST))
    await blocks.mine(25)
    async with blocks.scoring(policy=state(weighting(blocks), [FirstVoteBefore()])) as app:
        await blocks.end(app, request)
        assert (await score(app, request)).status is ScoreStatus.NO_VOTES
        call = app._started().transport.call
        bundle = await fetch_bundle(call, request.promise_id, PROOFS.sections, decode=PROOFS.decode)
    async with WatchedNode(blocks.server.url) as node:
        facts = await proposal_facts(node, request)
        assert (await audit(node, bundle)).ok
        assert {block for block in node.headers if not isinstance(block, int)} == {"finalized"}
        assert all(isinstance(block, int) and block > facts.deadline for block in node.states), node.states


class RefusingNode(Node):
    """Answers no call about one proposal."""

    refused = -1
    error: RpcError = NodeUnavailable("http://node.invalid", "no answer")

    async def call_many(self, calls: object, block: object = "latest") -> list[bytes]:
        word = self.refused.to_bytes(32, "big")
        if any(word in data for _, data in calls):  # type: ignore[attr-defined]
            raise self.error
        return await super().call_many(calls, block)  # type: ignore[arg-type]


@pytest.mark.parametrize("error", [RefusingNode.error, CallReverted("0xda", b"", "execution reverted")])
async def test_a_proposal_that_cannot_be_read_parks_visibly_and_stops_no_other(
    blocks: World, error: RpcError
) -> None:
    # The stuck one is proposal 2: the word 1 stands in other calls, too, as the number of a round.
    free, stuck = await voted(blocks, (3, Support.AGAINST)), await voted(blocks, (2, Support.FOR))
    await blocks.mine(25)
    async with RefusingNode(blocks.server.url) as node:
        node.refused, node.error = int(stuck.proposal_id), error
        async with blocks.scoring(node=node) as app:
            for request in (stuck, free):
                await blocks.end(app, request)
            scoring = asyncio.create_task(score(app, stuck))
            assert (await score(app, free)).score == -10_000
            promises = await parked(app, stuck)
            assert not scoring.done()
            assert any(each.state is PromiseState.REJECTED for each in promises)
            node.refused = 2**255
            assert (await scoring).score == 10_000


async def parked(app: Orchestrator, request: ProposalRequest) -> list[PromiseRecord]:
    """Return the promises of a scoring as soon as one of them is the timer by which it parks."""
    async with asyncio.timeout(20):
        while True:
            page = await app.promises.search(tags={"resonate:origin": request.promise_id}, limit=1000)
            if any(each.is_timer for each in page.promises):
                return page.promises
            await asyncio.sleep(0.05)


async def test_roots_do_not_depend_on_when_where_or_by_whom_they_are_computed(blocks: World) -> None:
    request = await voted(blocks, (2, Support.FOR), (4, Support.ABSTAIN))
    await blocks.mine(22)
    snapshot = await blocks.node.request("evm_snapshot", [])
    roots = set()
    for later in (0, 7):
        async with blocks.scoring() as app:
            await blocks.mine(later)
            await blocks.end(app, request)
            roots.add((await score(app, request)).root)
        await blocks.node.request("evm_revert", [snapshot])
        snapshot = await blocks.node.request("evm_snapshot", [])
    assert len(roots) == 1


async def test_a_bound_policy_is_kept_and_changes_the_root(blocks: World) -> None:
    policy = Policy(minimum_weight=15)
    bound = bytes.fromhex(policy_hash(policy)[2:])
    await blocks.execute(0, blocks.registry, proposal_scores.REGISTER_POLICY, bound)
    await blocks.mine()
    request = await voted(blocks, (2, Support.FOR), (3, Support.AGAINST))
    await blocks.mine(25)
    async with blocks.scoring() as app:  # the default policy: it waits
        await blocks.end(app, request)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await app.rpc(request.promise_id, score_proposal, request)
    assert await submissions(blocks) == []
    async with blocks.scoring(policy=policy) as app:
        await blocks.end(app, request)
        outcome = await score(app, request)
    assert (outcome.score, outcome.excluded, outcome.policy_hash) == (-10_000, 1, policy_hash(policy))


def test_every_status_that_is_submitted_has_a_code_in_the_registry() -> None:
    assert set(submission.STATUS_CODES.values()) == set(proposal_scores.Status) - {
        proposal_scores.Status.NONE
    }
