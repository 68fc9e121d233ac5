"""The stream of blocks: what is committed, reverted and finalised, and what is not believed."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from contracts.rpc import BlockHeader, BlockMissing, NodeUnavailable, RpcRefused
from listener import ListenerSettings
from listener.finality import Finality, Heights
from listener.ranges import START_BLOCKS, RangeWidth
from listener.stream import ChainEvent, Committed, HeadFollower, Reverted
from listener.window import Window
from tests.listener_node import CHAIN_ID, DAO, StubNode

SETTINGS = ListenerSettings(chain_id=CHAIN_ID, dao=DAO, registry=DAO)
SEEDS = 40


@dataclass(slots=True)
class Seen:
    """The chain as an observer of the stream knows it."""

    chain: list[bytes] = field(default_factory=list)
    events: list[ChainEvent] = field(default_factory=list)

    def take(self, event: ChainEvent) -> None:
        self.events.append(event)
        if isinstance(event, Committed):
            self.chain.append(event.block.hash)
        elif isinstance(event, Reverted):
            assert self.chain.pop() == event.block.hash, "only the newest block can be reverted"


def follower(node: StubNode, seen: Seen, **changes: Any) -> HeadFollower:
    return HeadFollower(replace(SETTINGS, **changes), cast(Any, node), seen.take)


async def heights(node: StubNode) -> Heights:
    return Heights(head=await node.header("latest"), finalized=await node.header("finalized"))


async def test_blocks_come_go_and_become_final() -> None:
    node, seen = StubNode(head=100, lag=10), Seen()
    follow = follower(node, seen)
    await follow.follow(await heights(node))
    assert seen.chain == [node.hash_of(number) for number in range(91, 101)]
    node.head = 103
    await follow.follow(await heights(node))
    assert seen.chain[-3:] == [node.hash_of(number) for number in (101, 102, 103)]

    node.forks.update(dict.fromkeys((102, 103), 7))
    await follow.follow(await heights(node))
    reverted = [event.block.number for event in seen.events if isinstance(event, Reverted)]
    assert reverted == [103, 102], "the newest first, back to the common ancestor"
    assert seen.chain[-2:] == [node.hash_of(102), node.hash_of(103)]
    assert (follow.reorgs, follow.reverted_blocks, follow.deepest_reorg) == (1, 2, 2)
    assert follow.window.bottom is not None
    assert follow.window.bottom.number == 94, "what is final has left the window"


async def test_a_node_that_lags_on_the_same_chain_reverts_nothing() -> None:
    node, seen = StubNode(head=100, lag=10), Seen()
    follow = follower(node, seen)
    await follow.follow(await heights(node))
    node.head = 97
    await follow.follow(await heights(node))
    assert (follow.reorgs, len(seen.chain)) == (0, 10)


async def test_a_head_that_does_not_descend_from_the_final_block_is_not_believed() -> None:
    node, seen = StubNode(head=100, lag=10), Seen()
    follow = follower(node, seen)
    honest = await heights(node)
    lying = replace(honest.finalized, hash=b"\x00" * 32)
    with pytest.raises(NodeUnavailable, match="does not descend from its final block 90"):
        await follow.follow(Heights(head=honest.head, finalized=lying))
    assert seen.events == []


async def test_a_window_never_grows_beyond_its_size() -> None:
    node, seen = StubNode(head=100, lag=90), Seen()
    follow = follower(node, seen, window_blocks=8)
    for _ in range(30):
        node.head += 3
        await follow.follow(await heights(node))
        assert len(follow.window) <= 8
    node.head += 1_000
    await follow.follow(await heights(node))
    assert len(follow.window) == 8
    assert len(seen.events) < 150, "a jump is not walked block by block"


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_whatever_the_chain_does_the_observer_ends_with_it(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311
    node, seen = StubNode(head=20, lag=6), Seen()
    follow = follower(node, seen, window_blocks=64)
    for fork in range(1, 40):
        if chance.random() < 0.5:
            node.head += chance.randrange(4)
        else:
            depth = chance.randrange(1, node.lag + 1)
            node.forks.update(dict.fromkeys(range(node.head - depth + 1, node.head + 1), fork))
        if chance.random() < 0.7:
            await follow.follow(await heights(node))
    await follow.follow(await heights(node))
    last = [node.hash_of(number) for number in range(node.head - node.lag + 1, node.head + 1)]
    assert seen.chain[-len(last) :] == last, f"seed {seed}"


def test_a_window_takes_no_block_that_is_not_the_next_one() -> None:
    def block(number: int, parent: bytes) -> BlockHeader:
        return BlockHeader(number=number, hash=bytes([number]) * 32, parent_hash=parent, timestamp=0)

    window = Window(4)
    window.commit([block(1, b"\x00" * 32), block(2, b"\x01" * 32)])
    for stranger in (block(3, b"\x09" * 32), block(4, b"\x02" * 32)):
        with pytest.raises(ValueError, match="is no child of block 2"):
            window.commit([stranger])


# -- ranges


def test_a_width_is_doubled_and_halved_and_remembers_what_was_refused() -> None:
    width = RangeWidth(100_000)
    assert width.blocks == START_BLOCKS
    width.was_answered(1_000, 0.1)
    assert width.blocks == 2_000
    width.was_answered(2_000, 31.0)
    assert width.blocks == 1_000, "a slow answer halves it"
    width.was_answered(1_000, 10.0)
    assert width.blocks == 1_000
    width.was_refused(1_000)
    assert width.blocks == 500


def test_a_fixed_limit_is_found_and_rarely_tried_again() -> None:
    limit, width, refusals = 2_500, RangeWidth(100_000), 0
    for _ in range(500):
        if width.blocks > limit:
            refusals += 1
            width.was_refused(width.blocks)
        else:
            width.was_answered(width.blocks, 0.1)
    assert refusals < 25
    assert width.blocks > limit * 0.9


# -- finality


def watched(node: StubNode, **changes: Any) -> tuple[Finality, list[int]]:
    now = [1_000_000]
    return Finality(replace(SETTINGS, **changes), cast(Any, node), lambda: now[0]), now


async def test_a_depth_is_used_only_where_it_is_configured() -> None:
    node = StubNode(head=100, lag=10)
    by_depth, _ = watched(node, finality_depth=4)
    assert (await by_depth.look()).finalized.number == 96
    at_once, _ = watched(node, finality_depth=0)
    assert (await at_once.look()).finalized.number == 100
    by_tag, _ = watched(node)
    honest = node.header

    async def without_tag(block: Any) -> BlockHeader:
        if block == "finalized":
            raise RpcRefused("eth_getBlockByNumber", -32602, "unknown tag")
        return await honest(block)

    by_tag._node = cast(Any, type("NoTag", (), {"header": staticmethod(without_tag)}))
    with capture_logs() as logs:
        for _ in range(3):
            with pytest.raises(RpcRefused):
                await by_tag.look()
    (told,) = [entry for entry in logs if entry["event"] == "finality_unknown"]
    assert "--finality" in told["remedy"]


async def test_finality_that_stands_still_is_an_alarm_and_a_resting_chain_is_none() -> None:
    node = StubNode(head=100, lag=10)
    finality, now = watched(node, finality_stall_s=600)
    await finality.look()
    now[0] += 3_600_000
    await finality.look()
    assert not finality.stalled, "nothing is waiting to become final"
    with capture_logs() as logs:
        for _ in range(20):
            node.head, node.lag = node.head + 1, node.lag + 1
            now[0] += 60_000
            assert (await finality.look()).finalized.number == 90, "no depth takes the tag's place"
        assert finality.stalled
        node.lag = 10
        await finality.look()
    assert not finality.stalled
    events = [entry["event"] for entry in logs if entry["event"].startswith("finality")]
    assert events == ["finality_stalled", "finality_moves_again"]


async def test_clocks_that_disagree_are_told_once() -> None:
    node = StubNode(head=100)
    finality, now = watched(node)
    now[0] = 100 * 12 * 1000 - 61_000
    with capture_logs() as logs:
        for _ in range(3):
            await finality.look()
    assert [entry["ahead_s"] for entry in logs if entry["event"] == "clocks_disagree"] == [61]
    now[0] += 30_000
    await finality.look()
    assert finality.clock_ahead_s == 0


async def test_a_block_that_is_gone_by_the_time_it_is_asked_for_changes_nothing() -> None:
    node, seen = StubNode(head=100, lag=10), Seen()
    follow = follower(node, seen)
    await follow.follow(await heights(node))
    before = list(seen.chain)
    orphan = BlockHeader(number=101, hash=b"\x11" * 32, parent_hash=b"\x22" * 32, timestamp=0)
    with pytest.raises(BlockMissing):
        await follow.follow(Heights(head=orphan, finalized=await node.header("finalized")))
    assert seen.chain == before
