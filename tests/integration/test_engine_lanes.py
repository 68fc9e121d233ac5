"""Additions beside one another: when they are, and that nobody can tell it by the answers."""

from __future__ import annotations

import asyncio
import os
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from orchestrator.domain.errors import Refused, Unavailable
from orchestrator.domain.promise import PromiseRecord, Value
from orchestrator.engine.lanes import LANE_MIN
from orchestrator.protocol import commands as c
from orchestrator.store import SqliteStore
from orchestrator.store.flushes import Flushes
from orchestrator.store.port import Insert
from tests.engine_world import FAR, RESOLVED, Ear, World, claim, create, fence, settle, world
from tests.integration.test_engine_shortcuts import step

FEW, MANY = LANE_MIN - 1, 2 * LANE_MIN + 1


def watched(kind: Any) -> Any:
    """Return a kind of store like this, on which additions can be watched."""

    class Watched(kind):  # type: ignore[misc]
        """A store whose additions are counted; they begin while `gate` is open, or fail with `fault`."""

        def __init__(self, *place: Any, **options: Any) -> None:
            super().__init__(*place, **options)
            self.sizes: list[int] = []
            self.under_way = self.most = 0
            self.gate, self.entered = asyncio.Event(), asyncio.Event()
            self.gate.set()
            self.fault: Exception | None = None

        async def add(self, inserts: Sequence[Insert], now_ms: int) -> list[PromiseRecord | None]:
            self.sizes.append(len(inserts))
            self.under_way += 1
            self.most = max(self.most, self.under_way)
            self.entered.set()
            try:
                await self.gate.wait()
                if self.fault is not None:
                    raise self.fault
                return await super().add(inserts, now_ms)
            finally:
                self.under_way -= 1

    return Watched


@pytest.fixture(params=["sqlite", "postgresql"])
async def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    # How long a flush takes here is left out: it is in tests/unit/test_store_flushes.py.
    monkeypatch.setattr(Flushes, "parts", lambda *_: 2)
    if request.param == "sqlite":
        return watched(SqliteStore)(tmp_path / "lanes.db")
    url = request.getfixturevalue("postgres_url")
    from orchestrator.store.postgres import PostgresStore  # noqa: PLC0415

    return watched(PostgresStore)(url, time_from="caller")


@pytest.fixture
async def w(store: Any) -> AsyncIterator[World]:
    async with world("", None, store) as each:
        yield each


def many(count: int = MANY, prefix: str = "p") -> list[c.PromiseCreate]:
    return [create(f"{prefix}{number}") for number in range(count)]


async def test_a_large_batch_of_additions_is_shared_by_two(w: World, store: Any) -> None:
    answers = await w.together(*many())
    assert [answer.promise.id for answer in answers] == [f"p{number}" for number in range(MANY)]
    assert (store.sizes, store.most) == ([LANE_MIN + 1, LANE_MIN], 2)
    stored = (await w.do(c.PromiseSearch(limit=1000))).promises
    assert {each.id: each for each in stored} == {each.promise.id: each.promise for each in answers}


async def test_a_smaller_one_goes_as_a_whole_or_by_a_program(w: World, store: Any) -> None:
    assert len(await w.together(*many(LANE_MIN, "one"))) == LANE_MIN
    assert store.sizes == [LANE_MIN]
    assert len(await w.together(*many(FEW, "few"))) == FEW
    await w.together(*many(MANY), c.PromiseGet(id="few1"))
    apart = [FEW, MANY] if store.apart else []  # else what is left of a batch would need a commit of its own
    assert (store.sizes, store.most) == ([LANE_MIN, *apart], 1)


async def test_where_a_flush_costs_much_there_is_one_at_a_time(
    w: World, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Flushes, "parts", lambda *_: 1)
    store.gate.clear()
    first = [asyncio.ensure_future(w.do(each)) for each in many()]
    await store.entered.wait()
    then = [asyncio.ensure_future(w.do(each)) for each in many(prefix="q")]
    await asyncio.sleep(0.01)
    store.gate.set()
    assert all(answer.promise.pending for answer in await asyncio.gather(*first, *then))
    assert (store.sizes, store.most) == ([MANY, MANY], 1)


async def test_steps_of_held_tasks_go_with_promises(w: World, store: Any) -> None:
    await w.together(*(claim(f"t{number}") for number in range(40)))
    steps = [fence(f"t{number}", 1, step(f"t{number}:1")) for number in range(40)]
    answers = await w.together(*steps, *many(40))
    assert [answer.promise.state for answer in answers[:40]] == [RESOLVED] * 40
    assert store.sizes == ([80] if store.apart else [40, 40])
    late = [fence(f"t{number}", 2, step(f"t{number}:2")) for number in range(40)]
    assert [answer.status for answer in await w.together(*late)] == [409] * 40


async def test_parts_of_one_tree_are_not_in_each_others_way(w: World, store: Any) -> None:
    answers = await w.together(*(create(f"a:{number}") for number in range(MANY)))
    assert [answer.promise.id for answer in answers] == [f"a:{number}" for number in range(MANY)]
    assert store.sizes == ([MANY] if store.apart else [LANE_MIN + 1, LANE_MIN])


async def test_what_exists_is_answered_as_it_stands(w: World, store: Any) -> None:
    for key in ("p3", "p60"):
        await w.do(create(key, timeout_at=FAR - 1))
    await w.do(settle("p60"))
    store.sizes.clear()
    answers = await w.together(*many())
    assert [answer.promise.id for answer in answers] == [f"p{number}" for number in range(MANY)]
    assert answers[3].promise.timeout_at == answers[60].promise.timeout_at == FAR - 1
    assert answers[60].promise.state is RESOLVED
    assert len(store.sizes) == 2, "what was declined is decided, not tried again"
    again = await w.together(*many())
    assert [answer.promise for answer in again] == [answer.promise for answer in answers]


async def test_one_that_cannot_be_stored_harms_nobody(w: World, store: Any) -> None:
    commands = many()
    commands[5] = c.PromiseCreate(id="p5", timeout_at=FAR, param=Value(data="\ud800"))
    answers = await w.together(*commands)
    assert isinstance(answers[5], Refused)
    assert answers[5].status == 400
    assert all(answer.promise.pending for at, answer in enumerate(answers) if at != 5)
    assert len((await w.do(c.PromiseSearch(limit=1000))).promises) == MANY - 1


@pytest.mark.parametrize("others", [0, MANY])
async def test_what_else_is_asked_comes_after_them(w: World, store: Any, others: int) -> None:
    store.gate.clear()
    first = [asyncio.ensure_future(w.do(each)) for each in many(LANE_MIN)]
    await store.entered.wait()
    asked = (settle("p1"), c.PromiseGet(id=f"p{LANE_MIN - 1}"), *many(others, "q"))
    then = [asyncio.ensure_future(w.do(command)) for command in asked]
    await asyncio.sleep(0.01)
    assert not any(each.done() for each in (*first, *then))
    store.gate.set()
    settled, found, *_ = await asyncio.gather(*then)
    assert (settled.promise.state, found.promise.pending) == (RESOLVED, True)
    assert len(await asyncio.gather(*first)) == LANE_MIN


async def test_those_of_one_id_have_one_promise(w: World, store: Any) -> None:
    store.gate.clear()
    first = [asyncio.ensure_future(w.do(each)) for each in many(LANE_MIN)]
    await store.entered.wait()
    then = [
        asyncio.ensure_future(w.do(create(f"p{number}", timeout_at=FAR - 1))) for number in range(LANE_MIN)
    ]
    await asyncio.sleep(0.01)
    assert store.under_way == 2
    store.gate.set()
    answers = [(await each).promise for each in first]
    assert [(await each).promise for each in then] == answers
    # On PostgreSQL either may come first.
    assert {each.timeout_at for each in answers} <= ({FAR, FAR - 1} if store.apart else {FAR})


async def test_they_are_due_in_time(w: World) -> None:
    ear = Ear()
    w.engine.connect("clients", "c1", ear)
    await w.together(*(create(f"p{number}", timeout_at=w.now + 50 + number) for number in range(MANY)))
    await w.do(c.PromiseRegisterListener(awaited="p0", address="poll://uni@clients/c1"))
    w.clock.advance(50)
    await ear.hear(1)


async def test_a_stop_waits_for_them(w: World, store: Any) -> None:
    store.gate.clear()
    asked = [asyncio.ensure_future(w.do(each)) for each in many()]
    await store.entered.wait()
    stopping = asyncio.ensure_future(w.engine.stop())
    await asyncio.sleep(0.05)
    assert not stopping.done()
    store.gate.set()
    async with asyncio.timeout(10):
        await stopping
        assert all(answer.promise.pending for answer in await asyncio.gather(*asked))


async def test_nobody_waits_in_them_for_a_committer_that_has_ended(w: World, store: Any) -> None:
    store.gate.clear()
    asked = [asyncio.ensure_future(w.do(each)) for each in many()]
    await store.entered.wait()
    committing = w.engine._committing
    assert committing is not None
    committing.cancel()
    async with asyncio.timeout(10):
        answers: list[Any] = await asyncio.gather(*asked, return_exceptions=True)
    assert {type(answer) for answer in answers} == {Unavailable}
    assert store.under_way == 0
    w.engine._committing = None  # it is not to be waited for


@pytest.mark.parametrize("count", [LANE_MIN, MANY])
async def test_what_fails_is_told_and_the_next_goes_on(w: World, store: Any, count: int) -> None:
    store.fault = RuntimeError("out of order")
    answers = await w.together(*many(count))
    assert {str(answer) for answer in answers} == {"out of order"}
    assert w.engine.statistics.failed_batches == len(store.sizes)
    store.fault = None
    assert all(answer.promise.pending for answer in await w.together(*many(count)))


async def test_a_fault_of_ours_leaves_nobody_waiting(
    w: World, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def forgets(*_: object) -> list[PromiseRecord | None]:
        return []

    monkeypatch.setattr(type(store), "add", forgets)
    async with asyncio.timeout(10):
        answers = await w.together(*many())
    assert {type(answer) for answer in answers} == {ValueError}
    monkeypatch.undo()
    assert (await w.do(create("p1"))).promise.pending


async def test_whoever_asks_at_once_sees_one_history(w: World, store: Any) -> None:
    """Many create few promises, and settle some. LANES_SEED repeats a run."""
    seed = int(os.environ.get("LANES_SEED", random.randrange(2**32)))  # noqa: S311
    print("seed", seed, "(set LANES_SEED to repeat)")  # noqa: T201
    chance = random.Random(seed)  # noqa: S311
    deadlines: dict[str, set[int]] = defaultdict(set)
    settled: set[str] = set()

    async def client(place: int) -> None:
        for number in range(12):
            # Mostly those who ask at once name promises of their own, which their neighbours name soon after.
            key = f"p{place + number if chance.random() < 0.999 else chance.randrange(150)}"
            was_settled = key in settled
            if number % 6 == 5 and deadlines[key]:
                answer = await w.do(settle(key))
                settled.add(key)
            else:
                answer = await w.do(create(key, timeout_at=FAR - chance.randrange(1_000)))
            deadlines[key].add(answer.promise.timeout_at)
            assert not was_settled or answer.promise.state is RESOLVED, (key, seed)

    await asyncio.gather(*(client(place) for place in range(150)))
    assert store.most == 2, "additions went by two lanes"
    assert {len(each) for each in deadlines.values() if each} == {1}, seed
    for key in settled:
        assert await w.state(key) is RESOLVED, (key, seed)
