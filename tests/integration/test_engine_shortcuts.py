"""Commands that come down to one statement, alone and in batches, and all that keeps them from it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import pytest

from orchestrator.domain.errors import Unavailable
from orchestrator.domain.promise import PromiseState, Value
from orchestrator.domain.task import TaskState
from orchestrator.engine import Engine
from orchestrator.engine.shortcut import insert_of
from orchestrator.protocol import commands as c
from orchestrator.store import MemoryStore, SqliteStore, Store
from orchestrator.store.port import LoadOutbox, LoadRows, Program, QueuedExecute, Row, ask
from tests.engine_world import (
    FAR,
    RESOLVED,
    STORES,
    TARGET,
    World,
    acquire,
    claim,
    create,
    fence,
    settle,
    store_url,
    suspend,
    world,
)


@pytest.fixture(params=STORES)
async def w(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    async with world(store_url(request), retry_unheard_ms=30_000) as each:
        yield each


def step(key: str, *, created_at: int = 1, timeout_at: int = FAR, data: str = "x") -> c.PromiseRecordStep:
    value = Value(data=data)
    return c.PromiseRecordStep(
        id=key, timeout_at=timeout_at, created_at=created_at, state=RESOLVED, value=value
    )


async def test_what_a_statement_adds_is_what_the_program_would(w: World) -> None:
    await w.do(claim("a"))
    plain = create("p", branch="p")
    recorded = fence("a", 1, step("a:1", created_at=w.now - 5))
    created = fence("a", 1, create("a:2", parent="a"))
    for command in (plain, recorded, created):
        answer = await w.do(command)
        stored = (await w.do(c.PromiseGet(id=answer.promise.id))).promise
        assert stored == answer.promise
        assert await w.do(command) == answer  # P2: what exists is answered untouched
    assert (await w.do(c.PromiseGet(id="a:1"))).promise.created_at == w.now - 5
    assert (await w.do(c.PromiseGet(id="a:1"))).promise.settled_at == w.now
    found = await w.do(c.PromiseSearch(tags={"resonate:parent": "a"}))
    assert [promise.id for promise in found.promises] == ["a:2"]


async def test_a_step_from_the_future_began_now(w: World) -> None:
    await w.do(claim("a"))
    answer = await w.do(fence("a", 1, step("a:1", created_at=w.now + 1_000)))
    assert (answer.promise.created_at, answer.promise.settled_at) == (w.now, w.now)


async def test_what_is_late_has_timed_out(w: World) -> None:
    await w.do(claim("a"))
    late = (await w.do(create("p", timeout_at=w.now))).promise
    assert (late.state, late.created_at, late.settled_at) == (PromiseState.REJECTED_TIMEDOUT, w.now, w.now)
    answer = await w.do(fence("a", 1, step("a:1", timeout_at=w.now - 1)))
    assert answer.promise.state is PromiseState.REJECTED_TIMEDOUT


async def test_what_exists_is_seen_by_its_deadline(w: World) -> None:
    await w.do(create("p", timeout_at=w.now + 5))
    w.clock.advance(5)
    assert (await w.do(create("p"))).promise.state is PromiseState.REJECTED_TIMEDOUT


async def test_a_fence_that_does_not_hold_writes_nothing(w: World) -> None:
    await w.do(claim("a"))
    await w.refused(409, fence("a", 2, step("a:1")))
    await w.refused(404, fence("b", 1, step("a:1")))
    await w.do(create("a:9"))
    await w.do(suspend("a", 1, "a:9"))
    await w.refused(409, fence("a", 1, step("a:1")))
    await w.refused(404, c.PromiseGet(id="a:1"))


async def test_a_fence_on_a_promise_past_its_deadline_is_refused(w: World) -> None:
    await w.do(claim("a", timeout_at=w.now + 5))
    w.clock.advance(5)
    await w.refused(409, fence("a", 1, step("a:1")))
    await w.refused(404, c.PromiseGet(id="a:1"))


async def test_a_fence_settles_what_is_pending(w: World) -> None:
    await w.do(claim("a"))
    await w.do(create("a:1", target=TARGET))
    answer = await w.do(fence("a", 1, step("a:1", data="done")))
    assert answer.promise.value == Value(data="done")
    assert (await w.task("a:1")).state is TaskState.FULFILLED


async def test_progress_is_noted_where_a_task_had_been_given_back(w: World) -> None:
    """The releases of a task are cleared by its next step, which a mere insertion would not do."""
    await w.do(create("a", target=TARGET))
    for version in range(3):
        await w.do(acquire("a", version))
        await w.do(c.TaskRelease(id="a", version=version + 1))
        await w.pass_time(1_000)
    await w.do(acquire("a", 3))
    await w.do(fence("a", 4, step("a:1")))
    await w.do(c.TaskRelease(id="a", version=4))
    (row,) = await _outbox(w)
    assert row.queued_at == w.now  # announced at once, as after a first release


async def test_a_step_of_a_task_that_was_asked_to_end_says_so(w: World) -> None:
    await w.do(claim("a"))
    assert not (await w.do(fence("a", 1, step("a:1")))).cancelled
    await w.do(c.PromiseCancel(id="a"))
    assert (await w.do(fence("a", 1, step("a:2")))).cancelled


async def test_steps_note_that_their_holder_lives(w: World) -> None:
    await w.do(c.TaskCreate(pid="w1", ttl=10**9, action=create("a", target=TARGET)))
    await w.do(fence("a", 1, step("a:1")))
    w.clock.advance(w.engine.settings.touch_ms)
    await w.do(fence("a", 1, step("a:2")))
    ((_, task),) = await w.store.run(_read, w.now)
    assert task is not None
    assert task.touched_at == w.now


def _read(_: int) -> Program[list[Row]]:
    return (yield from ask(LoadRows(ids=["a"])))


async def _outbox(w: World) -> list[QueuedExecute]:
    def program(_: int) -> Program[list[QueuedExecute]]:
        page = yield from ask(LoadOutbox(group="workers", after_task="", after_unblock=("", ""), limit=10))
        return list(page.executes)

    return await w.store.run(program, w.now)


async def test_who_waits_is_told_of_what_follows(w: World) -> None:
    """A timer set by a shortcut fires."""
    await w.do(create("p", timeout_at=w.now + 50, timer="true"))
    await w.pass_time(50)
    assert await w.state("p") is RESOLVED


def test_what_touches_a_task_is_no_shortcut() -> None:
    commands = [
        create("p", target=TARGET),
        fence("a", 1, create("b", target=TARGET)),
        fence("a", 1, settle("b")),
        claim("a"),
    ]
    assert [insert_of(command, 1) for command in commands] == [None] * 4


async def test_one_statement_is_all_that_sqlite_is_asked(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "s.db")
    async with Engine(store) as engine:
        await engine.handle(claim("a"))
        asked: list[str] = []
        assert store._connection is not None
        store._connection.set_trace_callback(asked.append)
        await engine.handle(create("p"))
        await engine.handle(fence("a", 1, step("a:1")))
        store._connection.set_trace_callback(None)
    added = [text for text in asked if "INSERT INTO promises" in text]
    assert len(added) == 2
    assert all("ON CONFLICT" in text for text in added)  # as only the shortcuts say it


async def test_steps_that_come_together_are_added_without_being_read(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "s.db")
    async with Engine(store) as engine:
        await engine.handle(claim("a"))
        await engine.handle(claim("b"))
        asked: list[str] = []
        assert store._connection is not None
        store._connection.set_trace_callback(asked.append)
        commands = [fence("a", 1, step("a:1")), create("p"), fence("b", 1, step("b:1"))]
        answers = await asyncio.gather(*(engine.handle(command) for command in commands))
        store._connection.set_trace_callback(None)
    assert [answer.promise.id for answer in answers if answer.promise] == ["a:1", "p", "b:1"]
    words = [text.split()[0] for text in asked]
    assert words == ["BEGIN", "INSERT", "INSERT", "COMMIT"], "one for the steps, one for the promise"


async def test_the_order_of_a_batch_is_kept_where_it_can_be_told(w: World) -> None:
    for key in ("a", "b", "c", "d"):
        await w.do(claim(key))
    fulfil = c.TaskFulfill(id="a", version=1, action=settle("a"))
    _, late, _, ended = await w.together(
        fulfil, fence("a", 1, step("a:1")), c.PromiseTerminate(id="b"), fence("b", 1, step("b:1"))
    )
    assert [late.status, ended.status] == [409, 409]
    early, _ = await w.together(fence("c", 1, step("c:1")), c.TaskRelease(id="c", version=1))
    assert early.promise.state is RESOLVED
    await w.do(create("e", target=TARGET))
    taken, _ = await w.together(acquire("e", 0), create("e:1", branch="e"))
    assert taken.preload == []
    await w.do(create("f:1", target=TARGET, branch="f"))  # which branch it is of, no command tells
    taken, later = await w.together(acquire("f:1", 0), create("f:2", branch="f"))
    assert (taken.preload, later.promise.id) == ([], "f:2")
    first, second = await w.together(
        fence("d", 1, step("d:1", data="1")), fence("d", 1, step("d:1", data="2"))
    )
    assert first.promise.value == second.promise.value == Value(data="1")


async def test_what_no_statement_adds_still_comes_before_others_of_its_id(w: World) -> None:
    await w.do(claim("a"))
    await w.do(c.TaskRelease(id="a", version=1))
    await w.do(acquire("a", 1))  # its next step clears the count of releases, by the program
    first, second = await w.together(fence("a", 2, create("a:1", timeout_at=FAR - 1)), create("a:1"))
    assert first.promise.timeout_at == FAR - 1
    assert second.promise == first.promise


async def test_what_a_batch_adds_is_due_in_time(w: World) -> None:
    await w.do(claim("a"))
    await w.together(create("p", timeout_at=w.now + 50, timer="true"), fence("a", 1, step("a:1")))
    await w.pass_time(50)
    assert await w.state("p") is RESOLVED


@pytest.mark.parametrize("store", [MemoryStore, partial(SqliteStore, None)])
async def test_nobody_is_kept_waiting_by_one_who_never_waits(store: Callable[[], Store]) -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with Engine(store()) as engine:
        task = asyncio.create_task(other())
        number = 0
        while turns < 3 and number < 100_000:
            await engine.handle(create(f"p-{number}"))
            number += 1
        task.cancel()
    assert turns >= 3


@pytest.mark.parametrize("w", STORES[1:], indirect=True)
async def test_a_lone_command_that_cannot_be_stored_is_refused(w: World) -> None:
    await w.do(create("a"))
    await w.refused(400, c.PromiseCreate(id="b", timeout_at=FAR, param=Value(data="\ud800")))
    await w.refused(404, c.PromiseGet(id="b"))


async def test_a_lone_command_that_fails_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    import sqlite3  # noqa: PLC0415

    from orchestrator.store import sqlite  # noqa: PLC0415

    def fails(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    async with Engine(SqliteStore(None)) as engine:
        await engine.handle(create("a"))
        for name in ("insert", "carried_out"):  # in the caller's thread, or in the store's
            monkeypatch.setattr(sqlite, name, fails)
        with pytest.raises(Unavailable, match="disk I/O error"):
            await engine.handle(create("b"))
        monkeypatch.undo()
        await engine.handle(create("b"))
        assert engine.statistics.requests["promise.create", 503] == 1
