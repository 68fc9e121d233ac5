"""Incidents: what stops a source, what an operator may decide, and what each decision does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from contracts.rpc import NoCode, NodeUnavailable, RpcRefused
from listener import ReorgBeyondFinality, SqliteCursorStore, UnreadableLog, score_promise_id
from listener.errors import IncidentError, NotADao
from listener.incidents import Decision, IncidentKind, Report, report_of
from listener.store import Cursor, Dispatched
from listener.store.schema import APPLICATION_ID
from tests.listener_engine import PromiseStore
from tests.listener_node import CHAIN_ID, DAO, StubNode
from tests.unit.test_listener_faults import SETTINGS, World

SOURCE = SETTINGS.source


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with await SqliteCursorStore.open(tmp_path / "cursor.db") as store:
        yield World(node=StubNode(), engine=PromiseStore(), store=store)


async def caught(world: World) -> ReorgBeyondFinality:
    with pytest.raises(ReorgBeyondFinality) as error:
        await world.listener().run(asyncio.Event())
    return error.value


async def test_a_replaced_final_block_is_believed_after_several_looks_in_a_row_only(world: World) -> None:
    listener = world.listener(replace(SETTINGS, reorg_looks=3))
    await listener.step()
    for _ in range(4):
        # A node behind a load balancer, and every other time an honest one.
        for fork in (1, 1, 0):
            world.node.fork = fork
            if fork:
                with pytest.raises(NodeUnavailable, match="looked at again"):
                    await listener.step()
            else:
                await listener.step()
    world.node.fork = 1
    for _ in range(2):
        with pytest.raises(NodeUnavailable):
            await listener.step()
    with pytest.raises(ReorgBeyondFinality):
        await listener.step()


async def test_a_reorg_beyond_finality_names_where_it_began_and_what_is_gone(world: World) -> None:
    world.node.propose(20, 1)
    world.node.propose(70, 2)
    world.node.propose(80, 3)
    listener = world.listener(replace(SETTINGS, range_blocks=10))
    while not (await listener.step()).caught_up:
        pass
    world.node.forks = dict.fromkeys(range(65, 101), 5)
    world.node.created = {20: [1], 82: [3]}
    error = await caught(world)
    assert (error.block_number, error.ancestor_number) == (90, 59)
    assert error.ancestor_hash == world.node.hash_of(59)
    assert error.vanished == (score_promise_id(CHAIN_ID, DAO, 2),), "the third has only moved"
    assert "1 dispatched logs are gone" in str(error)


async def test_what_stands_in_a_block_that_stayed_is_not_gone_because_a_node_hides_it(world: World) -> None:
    world.node.propose(62, 1)
    world.node.propose(70, 2)
    listener = world.listener(replace(SETTINGS, range_blocks=10))
    while not (await listener.step()).caught_up:
        pass
    world.node.forks = dict.fromkeys(range(65, 101), 5)
    world.node.created = {62: [1]}
    world.node.hidden = {62}
    error = await caught(world)
    assert error.ancestor_number == 59
    assert error.vanished == (score_promise_id(CHAIN_ID, DAO, 2),)


async def test_a_shorter_chain_that_differs_below_the_cursor_is_not_merely_behind(world: World) -> None:
    listener = world.listener(replace(SETTINGS, range_blocks=10))
    while not (await listener.step()).caught_up:
        pass
    world.node.head, world.node.fork = 60, 1
    error = await caught(world)
    assert error.block_number == 49
    assert error.ancestor_number is None


async def test_a_decision_to_rewind_reads_the_new_chain_and_makes_nothing_twice(world: World) -> None:
    world.node.propose(20, 1)
    world.node.propose(70, 2)
    listener = world.listener(replace(SETTINGS, range_blocks=10))
    while not (await listener.step()).caught_up:
        pass
    world.node.forks = dict.fromkeys(range(65, 101), 5)
    world.node.created = {20: [1], 75: [4]}
    report = report_of(await caught(world))
    assert report is not None
    incident = await world.store.open_incident(SOURCE, report, 1)
    assert await world.store.open_incident(SOURCE, report, 2) == incident, "it is recorded once"

    await world.store.decide(incident.id, Decision.REWIND, 3)
    assert await world.store.incidents() == []
    assert (await world.store.counts(SOURCE)).open == 1, "the vanished proposal is watched no more"
    assert await world.cursor() == 59
    fresh = world.listener()
    while not (await fresh.step()).caught_up:
        pass
    assert world.scored() == {1, 2, 4}
    assert set(world.engine.made.values()) == {1}
    (decided,) = await world.store.incidents(open_only=False)
    assert (decided.decision, decided.resolved_at_ms) == (Decision.REWIND, 3)


async def test_a_log_that_cannot_be_read_is_passed_over_only_by_decision(world: World) -> None:
    world.node.propose(50, 1, 2)
    honest = world.node.logs

    async def torn(*arguments: Any) -> Any:
        first, *others = await honest(*arguments)
        return [replace(first, data=first.data[:40]), *others]

    def listener() -> Any:
        made = world.listener()
        made._reader._node = cast(Any, _With(world.node, logs=torn))
        return made

    with pytest.raises(UnreadableLog) as error:
        await listener().step()
    report = report_of(error.value)
    assert report is not None
    assert (report.kind, report.block_number, report.log_index) == (IncidentKind.UNREADABLE_LOG, 50, 0)
    incident = await world.store.open_incident(SOURCE, report, 1)
    with pytest.raises(IncidentError, match="choose retry or skip"):
        await world.store.decide(incident.id, Decision.REWIND, 2)
    await world.store.decide(incident.id, Decision.RETRY, 2)
    with pytest.raises(UnreadableLog):
        await listener().step()
    again = await world.store.open_incident(SOURCE, report, 3)
    assert again.id != incident.id
    await world.store.decide(again.id, Decision.SKIP, 4)
    await listener().step()
    assert world.scored() == {2}
    with pytest.raises(IncidentError, match="is decided already"):
        await world.store.decide(again.id, Decision.SKIP, 5)
    with pytest.raises(IncidentError, match="does not exist"):
        await world.store.decide(99, Decision.SKIP, 5)


class _With:
    def __init__(self, inner: object, **methods: object) -> None:
        self._inner = inner
        self._methods = methods

    def __getattr__(self, name: str) -> object:
        return self._methods.get(name) or getattr(self._inner, name)


# -- the store


async def test_a_listener_that_read_on_does_not_undo_a_rewind(world: World) -> None:
    def cursor(number: int) -> Cursor:
        return Cursor(block_number=number, block_hash=bytes([number]) * 32, first_block=0)

    store = world.store
    for number in (10, 20, 30):
        await store.advance(SOURCE, cursor(number), [], [], after=number - 10)
    await store.rewind(SOURCE, cursor(10))
    await store.advance(SOURCE, cursor(40), [], [], after=30)
    assert await world.cursor() == 10, "blocks 11 to 30 would have been left out"
    assert [place.block_number for place in await store.checkpoints(SOURCE)] == [10]
    await store.advance(SOURCE, cursor(20), [], [], after=10)
    assert await world.cursor() == 20
    await store.rewind(SOURCE, None)
    assert await world.cursor() is None


async def test_what_is_remembered_of_the_past_is_bounded(world: World, monkeypatch: Any) -> None:
    monkeypatch.setattr("listener.store.statements.CHECKPOINTS_KEPT", 5)
    monkeypatch.setattr("listener.store.statements.DISPATCHED_KEPT", 7)
    for number in range(1, 30):
        place = Cursor(block_number=number, block_hash=bytes([number]) * 32)
        made = Dispatched(promise_id=f"p{number}", block_number=number, block_hash=place.block_hash)
        await world.store.advance(SOURCE, place, [], [], after=number - 1, dispatched=[made])
    assert [place.block_number for place in await world.store.checkpoints(SOURCE)] == [29, 28, 27, 26, 25]
    kept = [each.block_number for each in await world.store.dispatched_after(SOURCE, 0)]
    assert kept == list(range(23, 30))


async def test_sources_of_one_contract_keep_apart(world: World) -> None:
    other = replace(SOURCE, name="transfers")
    await world.store.advance(SOURCE, Cursor(block_number=9, block_hash=b"\x09" * 32), ["1"], [])
    assert await world.store.cursor(other) is None
    report = Report(kind=IncidentKind.UNREADABLE_LOG, detail="torn")
    await world.store.open_incident(other, report, 1)
    assert await world.store.incidents(SOURCE) == []
    assert [each.source for each in await world.store.incidents()] == [other]


async def test_a_file_of_the_version_before_goes_on_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        for statement in (
            "CREATE TABLE cursors (chain_id BIGINT NOT NULL, dao TEXT NOT NULL,"
            " block_number BIGINT NOT NULL, block_hash BLOB NOT NULL, first_block BIGINT NOT NULL,"
            " PRIMARY KEY (chain_id, dao)) WITHOUT ROWID",
            "CREATE TABLE open_proposals (chain_id BIGINT NOT NULL, dao TEXT NOT NULL,"
            " proposal_id TEXT NOT NULL, due_after BIGINT NOT NULL, failures INTEGER NOT NULL,"
            " retry_at_ms BIGINT NOT NULL, parked_reason TEXT,"
            " PRIMARY KEY (chain_id, dao, proposal_id)) WITHOUT ROWID",
            "CREATE INDEX open_proposals_due ON open_proposals (chain_id, dao, due_after)",
            "INSERT INTO cursors VALUES (777, 'DAO', 12, x'0c', 3)".replace("DAO", DAO),
            "INSERT INTO open_proposals VALUES (777, 'DAO', '8', -1, 0, 0, NULL)".replace("DAO", DAO),
            f"PRAGMA application_id = {APPLICATION_ID}",
            "PRAGMA user_version = 2",
        ):
            connection.exec_driver_sql(statement)
    engine.dispose()
    async with await SqliteCursorStore.open(path) as store:
        assert await store.cursor(SOURCE) == Cursor(block_number=12, block_hash=b"\x0c", first_block=3)
        assert (await store.counts(SOURCE)).open == 1
    async with await SqliteCursorStore.open(path) as store:
        assert (await store.counts(SOURCE)).open == 1


# -- what stands at the address


@pytest.mark.parametrize("beacon", [None, 0xCC, 0])
async def test_an_implementation_that_changes_is_told_once_and_survived(
    world: World, beacon: int | None
) -> None:
    """In the proxy's own slot; in a beacon, which stays what it is; or told by a delegator as Bravo's."""
    place = "implementation" if beacon is None else "named"
    world.node.beacon = beacon or 0
    setattr(world.node, place, 0xAA)
    await world.listener().step()
    setattr(world.node, place, 0xBB)
    world.node.propose(95, 1)
    world.node.head = 110
    listener = world.listener()
    with capture_logs() as logs:
        progress = await listener.step()
        await listener.step()
    (told,) = [entry for entry in logs if entry["event"] == "implementation_changed"]
    assert (told["was"][-2:], told["now"][-2:]) == ("aa", "bb")
    assert progress.implementation_changes == 1
    assert world.scored() == {1}


async def test_a_node_that_does_not_tell_of_storage_tells_of_no_change(world: World) -> None:
    world.node.implementation = 0xAA
    await world.listener().step()
    refused = RpcRefused("eth_getStorageAt", -32601, "the method is not available")
    world.node.fault = lambda method: refused if method == "eth_getStorageAt" else None
    with capture_logs() as logs:
        assert (await world.listener().step()).implementation_changes == 0
    assert "implementation_changed" not in [entry["event"] for entry in logs]


async def test_an_implementation_that_is_no_dao_any_more_stops_the_source(world: World) -> None:
    listener = world.listener()
    await listener.step()
    world.node.implementation = 0xBB
    world.node.unreadable_clock = True
    world.now_ms += 300_001
    with pytest.raises(NotADao):
        await listener.step()


async def test_code_that_is_gone_is_named(world: World) -> None:
    listener = world.listener()
    await listener.step()
    world.node.has_code = False
    world.now_ms += 300_001
    with pytest.raises(NoCode):
        await listener.step()
