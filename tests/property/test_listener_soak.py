"""An hour of a chain's life under faults ends with an empty backlog; what is replaced is not passed over.

Each history comes from its seed, which stands in the message of a failure. `DAO_SCORER_RECORDS=1` plays many.
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from contracts.rpc import NodeUnavailable, RpcError, RpcRefused
from listener import FilterCheck, Listener, ListenerSettings, ReorgBeyondFinality, SqliteCursorStore
from listener.incidents import Decision, report_of
from orchestrator.domain.errors import Unavailable
from tests.listener_engine import PromiseStore
from tests.listener_node import CHAIN_ID, DAO, StubNode
from tests.unit.test_listener_audit import _no_pauses, stubborn  # noqa: F401 - a fixture

RECORDS = os.environ.get("DAO_SCORER_RECORDS") == "1"
HOURS = 200 if RECORDS else 2
REPLACEMENTS = 1_000 if RECORDS else 10
pytestmark = [pytest.mark.usefixtures("_no_pauses"), pytest.mark.timeout(1_800 if RECORDS else 180)]
"""By the clock: two seconds of a processor, which others may need more while records are played."""
BLOCK_S = 12
HOUR_BLOCKS = 3_600 // BLOCK_S
VOTING_BLOCKS = 25
SETTINGS = ListenerSettings(
    chain_id=CHAIN_ID,
    dao=DAO,
    registry=DAO,
    range_blocks=16,
    dispatch_concurrency=4,
    parked_s_max=60.0,
    filter_check=FilterCheck.ALL,
)


@dataclass(slots=True)
class Hour:
    """A chain that moves by its own clock, and two listeners that are beset by faults."""

    chance: random.Random
    folder: Path
    node: StubNode = field(default_factory=lambda: StubNode(head=40, lag=12, crowd=0))
    engine: PromiseStore = field(default_factory=PromiseStore)
    stores: list[SqliteCursorStore] = field(default_factory=list)
    listeners: list[Listener] = field(default_factory=list)
    now_ms: int = 1_000_000
    next_id: int = 1
    fault_rate: float = 0.0
    damaged: float = 0.0
    """The share of blocks that the node's index of logs does not know, and never will."""
    forks: int = 0
    lied: list[bool] = field(default_factory=lambda: [False, False])

    def fault(self, *_: object) -> Exception | None:
        if self.chance.random() >= self.fault_rate:
            return None
        return self.chance.choice(
            [
                NodeUnavailable("http://stub", "gone"),
                RpcRefused("eth_getLogs", -32005, "too much"),
                Unavailable("gone"),
            ]
        )

    def listener(self, store: SqliteCursorStore) -> Listener:
        node, engine = cast(Any, self.node), cast(Any, self.engine)
        return Listener(SETTINGS, node, engine, store, now_ms=lambda: self.now_ms)

    def propose(self) -> None:
        self.node.propose(self.node.head, self.next_id)
        self.node.deadlines[self.next_id] = self.node.head + VOTING_BLOCKS
        if self.chance.random() < self.damaged:
            self.node.hidden.add(self.node.head)
        self.next_id += 1

    def reorganise(self) -> None:
        """Replace some unfinalised blocks; what stood in them comes again in a later one, mostly."""
        self.forks += 1
        depth = self.chance.randrange(1, self.node.lag)
        for number in range(self.node.head - depth + 1, self.node.head + 1):
            self.node.forks[number] = self.forks
            again = [each for each in self.node.created.pop(number, []) if self.chance.random() < 0.8]
            if again:
                self.node.propose(self.node.head, *again)

    async def block(self) -> None:
        """Let twelve seconds pass."""
        self.now_ms += BLOCK_S * 1000
        self.node.head += 1
        if self.chance.random() < 0.2:
            self.propose()
        if self.chance.random() < 0.1:
            self.reorganise()
        if self.chance.random() < 0.05:
            self.fault_rate = self.chance.choice([0.0, 0.02, 0.3, 1.0])
        if self.chance.random() < 0.05:
            index = self.chance.randrange(2)
            self.listeners[index] = self.listener(self.stores[index])
        for index in range(2):
            if self.chance.random() < 0.8:
                await self.step(index)

    async def step(self, index: int) -> bool:
        """Do one cycle, behind a node that lags or lies about the cursor's block now and then."""
        hidden = self.chance.randrange(1, 10) if self.fault_rate and self.chance.random() < 0.1 else 0
        number = await self.lied_about(index)
        honest = self.node.forks.get(number, self.node.fork)
        if number >= 0:
            self.node.forks[number] = 77_777
        self.node.head -= hidden
        try:
            caught_up = (await self.listeners[index].step()).caught_up
        except (RpcError, Unavailable):
            return False
        else:
            self.lied[index] = False
            return caught_up and not hidden
        finally:
            self.node.head += hidden
            if number >= 0:
                self.node.forks[number] = honest

    async def lied_about(self, index: int) -> int:
        """Return the cursor's block if it is to be lied about, else -1; once between two good cycles.

        Only where nothing new is final: a node that makes another chain final is no liar but a reorg.
        """
        cursor = await self.stores[index].cursor(SETTINGS.source)
        final = self.node.head - self.node.lag
        if not self.fault_rate or self.lied[index] or cursor is None or cursor.block_number != final:
            return -1
        self.lied[index] = self.chance.random() < 0.2
        return final if self.lied[index] else -1

    def final(self) -> set[int]:
        last = self.node.head - self.node.lag
        return {each for number, ids in self.node.created.items() if number <= last for each in ids}

    def ids(self, kind: str, among: Any) -> set[int]:
        return {int(each.rsplit("-", 1)[1]) for each in among if each.startswith(kind)}


async def opened(seed: int, folder: Path) -> Hour:
    hour = Hour(chance=random.Random(seed), folder=folder, damaged=(seed % 2) * 0.1)  # noqa: S311
    for index in range(2):
        store = await SqliteCursorStore.open(folder / f"{seed}-{index}.db")
        hour.stores.append(store)
        hour.listeners.append(hour.listener(store))
    return hour


@pytest.mark.parametrize("seed", range(HOURS))
async def test_an_hour_under_faults_ends_with_an_empty_backlog(seed: int, tmp_path: Path) -> None:
    hour = await opened(seed, tmp_path)
    hour.node.fault = hour.engine.fault = hour.fault
    for _ in range(HOUR_BLOCKS):
        await hour.block()
        scored = hour.ids("score", hour.engine.records)
        assert scored <= hour.final(), f"seed {seed}: something was dispatched that is not final"
    hour.fault_rate = 0.0
    hour.node.head += VOTING_BLOCKS + hour.node.lag + 1
    hour.now_ms += 600_000
    for index in range(2):
        for _ in range(200):
            if await hour.step(index):
                break
        counts = await hour.stores[index].counts(SETTINGS.source)
        assert (counts.open, counts.parked) == (0, 0), f"seed {seed}: the backlog is not empty"
        assert await hour.stores[index].incidents() == [], f"seed {seed}: a lie was believed"
        await hour.stores[index].close()
    assert hour.ids("score", hour.engine.records) == hour.final(), f"seed {seed}"
    assert hour.ids("voting", hour.engine.values) == hour.final(), f"seed {seed}"
    assert set(hour.engine.made.values()) <= {1}, f"seed {seed}: something was made twice"
    assert hour.forks > 5, f"seed {seed}: too quiet to show anything"
    assert bool(hour.node.hidden) is bool(hour.damaged), f"seed {seed}: nothing was hidden"


@pytest.mark.parametrize("seed", range(REPLACEMENTS))
async def test_beyond_finality_it_stops_and_goes_on_by_decision_only(seed: int, tmp_path: Path) -> None:
    hour = await opened(seed, tmp_path)
    for _ in range(60):
        await hour.block()
    hour.fault_rate = 0.0
    store, listener = hour.stores[0], hour.listener(hour.stores[0])
    await stubborn(listener)
    final, before = hour.node.head - hour.node.lag, set(hour.engine.records)
    first = final - hour.chance.randrange(20)
    gone = set()
    for number in range(first, hour.node.head + 1):
        hour.node.forks[number] = 10_000
        gone |= set(hour.node.created.pop(number, []))
    hour.propose()
    hour.node.head += hour.node.lag
    error = await replaced(listener)
    assert error.block_number == final, f"seed {seed}"
    assert set(hour.engine.records) == before, f"seed {seed}: it went on"
    assert {int(each.rsplit("-", 1)[1]) for each in error.vanished} == gone & hour.ids("score", before)
    report = report_of(error)
    assert report is not None
    incident = await store.open_incident(SETTINGS.source, report, 1)
    await store.decide(incident.id, Decision.REWIND, 2)
    listener = hour.listener(store)
    await stubborn(listener)
    assert hour.final() <= hour.ids("score", hour.engine.records), f"seed {seed}"
    assert set(hour.engine.made.values()) <= {1}
    for each in hour.stores:
        await each.close()


async def replaced(listener: Listener) -> ReorgBeyondFinality:
    """Step until the listener has seen often enough that a final block was replaced."""
    for _ in range(SETTINGS.reorg_looks):
        try:
            await listener.step()
        except NodeUnavailable:
            continue
        except ReorgBeyondFinality as error:
            return error
    raise AssertionError("the listener went on as if nothing had happened")
