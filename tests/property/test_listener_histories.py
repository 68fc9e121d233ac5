"""Random histories: whatever happens on the way, what is final is dispatched, and nothing else (C1, C2).

`DAO_SCORER_RECORDS=1` plays 2,000 of them.
"""

from __future__ import annotations

import asyncio
import os
import random
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.rpc import NodeUnavailable, RpcError
from listener import Listener, ListenerSettings, SqliteCursorStore
from orchestrator.domain.errors import Unavailable
from tests.listener_engine import PromiseStore
from tests.listener_node import CHAIN_ID, DAO, StubNode

SETTINGS = ListenerSettings(chain_id=CHAIN_ID, dao=DAO, registry=DAO, range_blocks=7, dispatch_concurrency=3)
RECORDS = os.environ.get("DAO_SCORER_RECORDS") == "1"
ACTIONS = (
    *("propose", "mine", "step", "step", "reorganise", "lag", "restart", "faults", "lose cursor"),
    *("hide", "damage"),
)


@dataclass(slots=True)
class History:
    """One chain, one orchestrator, two listeners that come and go, and the chance that drives them."""

    chance: random.Random
    folder: Path
    node: StubNode = field(default_factory=lambda: StubNode(head=5, lag=4, crowd=0))
    engine: PromiseStore = field(default_factory=PromiseStore)
    stores: list[SqliteCursorStore] = field(default_factory=list)
    listeners: list[Listener] = field(default_factory=list)
    next_id: int = 1
    forks: int = 0
    files: int = 0
    fault_rate: float = 0.0
    hidden_blocks: int = 0

    def fault(self, *_: object) -> Exception | None:
        if self.chance.random() >= self.fault_rate:
            return None
        return self.chance.choice([NodeUnavailable("http://stub", "gone"), Unavailable("gone")])

    def final(self) -> set[int]:
        blocks, last = self.node.created.items(), self.node.head + self.hidden_blocks - self.node.lag
        return {each for number, ids in blocks if number <= last for each in ids}

    def scored(self) -> set[int]:
        return {int(each.rsplit("-", 1)[1]) for each in self.engine.records if each.startswith("score")}

    async def open(self, index: int, stack: AsyncExitStack, *, fresh: bool) -> None:
        """Start listener `index` anew, on its cursor or (fresh) on none."""
        self.files += fresh
        name = self.folder / f"{index}-{self.files if fresh else 0}.db"
        store = self.stores[index] if not fresh else await SqliteCursorStore.open(name)
        if fresh:
            stack.push_async_callback(store.close)
        listener = Listener(SETTINGS, cast(Any, self.node), cast(Any, self.engine), store)
        self.stores[index:index], self.listeners[index:index] = [store], [listener]
        del self.stores[index + 1 : index + 2], self.listeners[index + 1 : index + 2]

    async def act(self, action: str, stack: AsyncExitStack) -> None:
        index = self.chance.randrange(2)
        if action == "propose":
            self.node.head += 1
            self.node.propose(self.node.head, self.next_id)
            self.next_id += 1
        elif action == "mine":
            self.node.head += self.chance.randrange(1, 12)
        elif action == "reorganise":
            self.reorganise()
        elif action == "faults":
            self.fault_rate = self.chance.choice([0.0, 0.05, 0.3])
        elif action == "lag":
            await self.lagging(index)
        elif action == "hide":
            await self.hiding(index)
        elif action == "damage":
            self.node.hidden |= {each for each in self.node.created if self.chance.random() < 0.2}
        elif action in ("restart", "lose cursor"):
            await self.open(index, stack, fresh=action == "lose cursor")
        else:
            await self.step(index)

    def reorganise(self) -> None:
        """Replace one to all of the blocks that are not final; what stood there moves, or is gone."""
        self.forks += 1
        first = self.node.head + 1 - self.chance.randrange(1, self.node.lag + 1)
        replaced = range(first, self.node.head + 1)
        again = [each for number in replaced for each in self.node.created.pop(number, [])]
        for number in replaced:
            self.node.forks[number] = self.forks
        for each in again:
            if self.chance.random() < 0.6:
                self.node.propose(self.chance.choice(replaced), each)

    async def lagging(self, index: int) -> None:
        """Let one step meet a node that is some blocks behind."""
        self.hidden_blocks = min(self.chance.randrange(1, 20), self.node.head - self.node.lag)
        self.node.head -= self.hidden_blocks
        await self.step(index)
        self.node.head += self.hidden_blocks
        self.hidden_blocks = 0

    async def hiding(self, index: int) -> None:
        """Let one step meet a node that leaves logs out of its answer, as one without these blocks does."""
        before = set(self.node.hidden)
        self.node.hidden |= {each for each in self.node.created if self.chance.random() < 0.5}
        await self.step(index)
        self.node.hidden = before

    async def step(self, index: int) -> bool:
        """Do one cycle; return whether the listener has caught up."""
        try:
            progress = await self.listeners[index].step()
        except (RpcError, Unavailable):
            return False
        cursor = await self.stores[index].cursor(SETTINGS.source)
        self.check(-1 if cursor is None else cursor.block_number)
        return progress.caught_up

    def check(self, cursor: int) -> None:
        """Nothing unfinalised is dispatched (C1), and nothing below the cursor is not (C2)."""
        assert self.scored() <= self.final()
        passed = {each for number, ids in self.node.created.items() if number <= cursor for each in ids}
        assert passed <= self.scored()


async def play(seed: int) -> None:
    history = History(chance=random.Random(seed), folder=Path(tempfile.gettempdir()))  # noqa: S311
    history.node.lag = history.chance.randrange(1, 13)
    history.node.head = history.node.lag + 1
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        history.folder = Path(folder)
        for index in range(2):
            await history.open(index, stack, fresh=True)
        history.node.fault = history.engine.fault = history.fault
        for _ in range(40):
            await history.act(history.chance.choice(ACTIONS), stack)
        history.fault_rate = 0.0
        for index in range(2):
            while not await history.step(index):
                pass
        assert history.scored() == history.final()
        assert set(history.engine.made.values()) <= {1}


@pytest.mark.timeout(7_200 if RECORDS else 180)
@given(st.integers(min_value=0, max_value=2**32))
@settings(max_examples=2_000 if RECORDS else 25, deadline=None)
def test_the_invocations_are_those_of_the_final_chain(seed: int) -> None:
    asyncio.run(play(seed))


def test_ranges_of_any_size_tile_the_chain() -> None:
    async def tiles(size: int, start: int) -> list[tuple[int, int]]:
        node = StubNode(head=64, lag=3)
        with tempfile.TemporaryDirectory() as folder:
            async with await SqliteCursorStore.open(Path(folder) / "cursor.db") as store:
                wanted = replace(SETTINGS, range_blocks=size, start_block=start)
                listener = Listener(wanted, cast(Any, node), cast(Any, PromiseStore()), store)
                while not (await listener.step()).caught_up:
                    pass
        return node.ranges

    for size in (1, 2, 61, 62, 63, 1_000):
        for start in (0, 1, 60, 61):
            ranges = asyncio.run(tiles(size, start))
            covered = [number for first, last in ranges for number in range(first, last + 1)]
            assert covered == list(range(start, 62)), (size, start)
