"""A store that is slow or fails, a caller that leaves, a clock that jumps, a message that is not read."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.domain.errors import Unavailable
from orchestrator.domain.promise import Value
from orchestrator.engine import Engine, ManualClock, SystemClock
from orchestrator.engine import clock as clock_module
from orchestrator.protocol import commands as c
from orchestrator.protocol.messages import Unblock
from orchestrator.store import MemoryStore, SqliteStore, StoreError
from tests.engine_world import GROUP, TARGET, Ear, World, acquire, create, world


@pytest.fixture(params=["memory://", "sqlite:///:memory:"])
async def w(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    async with world(request.param) as made:
        yield made


async def _until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110  # no event tells of it
            await asyncio.sleep(0.005)


class TroubledStore(MemoryStore):
    """A store whose transactions wait for a gate, and fail while told to."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.gate.set()
        self.fails = False
        self.entered = asyncio.Event()

    async def run(self, make_program: Any, now_ms: int) -> Any:
        self.entered.set()
        await self.gate.wait()
        if self.fails:
            raise StoreError("the disk is full", transient=True)
        return await super().run(make_program, now_ms)


async def test_an_announcement_of_the_same_millisecond_is_not_taken_for_the_one_that_left(w: World) -> None:
    first = Ear()
    connection = w.engine.connect(GROUP, "w1", first)
    await w.do(create("p", target=TARGET))
    await first.hear(1)
    unroutable = w.engine.statistics.unroutable["execute"]
    connection.close()  # its message may not have been read: announced again, to nobody
    await _until(lambda: w.engine.statistics.unroutable["execute"] > unroutable)
    await w.do(c.PromiseGet(id="p"))  # carries the removal of what has left
    second = Ear()
    w.engine.connect(GROUP, "w2", second)
    await second.hear(1)
    assert second.executes == [("p", 0)]


async def test_a_failed_tick_forgets_no_deadline() -> None:
    clock, store = ManualClock(), TroubledStore()
    async with world("", clock, store) as w:
        ear = Ear()
        w.engine.connect("clients", "c1", ear)
        await w.do(create("soon", timeout_at=w.now + 100))
        await w.do(c.PromiseRegisterListener(awaited="soon", address="poll://uni@clients/c1"))
        store.fails = True
        with pytest.raises(StoreError):
            await w.engine.tick()
        store.fails = False
        await w.do(create("late", timeout_at=w.now + 500))
        await asyncio.sleep(0.01)  # the ticker goes to sleep again
        clock.advance(100)
        await ear.hear(1)
        assert [m.promise.id for m in ear.messages if isinstance(m, Unblock)] == ["soon"]


async def test_a_cancelled_stop_still_answers_and_closes() -> None:
    store = TroubledStore()
    engine = Engine(store, ManualClock())
    await engine.__aenter__()
    await engine.handle(create("p"))
    store.gate.clear()
    store.entered.clear()
    asked = asyncio.ensure_future(engine.handle(create("q")))
    await store.entered.wait()
    stopping = asyncio.ensure_future(engine.stop())
    await asyncio.sleep(0)
    stopping.cancel()
    await asyncio.wait([stopping])
    assert stopping.cancelled()
    store.gate.set()
    async with asyncio.timeout(5):
        with pytest.raises(Unavailable):  # the store is closed by now; the caller is told so
            await asked


async def test_a_full_disk_loses_nothing_that_was_answered(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "full.db")
    async with world("", None, store) as w:
        await w.do(create("task", target=TARGET))
        _pages(store, 70)
        large = Value(data="x" * 5_000)
        commands = [c.PromiseCreate(id=f"p{number}", timeout_at=2**50, param=large) for number in range(60)]
        answers = await w.together(*commands)
        answered = {answer.promise.id for answer in answers if isinstance(answer, c.PromiseAnswer)}
        assert 0 < len(answered) < len(commands)
        assert {type(answer) for answer in answers} == {c.PromiseAnswer, Unavailable}
        stored = {promise.id for promise in (await w.do(c.PromiseSearch(limit=1000))).promises}
        assert stored == answered | {"task"}
        _pages(store, 100_000)
        assert (await w.do(acquire("task", 0))).task.version == 1
        assert all(isinstance(answer, c.PromiseAnswer) for answer in await w.together(*commands))


def _pages(store: SqliteStore, count: int) -> None:
    """Let the file grow to so many pages, as a full disk would."""
    assert store._connection is not None
    store._connection.execute(f"PRAGMA max_page_count = {count}")


async def test_nobody_waits_for_a_committer_that_has_ended() -> None:
    store = TroubledStore()
    async with world("", None, store) as w:
        await w.do(create("first"))
        store.gate.clear()
        store.entered.clear()
        asked = [asyncio.ensure_future(w.do(create("under way")))]
        await store.entered.wait()
        asked.append(asyncio.ensure_future(w.do(create("queued"))))
        await asyncio.sleep(0)
        committing = w.engine._committing
        assert committing is not None
        committing.cancel()
        answers = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 5)
        assert [type(answer) for answer in answers] == [Unavailable, Unavailable]
        with pytest.raises(Unavailable):
            await w.do(create("later"))
        w.engine._committing = None  # it is not to be waited for


async def test_a_fault_of_the_delivery_does_not_end_the_commits(
    w: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> None:
        raise RuntimeError("no delivery today")

    monkeypatch.setattr(w.engine._courier, "deliver", broken)
    await w.do(create("p", target=TARGET))
    async with asyncio.timeout(5):
        assert (await w.do(acquire("p", 0))).task.version == 1


async def test_a_caller_that_leaves_is_not_counted_as_a_failure() -> None:
    store = TroubledStore()
    async with world("", None, store) as w:
        await w.do(create("first"))
        store.gate.clear()
        store.entered.clear()
        asked = asyncio.ensure_future(w.do(create("p")))
        await store.entered.wait()
        asked.cancel()
        await asyncio.wait([asked])
        store.gate.set()
        assert w.engine.statistics.requests["promise.create", 499] == 1
        assert (await w.do(c.PromiseGet(id="p"))).promise.pending, "what was being committed is committed"


async def test_a_clock_that_is_set_forward_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock_module, "CHECK_MS", 5)
    now = [1_000]
    clock = SystemClock()
    monkeypatch.setattr(clock, "now_ms", lambda: now[0], raising=False)
    sleeping = asyncio.ensure_future(clock.sleep_until(3_600_000))
    await asyncio.sleep(0.02)
    assert not sleeping.done()
    now[0] = 4_000_000
    async with asyncio.timeout(5):
        await sleeping
