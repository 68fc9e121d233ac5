"""Group commit, settlement order, time, and lifetime."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.domain.errors import Refused, Unavailable
from orchestrator.domain.promise import PromiseState, Value
from orchestrator.domain.task import TaskState
from orchestrator.engine import Engine, EngineSettings, ManualClock
from orchestrator.protocol import commands as c
from orchestrator.store import MemoryStore, SqliteStore, Store, StoreError
from orchestrator.store.port import (
    Chain,
    LoadChain,
    LoadDue,
    LoadOutbox,
    LoadRows,
    Program,
    Query,
    SearchPromises,
    ask,
)
from orchestrator.transport.local import LocalTransport
from tests.engine_world import (
    FAR,
    GROUP,
    RESOLVED,
    TARGET,
    Ear,
    World,
    acquire,
    claim,
    create,
    fence,
    fulfill,
    settle,
    suspend,
    world,
)

# -- group commit


async def test_commands_that_arrive_together_are_one_batch_in_order(w: World) -> None:
    before = w.engine.statistics.batches.count
    answers = await w.together(
        create("r", target=TARGET),
        acquire("r", 0),
        fence("r", 1, create("r:1", branch="r")),
        acquire("r", 0),
        suspend("r", 1, "r:1"),
        settle("r:1", data="v"),
        acquire("r", 1),
        fulfill("r", 2),
        c.PromiseGet(id="r"),
        c.PromiseSearch(),
    )
    assert w.engine.statistics.batches.count == before + 1
    assert isinstance(answers[3], Refused)
    assert answers[4].suspended
    assert answers[6].task.version == 2
    assert [p.id for p in answers[6].preload] == ["r:1"]
    assert answers[8].promise.state is RESOLVED
    assert [p.id for p in answers[9].promises] == ["r", "r:1"]
    assert (await w.engine.gauges()).outbox_executes == 0


async def test_a_poisoned_command_harms_nobody_else(w: World) -> None:
    poison = c.PromiseCreate(id="bad", timeout_at=FAR, param=Value(data="\ud800"))
    answers = await w.together(create("a"), poison, create("b"), settle("a"), settle("none"))
    if not isinstance(w.store, MemoryStore):  # a dictionary can hold what UTF-8 cannot
        assert isinstance(answers[1], Refused)
        assert answers[1].status == 400
        assert w.engine.statistics.failed_batches == 1
        await w.refused(404, c.PromiseGet(id="bad"))
    assert [answer.promise.id for answer in (answers[0], answers[2], answers[3])] == ["a", "b", "a"]
    assert isinstance(answers[4], Refused)
    assert await w.state("a") is RESOLVED


class _Breaking:
    """A store that fails the programs it is told to."""

    def __init__(self, inner: MemoryStore) -> None:
        self.inner = inner
        self.fails: Callable[[Query[Any]], Exception | None] = lambda _: None

    async def open(self) -> None:
        await self.inner.open()

    async def close(self) -> None:
        await self.inner.close()

    async def run(self, make_program: Callable[[int], Program[Any]], now_ms: int) -> Any:
        return await self.inner.run(lambda now: self._watched(make_program(now)), now_ms)

    def _watched(self, program: Program[Any]) -> Program[Any]:
        rows: Any = None
        while True:
            try:
                query = program.send(rows)
            except StopIteration as stop:
                return stop.value
            error = self.fails(query)
            if error is not None:
                raise error
            rows = yield query


async def test_a_failing_store_answers_unavailable_and_recovers() -> None:
    store = _Breaking(MemoryStore())
    async with world("", store=store) as w:
        store.fails = lambda _: StoreError("disk full", transient=True)
        answers = await w.together(create("a"), create("b"))
        assert all(isinstance(answer, Unavailable) for answer in answers)
        assert w.engine.statistics.requests == {}  # `together` goes round the counting door
        with pytest.raises(Unavailable):
            await w.do(create("a"))
        assert w.engine.statistics.requests["promise.create", 503] == 1
        store.fails = lambda _: None
        await w.do(create("a"))


@pytest.mark.parametrize("error", [StoreError("disk full"), ZeroDivisionError()])
async def test_time_and_delivery_outlast_a_failing_store(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("ticker", "courier"):
        monkeypatch.setattr(f"orchestrator.engine.{module}.FAILURE_PAUSE_S", 0.01)
    store, failures = _Breaking(MemoryStore()), []

    def fails(query: Query[Any]) -> Exception | None:
        if isinstance(query, LoadDue | LoadOutbox) and len(failures) < 4:
            failures.append(query)
            return error
        return None

    async with world("", store=store) as w:
        await w.do(create("late", timeout_at=w.now + 5))
        await w.do(create("p", target=TARGET))
        store.fails = fails
        w.clock.advance(5)
        ear = Ear()
        w.engine.connect(GROUP, "w1", ear)
        async with asyncio.timeout(5):
            while (await w.engine.gauges()).promises_pending > 1:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await ear.hear(1)
        assert {type(query) for query in failures} == {LoadDue, LoadOutbox}


async def test_a_fault_of_one_command_is_its_own() -> None:
    store = _Breaking(MemoryStore())

    def fails(query: Query[Any]) -> Exception | None:
        return ZeroDivisionError() if isinstance(query, LoadRows) and "b" in query.ids else None

    async with world("", store=store) as w:
        store.fails = fails
        answers = await w.together(create("a"), create("b"), create("c"))
        assert [type(answer) for answer in answers] == [c.PromiseAnswer, ZeroDivisionError, c.PromiseAnswer]


async def test_a_caller_that_went_away_changes_nothing_for_others(w: World) -> None:
    gone = asyncio.ensure_future(w.do(create("a")))
    stays = asyncio.ensure_future(w.do(create("b")))
    await asyncio.sleep(0)
    gone.cancel()
    assert (await stays).promise.id == "b"


async def test_the_queue_is_bounded() -> None:
    async with world("memory://", queue_max=2) as w:
        calls = [asyncio.ensure_future(w.do(create(f"p{n}"))) for n in range(4)]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(answer) for answer in answers].count(Unavailable) == 2


async def test_stopping_answers_what_waits_and_refuses_the_rest() -> None:
    store = MemoryStore()
    engine = Engine(store)
    with pytest.raises(Unavailable):
        await engine.handle(create("early"))
    async with engine:
        waiting = [asyncio.ensure_future(engine.handle(create(f"p{n}"))) for n in range(5)]
        await asyncio.sleep(0)
    assert [task.result().promise.id for task in waiting] == [f"p{n}" for n in range(5)]
    with pytest.raises(Unavailable):
        await engine.handle(create("late"))
    with pytest.raises(StoreError):
        await engine.__aenter__()


def test_settings_that_would_spin_are_refused() -> None:
    with pytest.raises(ValueError, match="retry_timeout_ms"):
        EngineSettings(retry_timeout_ms=0)


# -- settlement


async def test_two_that_settle_together_do_not_wake_one_another(w: World) -> None:
    end = w.now + 10
    await w.do(claim("r", timeout_at=end))
    await w.do(create("r:1", timeout_at=end))
    await w.do(suspend("r", 1, "r:1"))
    await w.pass_time(10)
    assert (await w.task("r")).state is TaskState.FULFILLED
    gauges = await w.engine.gauges()
    assert (gauges.outbox_executes, gauges.tasks, gauges.promises_pending) == (0, {}, 0)


async def test_an_expired_awaiter_is_not_woken_but_settled(w: World) -> None:
    await w.do(claim("r", timeout_at=w.now + 10))
    await w.do(create("r:1"))
    await w.do(suspend("r", 1, "r:1"))
    w.clock._now_ms += 10  # without waking the engine's own tick
    await w.do(settle("r:1"))
    assert (await w.engine.gauges()).outbox_executes == 0
    assert await w.state("r") is PromiseState.REJECTED_TIMEDOUT


async def test_settling_drops_what_the_task_waited_for(w: World) -> None:
    await w.do(claim("r"))
    await w.do(create("r:1"))
    await w.do(suspend("r", 1, "r:1"))
    await w.together(settle("r"), settle("r:1"))
    assert (await w.task("r")).state is TaskState.FULFILLED
    assert (await w.engine.gauges()).outbox_executes == 0


async def test_nothing_is_left_of_those_who_waited(w: World) -> None:
    address = "poll://uni@clients/c1"
    w.engine.connect("clients", "c1", Ear())
    for root in ("r", "s"):
        await w.do(claim(root))
        for child in (f"{root}:1", f"{root}:2"):
            await w.do(create(child))
            await w.do(c.PromiseRegisterListener(awaited=child, address=address))
        await w.do(suspend(root, 1, f"{root}:1", f"{root}:2"))
    await w.do(settle("r"))  # the awaiter first: its callbacks go with it
    assert await _waiting(w) == ({("s:1", "s"), ("s:2", "s")}, 4)
    await w.do(settle("s:1"))  # what is awaited first: each goes with its own
    assert await _waiting(w) == ({("s:2", "s")}, 3)
    for rest in ("s:2", "r:1", "r:2"):
        await w.do(settle(rest))
    assert await _waiting(w) == (set(), 0)


async def _waiting(w: World) -> tuple[set[tuple[str, str]], int]:
    """Return the stored callbacks, and how many listeners there are."""

    def program(_: int) -> Program[Chain]:
        every = SearchPromises(state=None, tags={}, limit=100, cursor=None, scan_max=100)
        page = yield from ask(every)
        ids = [promise.id for promise in page.items]
        yield from ask(LoadRows(ids=ids))
        chain = yield from ask(LoadChain(ids=ids))
        return chain

    chain = await w.store.run(program, w.now)
    return set(chain.callbacks), len(chain.listeners)


async def test_a_chain_wakes_in_one_step(w: World) -> None:
    await w.do(claim("r"))
    await w.do(fence("r", 1, create("r:1", target=TARGET)))
    await w.do(acquire("r:1", 0))
    await w.do(fence("r:1", 1, create("r:1.1")))
    await w.do(suspend("r:1", 1, "r:1.1"))
    await w.do(suspend("r", 1, "r:1"))
    await w.do(settle("r:1.1"))
    assert (await w.task("r:1")).state is TaskState.PENDING
    assert (await w.task("r")).state is TaskState.SUSPENDED
    await w.together(acquire("r:1", 1), fulfill("r:1", 2))
    assert (await w.task("r")).state is TaskState.PENDING


# -- time


async def test_a_delayed_task_is_announced_at_its_moment(w: World) -> None:
    ear = Ear()
    w.engine.connect(GROUP, "w1", ear)
    await w.do(create("p", target=TARGET, delay=str(w.now + 100)))
    await w.pass_time(99)
    assert ear.messages == []
    await w.pass_time(1)
    assert ear.executes == [("p", 0)]


async def test_an_unread_announcement_is_repeated(w: World) -> None:
    ear = Ear()
    w.engine.connect(GROUP, "w1", ear)
    await w.do(create("p", target=TARGET))
    for count in (2, 3):
        await w.pass_time(29_999)
        await w.pass_time(1)
        assert ear.executes == [("p", 0)] * count


async def test_a_timer_with_a_target_is_never_announced(w: World) -> None:
    ear = Ear()
    w.engine.connect(GROUP, "w1", ear)
    await w.do(create("r:1", timeout_at=w.now + 100_000, target=TARGET, timer="true"))
    await w.do(acquire("r:1", 0))
    await w.pass_time(60_000)
    assert (await w.task("r:1")).state is TaskState.PENDING
    await w.pass_time(40_000)
    assert ear.messages == []
    assert await w.state("r:1") is RESOLVED
    assert (await w.task("r:1")).state is TaskState.FULFILLED


async def test_many_deadlines_are_met_page_by_page() -> None:
    async with world("sqlite:///:memory:", tick_page=10) as w:
        await w.together(*(create(f"p{n}", timeout_at=w.now + 5) for n in range(95)))
        await w.pass_time(5)
        assert (await w.engine.gauges()).promises_pending == 0
        assert w.engine.statistics.ticks >= 10


async def test_the_engine_sleeps_until_something_is_due() -> None:
    async with world("memory://") as w:
        ear = Ear()
        w.engine.connect(GROUP, "w1", ear)
        await w.do(create("p", target=TARGET, delay=str(w.now + 500)))
        for _ in range(20):
            await asyncio.sleep(0)
        ticks = w.engine.statistics.ticks
        await asyncio.sleep(0.05)
        assert w.engine.statistics.ticks == ticks
        w.clock.advance(500)  # nobody calls tick: the loop wakes by itself
        await ear.hear(1)
        await asyncio.sleep(0.02)
        ticks = w.engine.statistics.ticks
        await asyncio.sleep(0.05)
        assert w.engine.statistics.ticks == ticks  # and sleeps again


async def test_a_deadline_that_came_while_ticking_is_not_forgotten() -> None:
    clock = ManualClock()
    async with world("sqlite:///:memory:", clock) as w:
        for n in range(30):
            clock.advance(1)
            tick = asyncio.ensure_future(w.engine.tick())
            await w.do(create(f"p{n}", timeout_at=w.now + 3))
            await tick
        clock.advance(3)
        async with asyncio.timeout(5):
            while (await w.engine.gauges()).promises_pending:  # noqa: ASYNC110
                await asyncio.sleep(0.001)


# -- embedded workers


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_only_leases_of_its_own_process_end_with_an_engine(kind: str, tmp_path: Path) -> None:
    store: Store = MemoryStore() if kind == "memory" else SqliteStore(tmp_path / "s.db")
    clock = ManualClock()
    async with world("", clock, store) as w:
        transport = LocalTransport(w.engine)
        await transport.call(claim("embedded", pid="inside"))
        await w.do(claim("remote", pid="outside"))
    ear = Ear()
    async with world("", clock, store) as w:
        async with LocalTransport(w.engine).connect(GROUP, "w1", ear):
            await ear.hear(1)
        assert ear.executes == [("embedded", 1)]
        assert (await w.task("embedded")).state is TaskState.PENDING
        assert (await w.task("remote")).state is TaskState.ACQUIRED


async def test_a_closed_transport_answers_nothing(w: World) -> None:
    transport = LocalTransport(w.engine)
    await transport.call(create("p"))
    await transport.close()
    with pytest.raises(Unavailable):
        await transport.call(create("q"))
    with pytest.raises(Unavailable):
        async with transport.connect(GROUP, "w1", Ear()):
            pass


async def test_statistics_count_by_kind_and_status(w: World) -> None:
    await w.do(create("p", target=TARGET))
    await w.refused(409, acquire("p", 5))
    await w.refused(400, create(""))
    await w.do(claim("r"))
    await w.do(create("r:1"))
    await w.do(settle("r:1"))
    await w.do(suspend("r", 1, "r:1"))
    counted = w.engine.statistics.requests
    assert counted["promise.create", 200] == 2
    assert counted["promise.create", 400] == 1
    assert counted["task.acquire", 409] == 1
    assert counted["task.suspend", 300] == 1
    gauges = await w.engine.gauges()
    assert gauges.tasks == {(TaskState.PENDING, TARGET): 1, (TaskState.ACQUIRED, TARGET): 1}
    assert (gauges.outbox_executes, gauges.promises_pending) == (1, 2)
    assert w.engine.statistics.unroutable["execute"] == 1
