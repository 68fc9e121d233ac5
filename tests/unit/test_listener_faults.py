"""What a listener does when the node, the orchestrator, the chain or the operator is wrong."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from contracts.bindings import Log
from contracts.bindings.reputation_dao import ProposalState
from contracts.rpc import BlockMissing, HistoryPruned, NoCode, NodeUnavailable, RpcRefused, WrongChain
from listener import (
    ContentMismatch,
    FilterCheck,
    InvalidSettings,
    Listener,
    ListenerSettings,
    NotADao,
    Progress,
    ReorgBeyondFinality,
    SqliteCursorStore,
    StartBeforeCursor,
    StartBeyondHead,
    UnreadableLog,
    VotingEnded,
    score_promise_id,
    service,
    voting_ended_id,
)
from listener.errors import DispatchRefused
from orchestrator.domain.errors import Refused, Unavailable
from tests.listener_engine import PromiseStore
from tests.listener_node import CHAIN_ID, DAO, NO_DEADLINE, StubNode

SETTINGS = ListenerSettings(
    chain_id=CHAIN_ID,
    dao=DAO,
    registry="0x" + "5c" * 20,
    poll_interval_s=0.005,
    backoff_s_min=0.001,
    backoff_s_max=0.005,
)
AWAY = NodeUnavailable("http://stub", "gone")


@dataclass(slots=True)
class World:
    """A node, an orchestrator, a cursor file and a wall clock, with as many listeners as wanted."""

    node: StubNode
    engine: PromiseStore
    store: SqliteCursorStore
    now_ms: int = 1_000_000

    def listener(self, settings: ListenerSettings = SETTINGS, **more: Any) -> Listener:
        node, engine = cast(Any, self.node), cast(Any, self.engine)
        return Listener(settings, node, engine, self.store, now_ms=lambda: self.now_ms, **more)

    async def cursor(self) -> int | None:
        cursor = await self.store.cursor(SETTINGS.source)
        return None if cursor is None else cursor.block_number

    def scored(self) -> set[int]:
        return {int(each.rsplit("-", 1)[1]) for each in self.engine.records if each.startswith("score")}

    def ended(self) -> dict[int, VotingEnded]:
        return {int(each.rsplit("-", 1)[1]): cast(Any, value) for each, value in self.engine.values.items()}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with await SqliteCursorStore.open(tmp_path / "cursor.db") as store:
        yield World(node=StubNode(), engine=PromiseStore(), store=store)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is watched has no event
            await asyncio.sleep(0.001)


# -- ranges and cursor


async def test_ranges_are_bounded_and_without_gap_or_overlap(world: World) -> None:
    listener = world.listener(replace(SETTINGS, start_block=3, range_blocks=20))
    while not (await listener.step()).caught_up:
        pass
    assert world.node.ranges == [(3, 22), (23, 42), (43, 62), (63, 82), (83, 90)]
    world.node.head = 101
    await listener.step()
    assert world.node.ranges[-1] == (91, 91)
    await listener.step()
    assert len(world.node.ranges) == 6, "nothing new is final: nothing is read"


async def test_the_cursor_stays_while_the_dispatch_fails(world: World) -> None:
    world.node.propose(50, 1, 2, 3)
    failing = score_promise_id(CHAIN_ID, DAO, 2)
    world.engine.fault = lambda _, promise_id: Unavailable("gone") if promise_id == failing else None
    listener = world.listener()
    with pytest.raises(Unavailable):
        await listener.step()
    assert await world.cursor() is None

    world.engine.fault = lambda _operation, _promise_id: None
    await listener.step()
    assert await world.cursor() == 90
    assert world.scored() == {1, 2, 3}
    assert set(world.engine.made.values()) == {1}


async def test_a_start_block_that_is_not_yet_final_is_waited_for(world: World) -> None:
    listener = world.listener(replace(SETTINGS, start_block=95))
    progress = await listener.step()
    assert (progress.caught_up, progress.cursor, world.node.ranges) == (True, None, [])
    world.node.head = 105
    await listener.step()
    assert world.node.ranges == [(95, 95)]


async def test_dispatch_goes_out_in_bounded_groups(world: World) -> None:
    world.node.propose(50, *range(1, 101))
    await world.listener(replace(SETTINGS, dispatch_concurrency=7)).step()
    assert len(world.scored()) == 100
    assert world.engine.in_flight_max == 7


async def test_a_range_that_the_node_refuses_is_halved_until_it_fits(world: World) -> None:
    world.node.propose(50, 1)
    honest = world.node.logs

    async def limited(address: str, topics: object, first: int, last: int) -> Any:
        if last - first >= 16:
            raise RpcRefused("eth_getLogs", -32005, "range is limited to 16 blocks")
        return await honest(address, topics, first, last)

    node = cast(Any, _Overridden(world.node, logs=limited))
    listener = Listener(SETTINGS, node, cast(Any, world.engine), world.store)
    while not (await listener.step()).caught_up:
        pass
    covered = [number for first, last in world.node.ranges for number in range(first, last + 1)]
    assert covered == list(range(91))
    assert world.scored() == {1}


async def test_a_range_that_takes_too_long_is_halved(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = itertools.count(step=31)
    monkeypatch.setattr(service, "time", SimpleNamespace(monotonic=lambda: next(seconds)))
    listener = world.listener(replace(SETTINGS, range_blocks=40))
    while not (await listener.step()).caught_up:
        pass
    assert world.node.ranges[:3] == [(0, 39), (40, 59), (60, 69)]


async def test_a_refusal_of_a_single_block_is_no_matter_of_width(world: World) -> None:
    async def refusing(*_arguments: object) -> Any:
        raise RpcRefused("eth_getLogs", -32601, "method not found")

    node = cast(Any, _Overridden(world.node, logs=refusing))
    listener = Listener(replace(SETTINGS, range_blocks=4), node, cast(Any, world.engine), world.store)
    for _ in range(2):
        assert not (await listener.step()).caught_up
    with pytest.raises(RpcRefused, match="method not found"):
        await listener.step()
    assert await world.cursor() is None


async def test_two_listeners_on_one_file_do_no_harm(world: World) -> None:
    world.node.propose(10, 1)
    world.node.propose(60, 2)
    world.node.deadlines = {1: 20, 2: 70}
    small = replace(SETTINGS, range_blocks=25)
    first, second = world.listener(small), world.listener(small)
    for _ in range(6):
        await asyncio.gather(first.step(), second.step())
    assert await world.cursor() == 90
    assert set(world.engine.made.values()) == {1}
    assert world.ended().keys() == {1, 2}


async def test_two_listeners_with_files_of_their_own_do_no_harm(world: World, tmp_path: Path) -> None:
    world.node.propose(10, 1)
    world.node.deadlines = {1: 20}
    async with await SqliteCursorStore.open(tmp_path / "other.db") as other:
        theirs = World(node=world.node, engine=world.engine, store=other)
        await asyncio.gather(world.listener().step(), theirs.listener().step())
    assert set(world.engine.made.values()) == {1}
    assert world.ended()[1].deadline == 20


# -- the node


async def test_a_node_behind_the_cursor_is_waited_for_and_not_believed(world: World) -> None:
    world.node.propose(50, 1)
    world.node.deadlines[1] = 95
    listener = world.listener()
    await listener.step()
    world.node.head, world.node.fork = 60, 1
    with capture_logs() as logs:
        for _ in range(3):
            progress = await listener.step()
            assert (progress.behind, progress.caught_up) == (True, True)
        assert await world.cursor() == 90
        world.node.head, world.node.fork = 120, 0
        progress = await listener.step()
    assert not progress.behind
    assert [entry["event"] for entry in logs if entry["event"].startswith("node_")] == [
        "node_behind",
        "node_caught_up",
    ]
    assert world.ended().keys() == {1}


@pytest.mark.parametrize("filter_check", [FilterCheck.SAMPLE, FilterCheck.OFF])
@pytest.mark.parametrize("where", ["header", "logs"])
async def test_a_range_whose_last_block_changes_while_it_is_read_is_read_again(
    world: World, where: str, filter_check: FilterCheck, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind one address another node may answer: its logs are of another chain than the headers."""
    world.node.propose(90, 1)
    world.node.propose(80, 2)
    honest = StubNode.logs

    async def of_another(node: StubNode, address: str, topics: object, first: int, last: int) -> list[Log]:
        found = await honest(node, address, topics, first, last)
        if where == "header":
            node.forks[90] = 7
            return found
        return [replace(log, block_hash=bytes(32)) if log.block_number == 90 else log for log in found]

    listener = world.listener(replace(SETTINGS, filter_check=filter_check))
    with monkeypatch.context() as patch:
        patch.setattr(StubNode, "logs", of_another)
        with pytest.raises(NodeUnavailable, match="the hash of block 90"):
            await listener.step()
    assert (await world.cursor(), world.scored()) == (None, set())
    world.node.forks.clear()
    await listener.step()
    assert (await world.cursor(), world.scored()) == (90, {1, 2})


async def test_a_restart_meets_a_node_that_is_behind(world: World) -> None:
    await world.listener().step()
    world.node.head, world.node.has_code = 40, False
    assert (await world.listener().step()).behind, "a node that is behind cannot know the contract yet"


async def test_a_reorg_beyond_finality_stops_loudly(world: World) -> None:
    await world.listener().step()
    recorded = world.node.hash_of(90)
    world.node.fork = 1
    world.node.propose(91, 7)
    world.node.head = 110
    with pytest.raises(ReorgBeyondFinality, match="block 90 was final") as caught:
        await world.listener().run(asyncio.Event())
    assert caught.value.recorded_hash == recorded
    assert caught.value.node_hash == world.node.hash_of(90)
    assert "remove the cursor file" in str(caught.value)
    assert world.scored() == set()


async def test_logs_and_headers_that_disagree_are_not_believed(world: World) -> None:
    world.node.propose(90, 1)
    honest = world.node.header

    async def lying(block: int | str) -> Any:
        header = await honest(block)
        return replace(header, hash=b"\x00" * 32) if block == 90 else header

    node = cast(Any, _Overridden(world.node, header=lying))
    listener = Listener(SETTINGS, node, cast(Any, world.engine), world.store)
    with pytest.raises(NodeUnavailable, match="disagree about the hash of block 90"):
        await listener.step()
    assert await world.cursor() is None


async def test_an_empty_range_is_held_against_the_filters_of_its_blocks(world: World) -> None:
    world.node.crowd = 5
    world.node.propose(95, 1)
    world.node.hidden = {95}
    listener = world.listener()
    await listener.step()
    world.node.head = 110
    with pytest.raises(NodeUnavailable, match="no logs for block 95, which has 1"):
        await listener.step()
    assert await world.cursor() == 90, "what a node hides is not passed over"
    world.node.hidden = set()
    await listener.step()
    assert world.scored() == {1}


async def test_history_that_a_node_has_pruned_is_named_and_not_asked_for_in_pieces(world: World) -> None:
    async def pruned(*_arguments: object) -> Any:
        raise HistoryPruned("eth_getLogs", 4444, "pruned history unavailable")

    node = cast(Any, _Overridden(world.node, logs=pruned))
    listener = Listener(SETTINGS, node, cast(Any, world.engine), world.store)
    with pytest.raises(HistoryPruned, match="add one that keeps it"):
        await listener.run(asyncio.Event())
    assert await world.cursor() is None


class _Overridden:
    """A node of which some methods are replaced."""

    def __init__(self, inner: object, **methods: object) -> None:
        self._inner = inner
        self._methods = methods

    def __getattr__(self, name: str) -> object:
        return self._methods.get(name) or getattr(self._inner, name)


async def test_an_outage_of_the_node_is_told_once_and_survived(world: World) -> None:
    progress: list[Progress] = []
    stop = asyncio.Event()
    with capture_logs() as logs:
        async with asyncio.TaskGroup() as group:
            group.create_task(world.listener(on_progress=progress.append).run(stop))
            await until(lambda: len(progress) > 0)
            world.node.fault = lambda _: AWAY
            asked = world.node.asked.total()
            await until(lambda: world.node.asked.total() > asked + 5)
            world.node.propose(91, 1)
            world.node.head = 110
            world.node.fault = lambda _: None
            await until(lambda: world.scored() == {1})
            stop.set()
    told = [(entry["event"], entry.get("party")) for entry in logs if entry["event"].startswith("party_")]
    assert told == [("party_away", "node"), ("party_back", "node")]


async def test_an_outage_of_the_orchestrator_is_told_once_and_survived(world: World) -> None:
    world.node.propose(50, 1)
    world.node.deadlines[1] = 60
    world.engine.fault = lambda _operation, _promise_id: Unavailable("gone")
    stop = asyncio.Event()
    with capture_logs() as logs:
        async with asyncio.TaskGroup() as group:
            group.create_task(world.listener().run(stop))
            await until(lambda: world.engine.asked.total() > 5)
            assert world.scored() == set()
            world.engine.fault = lambda _operation, _promise_id: None
            await until(lambda: world.ended().keys() == {1})
            stop.set()
    told = [(entry["event"], entry.get("party")) for entry in logs if entry["event"].startswith("party_")]
    assert told == [("party_away", "orchestrator"), ("party_back", "orchestrator")]
    assert set(world.engine.made.values()) == {1}


async def test_another_chain_behind_the_same_url_stops_the_listener(world: World) -> None:
    stop = asyncio.Event()
    progress: list[Progress] = []

    async def swap() -> None:
        await until(lambda: len(progress) > 0)
        world.node.fault = lambda _: AWAY
        world.node.served_chain_id = 1
        await asyncio.sleep(0)
        world.node.fault = lambda method: None if method == "chain_id" else AWAY
        await stop.wait()

    swapping = asyncio.create_task(swap())
    with pytest.raises(WrongChain, match="serves chain 1, not 777"):
        await world.listener(on_progress=progress.append).run(stop)
    stop.set()
    await swapping


async def test_stopping_ends_a_long_pause_at_once(world: World) -> None:
    slow = replace(SETTINGS, poll_interval_s=60.0)
    stop = asyncio.Event()
    progress: list[Progress] = []
    started = time.monotonic()
    async with asyncio.TaskGroup() as group:
        group.create_task(world.listener(slow, on_progress=progress.append).run(stop))
        await until(lambda: len(progress) > 0)
        stop.set()
    assert time.monotonic() - started < 5


# -- the end of voting


async def test_an_extended_deadline_is_read_again_before_it_counts(world: World) -> None:
    world.node.propose(50, 1)
    world.node.deadlines[1] = 95
    listener = world.listener()
    await listener.step()
    world.node.deadlines[1] = 120
    world.node.head = 115
    await listener.step()
    assert world.ended() == {}
    world.node.head = 130
    await listener.step()
    assert world.ended() == {}, "the clock is at the deadline, when one may still vote"
    world.node.head = 131
    await listener.step()
    assert world.ended()[1].deadline == 120


async def test_the_daos_clock_counts_and_not_the_block_number(world: World) -> None:
    world.node.propose(50, 1, 2)
    world.node.clock = lambda block_number: 1_700_000_000 + block_number // 50
    world.node.deadlines = {1: 1_700_000_000, 2: 1_700_000_001}
    listener = world.listener()
    await listener.step()
    ended = world.ended()
    assert ended.keys() == {1}
    assert (ended[1].clock, ended[1].block_number) == (1_700_000_001, 90)


async def test_a_failing_node_settles_nothing(world: World) -> None:
    world.node.propose(50, 1)
    world.node.deadlines[1] = 60
    listener = world.listener()
    for error in (AWAY, BlockMissing("90"), RpcRefused("eth_call", -32000, "missing trie node")):
        world.node.fault = lambda method, error=error: error if method == "call_each" else None  # type: ignore[misc]
        with pytest.raises(type(error)):
            await listener.step()
        assert world.ended() == {}
    world.node.fault = lambda _: None
    await listener.step()
    assert world.ended().keys() == {1}


async def test_a_proposal_that_reverts_parks_visibly_and_stops_no_other(world: World) -> None:
    world.node.propose(50, 1, 2, 3)
    world.node.deadlines = {1: 60, 2: 60, 3: 60}
    world.node.unreadable = {2}
    listener = world.listener()
    with capture_logs() as logs:
        progress = await listener.step()
    assert world.ended().keys() == {1, 3}
    assert (progress.open_proposals, progress.parked_proposals) == (1, 1)
    (parked,) = [entry for entry in logs if entry["event"] == "proposal_parked"]
    assert parked["promise_id"] == voting_ended_id(CHAIN_ID, DAO, 2)
    assert "reverted" in parked["reason"]

    asked = world.node.asked["call_each"]
    await listener.step()
    assert world.node.asked["call_each"] == asked, "it is not tried again before its time"
    for _ in range(12):
        world.now_ms += 300_001
        await listener.step()
    assert world.node.asked["call_each"] == asked + 12, "it is tried again at least every five minutes"

    world.node.unreadable = set()
    world.now_ms += 300_001
    progress = await listener.step()
    assert world.ended().keys() == {1, 2, 3}
    assert (progress.open_proposals, progress.parked_proposals) == (0, 0)


async def test_a_dao_that_contradicts_itself_ends_nothing(world: World) -> None:
    world.node.propose(50, 1)
    world.node.deadlines[1] = 60
    world.node.states[1] = ProposalState.ACTIVE
    progress = await world.listener().step()
    assert world.ended() == {}
    assert progress.parked_proposals == 1


async def test_many_open_proposals_are_looked_at_in_pages(world: World) -> None:
    world.node.propose(50, *range(1, 501))
    world.node.deadlines = dict.fromkeys(range(1, 451), 60)
    progress = await world.listener().step()
    assert len(world.ended()) == 450
    assert progress.open_proposals == 50


async def test_a_deadline_beyond_64_bits_is_kept(world: World) -> None:
    world.node.propose(50, 1)
    world.node.deadlines[1] = 2**256 - 1
    progress = await world.listener().step()
    assert (world.ended(), progress.open_proposals, progress.parked_proposals) == ({}, 1, 0)


async def test_proposal_ids_have_256_bits(world: World) -> None:
    proposal_id = 2**256 - 2
    world.node.propose(50, proposal_id)
    world.node.deadlines[proposal_id] = 60
    await world.listener().step()
    assert world.ended().keys() == {proposal_id}


async def test_a_cancellation_seen_with_its_proposal_ends_it(world: World) -> None:
    world.node.propose(50, 1, 2)
    world.node.cancel(55, 1)
    await world.listener().step()
    assert world.ended()[1].reason == "canceled"
    assert world.ended()[1].deadline == NO_DEADLINE
    assert world.ended().keys() == {1}


async def test_a_cancellation_seen_later_ends_it_before_its_deadline(world: World) -> None:
    world.node.propose(50, 1)
    listener = world.listener()
    await listener.step()
    world.node.cancel(95, 1)
    world.node.head = 106
    await listener.step()
    assert world.ended()[1].reason == "canceled"


async def test_a_promise_that_the_workflow_made_first_is_settled(world: World) -> None:
    ended_id = voting_ended_id(CHAIN_ID, DAO, 1)
    world.engine.make(ended_id, {"made": "by the workflow"})
    world.node.propose(50, 1)
    world.node.deadlines[1] = 60
    await world.listener().step()
    assert world.ended().keys() == {1}
    assert world.engine.records[ended_id].tags == {"made": "by the workflow"}


# -- what an operator must change


async def test_another_content_under_the_same_id_stops_loudly(world: World, tmp_path: Path) -> None:
    world.node.propose(50, 1)
    await world.listener().step()
    world.node.contents[1] = b"\x99" * 32
    async with await SqliteCursorStore.open(tmp_path / "fresh.db") as fresh:
        listener = World(node=world.node, engine=world.engine, store=fresh).listener()
        with pytest.raises(ContentMismatch, match=score_promise_id(CHAIN_ID, DAO, 1)):
            await listener.run(asyncio.Event())
        assert await fresh.cursor(SETTINGS.source) is None


async def test_an_invocation_keeps_the_registry_that_it_was_made_for(world: World, tmp_path: Path) -> None:
    world.node.propose(50, 1)
    await world.listener().step()
    moved = replace(SETTINGS, registry="0x" + "5d" * 20)
    async with await SqliteCursorStore.open(tmp_path / "fresh.db") as fresh:
        with capture_logs() as logs:
            await World(node=world.node, engine=world.engine, store=fresh).listener(moved).step()
    (warning,) = [each for each in logs if each["event"] == "invocation_keeps_its_registry"]
    assert (warning["registry"], warning["configured"]) == (SETTINGS.registry, moved.registry)
    assert world.scored() == {1}


async def test_a_start_block_that_is_moved_back_is_told_and_not_ignored(world: World) -> None:
    world.node.propose(20, 1)
    world.node.propose(50, 2)
    later = replace(SETTINGS, start_block=40)
    await world.listener(later).step()
    assert world.scored() == {2}
    with pytest.raises(StartBeforeCursor, match="start block 10 lies before block 40"):
        await world.listener(replace(SETTINGS, start_block=10)).run(asyncio.Event())
    # Moved on it leaves out nothing: the cursor counts.
    world.node.head += 10
    world.node.propose(95, 3)
    await world.listener(replace(SETTINGS, start_block=60)).step()
    assert world.scored() == {2, 3}


@pytest.mark.parametrize("width", [1, 2, 3, 7, 1_000])
async def test_proposals_of_one_block_and_at_the_edges_of_ranges_are_all_taken(
    world: World, width: int
) -> None:
    for block, numbers in ((0, (1,)), (6, (2, 3, 4)), (7, (5,)), (14, (6, 7)), (15, (8,)), (90, (9, 10))):
        world.node.propose(block, *numbers)
    listener = world.listener(replace(SETTINGS, range_blocks=width))
    while not (await listener.step()).caught_up:
        pass
    assert world.scored() == set(range(1, 11))
    assert set(world.engine.made.values()) == {1}


async def test_what_the_orchestrator_refuses_stops_the_listener(world: World) -> None:
    world.node.propose(50, 1)
    world.engine.fault = lambda _operation, _promise_id: Refused(401, "unauthorised")
    with pytest.raises(DispatchRefused, match="status 401: unauthorised; check its URL, its token"):
        await world.listener().run(asyncio.Event())
    assert await world.cursor() is None


async def test_a_log_that_does_not_decode_stops_loudly(world: World) -> None:
    world.node.propose(50, 1)
    honest = world.node.logs

    async def truncated(*arguments: Any) -> Any:
        return [replace(log, data=log.data[:40]) for log in await honest(*arguments)]

    node = cast(Any, _Overridden(world.node, logs=truncated))
    listener = Listener(SETTINGS, node, cast(Any, world.engine), world.store)
    with pytest.raises(UnreadableLog, match="log 0 of block 50"):
        await listener.run(asyncio.Event())
    assert await world.cursor() is None


@pytest.mark.parametrize(
    ("change", "settings", "error", "text"),
    [
        (lambda node: setattr(node, "served_chain_id", 5), SETTINGS, WrongChain, "serves chain 5, not 777"),
        (lambda node: setattr(node, "has_code", False), SETTINGS, NoCode, f"no contract at {DAO}"),
        (
            lambda node: None,
            replace(SETTINGS, start_block=101),
            StartBeyondHead,
            "start block 101 lies beyond the chain's head 100",
        ),
        (lambda node: setattr(node, "fault", lambda _: AWAY), SETTINGS, NodeUnavailable, "http://stub: gone"),
    ],
    ids=["wrong chain", "no code", "start beyond head", "no node"],
)
async def test_a_mistake_is_told_at_the_first_contact(
    world: World, change: Callable[[StubNode], None], settings: ListenerSettings, error: Any, text: str
) -> None:
    change(world.node)
    with pytest.raises(error, match=text) as caught:
        await world.listener(settings).run(asyncio.Event())
    assert "\n" not in str(caught.value)
    assert await world.cursor() is None


async def test_a_contract_that_is_no_dao_is_told(world: World) -> None:
    async def empty(*_arguments: Any) -> bytes:
        return b""

    node = cast(Any, _Overridden(world.node, call=empty))
    listener = Listener(SETTINGS, node, cast(Any, world.engine), world.store)
    with pytest.raises(NotADao, match="check the address"):
        await listener.run(asyncio.Event())


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("dao", "0xABCDEF"),
        ("dao", "0x" + "AA" * 20),
        ("registry", ""),
        ("chain_id", 0),
        ("start_block", -1),
        ("range_blocks", 0),
        ("dispatch_concurrency", 0),
        ("poll_interval_s", 0.0),
        ("backoff_s_max", 0.0001),
    ],
)
def test_settings_name_their_fault(setting: str, value: Any) -> None:
    with pytest.raises(InvalidSettings, match=f"listener setting {setting}: must"):
        replace(SETTINGS, **{setting: value})
