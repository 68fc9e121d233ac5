"""Answers held against the filters of their blocks: what is hidden is found, what is invented not believed.

The filters are true ones, of the logs that the stub's blocks have.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from contracts.bindings.reputation_dao import PROPOSAL_CREATED
from contracts.rpc import LogsIncomplete, NodeUnavailable, RpcRefused, bloom, whole_blocks
from listener import FilterCheck, FiltersContradicted, Listener, Progress, SqliteCursorStore
from listener.audit import SAMPLE_BLOCKS, SCRUTINY_BLOCKS
from listener.scan import RangeReader
from listener.shapes import DaoShape
from tests.listener_engine import PromiseStore
from tests.listener_node import DAO, StubNode
from tests.unit.test_listener_faults import SETTINGS, World, _Overridden

DEEP = 3_000
TOPICS = [PROPOSAL_CREATED.topic0]
ALL = replace(SETTINGS, filter_check=FilterCheck.ALL)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with await SqliteCursorStore.open(tmp_path / "cursor.db") as store:
        yield World(node=StubNode(crowd=4), engine=PromiseStore(), store=store)


async def stubborn(listener: Listener, looks: int = 400) -> Progress:
    """Step until the listener has caught up, whatever it refuses to believe on the way."""
    for _ in range(looks):
        try:
            progress = await listener.step()
        except NodeUnavailable:
            continue
        if progress.caught_up:
            return progress
    raise AssertionError("it waits for ever")


async def test_every_block_near_the_head_is_looked_at(world: World) -> None:
    for number in range(91, 101):
        world.node.propose(number, number)
    listener = world.listener()
    await listener.step()
    for number in range(91, 101):
        world.node.hidden = {number}
        world.node.head = number + 10
        with pytest.raises(NodeUnavailable, match=f"no logs for block {number}, which has 1"):
            await listener.step()
        assert await world.cursor() == number - 1, "what a node hides is not passed over"
        world.node.hidden = set()
        await listener.step()
        assert number in world.scored()


async def test_what_a_node_goes_on_hiding_is_taken_from_its_blocks(world: World) -> None:
    world.node.propose(95, 1, 2)
    world.node.propose(97, 3)
    world.node.hidden = {95}
    listener = world.listener()
    await listener.step()
    world.node.head = 110
    with capture_logs() as logs:
        progress = await stubborn(listener, 4)
    assert world.scored() == {1, 2, 3}
    assert (progress.cursor, progress.hidden_logs) == (100, 2)
    (told,) = [entry for entry in logs if entry["event"] == "hidden_logs_found"]
    assert (told["blocks"], told["logs"]) == ([95], 2)


@pytest.mark.parametrize("chosen", [FilterCheck.SAMPLE, FilterCheck.ALL, FilterCheck.OFF])
async def test_what_a_damaged_index_hides_in_back_fill(world: World, chosen: FilterCheck) -> None:
    """Every log of a long stretch is gone: a sample finds out, and everything is found from then on."""
    node = world.node
    node.head, node.crowd = 1_010, 0
    for number in range(0, 1_000, 2):
        node.propose(number, number)
    node.hidden = set(range(200, 800))
    listener = world.listener(replace(SETTINGS, filter_check=chosen, range_blocks=500))
    progress = await stubborn(listener)
    found = world.scored()
    if chosen is FilterCheck.OFF:
        assert not any(200 <= each < 800 for each in found)
        return
    assert found == set(range(0, 1_000, 2))
    assert progress.hidden_logs == 300


async def test_a_single_hidden_log_of_deep_back_fill_is_found_by_looking_at_all_blocks(world: World) -> None:
    world.node.head = DEEP + 10
    world.node.propose(1_234, 1)
    world.node.hidden = {1_234}
    await stubborn(world.listener(ALL))
    assert world.scored() == {1}
    last_ones = {last for _, last in world.node.ranges}
    assert set(world.node.looked_at) | last_ones >= set(range(DEEP)), "a block was not looked at"
    assert max(last - first for first, last in world.node.ranges) < SCRUTINY_BLOCKS


async def test_a_sample_costs_little_and_is_the_same_for_the_same_range(world: World, tmp_path: Path) -> None:
    world.node.head = DEEP + 10
    await stubborn(world.listener())
    ranges = sum(last > first for first, last in world.node.ranges)
    looked = [each for each in world.node.looked_at if each <= DEEP]
    assert ranges > 1
    assert len(looked) == SAMPLE_BLOCKS * ranges
    again = World(node=StubNode(head=DEEP + 10, crowd=4), engine=world.engine, store=world.store)
    async with await SqliteCursorStore.open(tmp_path / "other.db") as again.store:
        await stubborn(again.listener())
    assert [each for each in again.node.looked_at if each <= DEEP] == looked
    again.node.looked_at.clear()
    async with await SqliteCursorStore.open(tmp_path / "another.db") as again.store:
        await stubborn(again.listener(replace(SETTINGS, name="another")))
    assert [each for each in again.node.looked_at if each <= DEEP] != looked, "another source, other blocks"


async def test_a_filter_that_allows_what_is_not_there_stops_nobody(world: World) -> None:
    """Crowded blocks: their filters allow the DAO's event, and all of their logs account for that."""
    world.node.crowd = 800
    filters = [(await world.node.header(number)).logs_bloom or b"" for number in (91, 92)]
    assert any(bloom.may_contain(each, DAO, [TOPICS]) for each in filters), "else nothing is shown"
    listener = world.listener(replace(SETTINGS, start_block=80))
    await listener.step()
    world.node.head = 102
    progress = await listener.step()
    assert (progress.cursor, progress.hidden_logs) == (92, 0)
    assert world.node.asked["complete_logs"] > 0


async def test_a_block_whose_filter_nobody_accounts_for_parks_its_source(world: World) -> None:
    world.node.propose(95, 1)
    listener = world.listener()
    await listener.step()
    world.node.withheld = {95}
    world.node.head = 110
    for _ in range(SETTINGS.reorg_looks - 1):
        with pytest.raises(NodeUnavailable, match=r"the filter of block 95 .* tells of more logs"):
            await listener.step()
    with pytest.raises(FiltersContradicted, match="add another node") as caught:
        await listener.step()
    assert (caught.value.block_number, await world.cursor()) == (95, 90)
    assert isinstance(caught.value.__cause__, LogsIncomplete)
    world.node.withheld = set()
    await listener.step()
    assert world.scored() == {1}


@pytest.mark.parametrize("crowd", [0, 4])
async def test_a_log_that_its_blocks_filter_rules_out_is_not_believed(world: World, crowd: int) -> None:
    world.node.crowd = crowd
    world.node.propose(60, 6)  # Filters of this chain are not always empty.
    listener = world.listener()
    await listener.step()
    world.node.invented = {95: [13]}
    world.node.head = 110
    for _ in range(SETTINGS.reorg_looks - 1):
        with pytest.raises(NodeUnavailable, match="ruled out by the filter of block 95"):
            await listener.step()
    with pytest.raises(FiltersContradicted, match="filter_check"):
        await listener.run(asyncio.Event())
    assert (world.scored(), await world.cursor()) == ({6}, 90)
    trusting = world.listener(replace(SETTINGS, filter_check=FilterCheck.OFF))
    await trusting.step()
    assert world.scored() == {6, 13}


async def test_invented_logs_of_back_fill_are_among_the_sample(world: World) -> None:
    world.node.head = 1_000
    world.node.propose(500, 5)
    world.node.invented = {123: [13]}
    with pytest.raises(NodeUnavailable, match="ruled out by the filter of block 123"):
        await world.listener().step()
    assert world.scored() == set()


@pytest.mark.parametrize("empty", [b"\x00" * 256, b"\xff" * 256, None])
async def test_a_chain_that_keeps_no_filters_is_read_all_the_same(world: World, empty: bytes | None) -> None:
    async def header(block: Any) -> Any:
        return replace(await honest(block), logs_bloom=empty)

    async def headers(numbers: Any) -> Any:
        return [await header(number) for number in numbers]

    honest = world.node.header
    world.node.propose(50, 1)
    node = cast(Any, _Overridden(world.node, header=header, headers=headers))
    await Listener(SETTINGS, node, cast(Any, world.engine), world.store).step()
    assert (world.scored(), await world.cursor()) == ({1}, 90)
    assert world.node.asked["complete_logs"] == 0


@pytest.fixture
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole_blocks, "PAUSE_S", 0)


@pytest.mark.usefixtures("_no_pauses")
async def test_a_node_that_refuses_a_block_now_and_then_is_not_believed_for_that(world: World) -> None:
    refusals = ["too much", "too much", "internal error"]

    async def now_and_then(*arguments: Any) -> Any:
        if refusals:
            raise RpcRefused("eth_getLogs", -32005, refusals.pop())
        return await world.node.complete_logs(*arguments)

    world.node.propose(95, 1)
    world.node.hidden = {95}
    node = cast(Any, _Overridden(world.node, complete_logs=now_and_then))
    listener = Listener(SETTINGS, node, cast(Any, world.engine), world.store)
    await listener.step()
    world.node.head = 110
    await stubborn(listener)
    assert world.scored() == {1}
    assert not refusals


async def test_a_header_of_a_block_that_did_not_stay_tells_nothing(world: World) -> None:
    """What was followed before it was final is at hand for the audit, and may be of another chain."""
    world.node.forks[95] = 3
    world.node.head = 96
    before = await world.node.header(95)
    del world.node.forks[95]
    world.node.head = 110
    world.node.propose(95, 1)
    world.node.hidden = {95}
    reader = RangeReader(cast(Any, world.node), ALL, DaoShape(ALL))
    final = await world.node.header(100)
    with pytest.raises(NodeUnavailable, match="no logs for block 95, which has 1"):
        await reader.read(91, 100, final, known=[before])
    world.node.looked_at.clear()
    linked = [await world.node.header(number) for number in range(96, 100)]
    with pytest.raises(NodeUnavailable, match="no logs for block 95"):
        await RangeReader(cast(Any, world.node), ALL, DaoShape(ALL)).read(
            91, 100, final, known=[before, *linked]
        )
    assert sorted(world.node.looked_at) == [91, 92, 93, 94, 95], "those that lead up to the last are at hand"


@pytest.mark.usefixtures("_no_pauses")
async def test_a_node_that_tells_no_block_whole_is_asked_for_the_block_alone(world: World) -> None:
    async def refusing(*_arguments: object) -> Any:
        raise RpcRefused("eth_getLogs", -32602, "blockHash is not supported")

    world.node.propose(95, 1)
    world.node.hidden = {95}
    node = cast(Any, _Overridden(world.node, complete_logs=refusing))
    listener = Listener(SETTINGS, node, cast(Any, world.engine), world.store)
    await listener.step()
    world.node.head = 110
    with capture_logs() as logs:
        progress = await listener.step()
    assert progress.cursor == 100, "it is asked once more, and believed: there is nothing else to ask"
    assert world.node.ranges[-1] == (95, 95)
    assert [entry["block_number"] for entry in logs if entry["event"] == "block_not_told_whole"] == [95]
