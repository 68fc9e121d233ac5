"""What the reading of a policy's inputs asks for, at which block, and what it refuses by name."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, cast

import pytest
from eth_abi.abi import decode, encode

from contracts.bindings import governor, votes_token
from contracts.dao import BLOCK_CLOCK, TIMESTAMP_CLOCK
from contracts.rpc import BlockHeader, CallReverted, NoCode, Node, NodeUnavailable, RpcError
from scorers.policies import (
    MinimumWeight,
    ParticipationAdjusted,
    ReputationWeighted,
    TimeDecayed,
    TokenWeighted,
)
from scorers.policies.statement import state
from scorers.steps.history import HistoryIncomplete
from scorers.steps.policy_inputs import HEADERS_TOGETHER, UnknownReputation, policy_inputs
from scorers.values import BlockTime, PolicyInputs, Proposal, Tally, VoterReputation
from tests.data import DXDAO, needs_dxdao
from tests.recorded_dao import RecordedNode, recorded
from tests.unit.test_scorers_score import address, ballot, proposal

CONTRACT = "0x" + "4e" * 20
BALLOTS = [ballot(1, 1, 30, block=12), ballot(2, 0, 10, block=15), ballot(1, 1, 5, block=15, index=1)]
NOTHING = PolicyInputs(reputations=[], closed_proposals=[], participations=[], first_votes=[], block_times=[])
HEAD = 40


class Asked:
    """Answers each voter's number times ten, and notes what was asked where."""

    def __init__(self, mode: str | None = BLOCK_CLOCK, clock: int = HEAD) -> None:
        self.mode = mode
        self.clock = clock
        self.asked: list[tuple[bytes, int, int]] = []
        self.failing: RpcError | bytes | None = None

    async def header(self, block: int | str) -> BlockHeader:
        number = HEAD if block == "finalized" else int(block)
        return BlockHeader(number=number, hash=bytes(32), parent_hash=bytes(32), timestamp=100 * number)

    async def call(self, _to: str, data: bytes, _block: int) -> bytes:
        assert data == governor.CLOCK.encode()
        return encode(["uint48"], [self.clock])

    async def call_each(self, calls: Any, _block: int) -> list[bytes | RpcError]:
        if self.mode is None:
            return [CallReverted(to, b"", "execution reverted") for to, _ in calls]
        return [encode(["string"], [self.mode]) for _ in calls]

    async def multicall(self, calls: Any, block: int) -> list[bytes | RpcError]:
        answers: list[bytes | RpcError] = []
        for to, data in calls:
            assert to == CONTRACT
            moment = decode(["address", "uint256"], data[4:])[1] if len(data) > 36 else 0
            self.asked.append((data[:4], moment, block))
            weight = 10 * int.from_bytes(data[16:36], "big")
            answers.append(self.failing if self.failing is not None else encode(["uint256"], [weight]))
        return answers


def facts(mode: str = BLOCK_CLOCK, **changes: Any) -> Proposal:
    found = proposal(30, 10)
    return replace(found, form=replace(found.form, clock_mode=mode), **changes)


async def read(node: object, function: str, told: Proposal | None = None) -> PolicyInputs:
    policy = state(ReputationWeighted(contract=CONTRACT, function=function), [MinimumWeight()])
    return await policy_inputs(cast("Node", node), policy, told or facts(), BALLOTS)


PAST, PRIOR, AT, BALANCE = (
    each.selector
    for each in (
        votes_token.GET_PAST_VOTES,
        votes_token.GET_PRIOR_VOTES,
        votes_token.BALANCE_OF_AT,
        votes_token.BALANCE_OF,
    )
)
SECONDS = facts(TIMESTAMP_CLOCK, snapshot=1_250, deadline=2_000, first_block=12)


@pytest.mark.parametrize(
    ("function", "told", "asked"),
    [
        ("getPastVotes", facts(), (PAST, 10, HEAD)),
        ("getPriorVotes", facts(), (PRIOR, 10, HEAD)),
        ("balanceOfAt", facts(), (AT, 10, HEAD)),
        ("balanceOf", facts(), (BALANCE, 0, 10)),
        ("getPastVotes", SECONDS, (PAST, 1_250, HEAD)),
        ("balanceOfAt", SECONDS, (AT, 12, HEAD)),  # block 12 is of second 1,200, block 13 of 1,300
        ("balanceOf", SECONDS, (BALANCE, 0, 12)),
    ],
)
async def test_reputations_are_asked_for_at_the_snapshot(
    function: str, told: Proposal, asked: tuple[bytes, int, int]
) -> None:
    node = Asked(told.form.clock_mode)
    inputs = await read(node, function, told)
    assert node.asked == [asked] * 2
    assert inputs == replace(
        NOTHING, reputations=[VoterReputation(voter=address(number), weight=10 * number) for number in (1, 2)]
    )


async def test_a_contract_without_a_clock_of_its_own_counts_blocks() -> None:
    assert (await read(Asked(None), "getPastVotes")).reputations
    with pytest.raises(UnknownReputation, match="its clock is 'mode=blocknumber"):
        await read(Asked(None), "getPastVotes", SECONDS)


async def test_what_cannot_be_asked_at_the_snapshot_is_refused_by_name() -> None:
    with pytest.raises(UnknownReputation, match="the DAO's is 'mode=blocknumber"):
        await read(Asked(TIMESTAMP_CLOCK), "getPastVotes")
    for function in ("balanceOfAt", "balanceOf", "getPriorVotes"):
        with pytest.raises(UnknownReputation, match="blocks of another chain"):
            await read(Asked(clock=7_000), function)


@pytest.mark.parametrize(
    ("failing", "told"),
    [
        (CallReverted(CONTRACT, b"", "execution reverted"), "getPastVotes fails at block 40"),
        (NoCode(CONTRACT), "getPastVotes fails at block 40"),
        (b"\x01", "cannot decode"),
    ],
)
async def test_a_contract_that_does_not_answer_is_refused(failing: RpcError | bytes, told: str) -> None:
    node = Asked()
    node.failing = failing
    with pytest.raises(UnknownReputation, match=told) as caught:
        await read(node, "getPastVotes")
    assert not caught.value.retryable


async def test_a_node_that_is_away_is_waited_for() -> None:
    node = Asked()
    node.failing = NodeUnavailable("node", "away")
    with pytest.raises(NodeUnavailable):
        await read(node, "getPastVotes")


async def test_times_are_those_of_the_creation_and_of_each_block_with_a_vote() -> None:
    inputs = await policy_inputs(cast("Node", Asked()), state(TimeDecayed()), facts(), BALLOTS)
    times = [BlockTime(block_number=block, timestamp=100 * block) for block in (10, 12, 15)]
    assert inputs == replace(NOTHING, block_times=times)


async def test_the_times_of_many_blocks_are_asked_for_together_and_not_all_at_once() -> None:
    class Slow(Asked):
        asking = most = 0

        async def header(self, block: int | str) -> BlockHeader:
            self.asking += 1
            self.most = max(self.most, self.asking)
            await asyncio.sleep(0)
            self.asking -= 1
            return await super().header(block)

    node, many = Slow(), [ballot(number, 1, 1, block=10 + number) for number in range(100)]
    inputs = await policy_inputs(cast("Node", node), state(TimeDecayed()), facts(), many)
    assert [each.block_number for each in inputs.block_times] == [*range(10, 110)]
    assert node.most == HEADERS_TOGETHER


async def test_nothing_is_asked_where_nothing_is_named() -> None:
    assert await policy_inputs(cast("Node", None), state(TokenWeighted()), facts(), BALLOTS) == NOTHING


@needs_dxdao
async def test_a_past_that_does_not_add_up_is_not_believed() -> None:
    """A node that leaves out one vote of a closed proposal is asked again."""
    every = recorded(DXDAO)
    chain = RecordedNode(every)
    policy = state(ParticipationAdjusted(last=4))
    inputs = await policy_inputs(chain.node, policy, chain.facts(every[60]), BALLOTS)
    number = inputs.closed_proposals[-1].proposal_id
    chain.tallies[number][1] += 1
    with pytest.raises(HistoryIncomplete, match=f"closed proposal {number} are") as caught:
        await policy_inputs(chain.node, policy, chain.facts(every[60]), BALLOTS)
    assert caught.value.retryable
    assert isinstance(caught.value.counted, Tally)


@needs_dxdao
async def test_the_past_begins_where_the_policy_says() -> None:
    every = recorded(DXDAO)
    chain = RecordedNode(every)
    told = chain.facts(every[60])
    since = chain.created[50]
    policy = state(ParticipationAdjusted(last=1_000, since_block=since))
    inputs = await policy_inputs(chain.node, policy, told, BALLOTS)
    closed = [each for each in every if each.number >= 50 and each.deadline < told.snapshot]
    expected = sorted((each.deadline, each.number) for each in closed)
    assert [(each.deadline, each.proposal_id) for each in inputs.closed_proposals] == expected
    assert expected
