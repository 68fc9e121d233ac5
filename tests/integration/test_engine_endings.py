"""Ending whole call trees, on every store: what is reached, what is left alone, what a page leaves over."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.domain.promise import PromiseState
from orchestrator.domain.task import TaskState
from orchestrator.engine import ManualClock
from orchestrator.protocol import commands as c
from orchestrator.protocol.messages import Cancel, Message, Unblock
from tests.engine_world import (
    GROUP,
    STORES,
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

CANCELED, PENDING = PromiseState.REJECTED_CANCELED, PromiseState.PENDING
HOUR_MS = 3_600_000


def call(promise_id: str, origin: str = "a", **more: str) -> c.PromiseCreate:
    """Return a call of a worker group as the SDKs make it."""
    return create(promise_id, target=TARGET, origin=origin, branch=promise_id, **more)


async def cancelled(w: World, task_id: str) -> bool:
    found: bool = (await w.do(c.TaskGet(id=task_id))).task.cancelled
    return found


# -- cancel


async def test_a_request_reaches_every_state_in_its_own_way(w: World) -> None:
    ear = Ear()
    await w.do(claim("a", pid="w1"))
    for key in ("a:1", "a:2", "a:3", "a:4"):
        await w.do(fence("a", 1, call(key)))
    await w.do(acquire("a:2", 0, pid="w2"))
    await w.do(create("a:5"))
    await w.do(acquire("a:3", 0))
    await w.do(suspend("a:3", 1, "a:5"))
    await w.do(c.TaskHalt(id="a:4"))
    w.engine.connect(GROUP, "w3", ear)
    answer = await w.do(c.PromiseCancel(id="a"))
    assert answer.promise.state is PENDING  # it is only asked
    states = [(await w.task(f"a:{number}")).state for number in range(1, 5)]
    assert states == [TaskState.PENDING, TaskState.ACQUIRED, TaskState.PENDING, TaskState.HALTED]
    assert all([await cancelled(w, f"a:{number}") for number in range(1, 5)])
    await ear.hear(2)
    assert set(ear.executes) >= {("a:3", 1)}  # the sleeper is dispatched again
    beat = await w.do(c.TaskHeartbeat(pid="w2", tasks=[c.TaskReference(id="a:2", version=1)]))
    assert beat.cancelled == ["a:2"]
    assert (await w.do(fence("a", 1, create("a:6")))).cancelled
    assert (await w.do(acquire("a:3", 1))).task.cancelled


async def test_twice_is_once(w: World) -> None:
    await w.do(claim("a"))
    await w.do(c.PromiseCancel(id="a"))
    await w.do(fence("a", 1, call("a:1")))  # a clean-up
    await w.do(c.PromiseCancel(id="a"))
    assert not await cancelled(w, "a:1")
    await w.do(fulfill("a", 1))
    assert (await w.do(c.PromiseCancel(id="a"))).promise.state is PromiseState.RESOLVED
    await w.refused(404, c.PromiseCancel(id="none"))
    await w.do(create("bare"))
    assert "terminate" in await w.refused(422, c.PromiseCancel(id="bare"))


async def test_a_holder_that_heeds_is_not_put_to_rest(w: World) -> None:
    await w.do(claim("a"))
    await w.do(create("a:1"))
    await w.do(c.PromiseCancel(id="a"))
    heeding = c.TaskSuspend(
        id="a", version=1, heeds=True, actions=[c.PromiseRegisterCallback(awaited="a:1", awaiter="a")]
    )
    told = await w.do(heeding)
    assert (told.suspended, told.cancelled) == (False, True)
    assert (await w.do(suspend("a", 1, "a:1"))).suspended  # a published SDK rests as ever


@pytest.mark.parametrize("mark", [":", "."])
async def test_detached_invocations_are_left_alone(w: World, mark: str) -> None:
    await w.do(claim("a"))
    loose = [f"a{mark}d0123456789abcdef", f"a{mark}d0123456789abcdef.1", f"a{mark}named", f"a{mark}named.1"]
    for key in (f"a{mark}1", f"a{mark}1.1", *loose):
        named = {"detached": "true"} if key.endswith("named") else {}
        await w.do(call(key, **named))
    await w.do(create(f"a{mark}by-hand", target=TARGET))
    await w.do(c.PromiseCancel(id="a"))
    assert await cancelled(w, f"a{mark}1.1")
    assert not any([await cancelled(w, key) for key in (*loose, f"a{mark}by-hand")])
    await w.do(c.PromiseTerminate(id="a"))
    assert [await w.state(key) for key in ("a", f"a{mark}1", f"a{mark}1.1")] == [CANCELED] * 3
    assert {await w.state(key) for key in (*loose, f"a{mark}by-hand")} == {PENDING}


async def test_who_holds_a_task_in_this_process_is_told_at_once(w: World) -> None:
    told: list[Message] = []
    connection = w.engine.connect(GROUP, "w1", told.append, embedded=True)
    await w.do(claim("a", pid="w1"), embedded=True)
    await w.do(c.PromiseCancel(id="a"))
    assert told == [Cancel(task=c.TaskReference(id="a", version=1))]
    connection.close()


# -- terminate


async def test_a_tree_settles_at_once_with_all_that_follows(w: World) -> None:
    ear = Ear()
    w.engine.connect("clients", "c1", ear)
    await w.do(claim("a"))
    await w.do(fence("a", 1, call("a:1")))
    await w.do(fence("a", 1, create("a:2", origin="a")))
    await w.do(suspend("a", 1, "a:1"))
    await w.do(claim("b"))
    await w.do(create("a:3", origin="a", external="true"))
    await w.do(suspend("b", 1, "a:3"))
    await w.do(c.PromiseRegisterListener(awaited="a:1", address="poll://uni@clients/c1"))
    answer = await w.do(c.PromiseTerminate(id="a"))
    assert (answer.promise.state, answer.promise.value.data) == (CANCELED, None)
    assert [await w.state(key) for key in ("a:1", "a:2", "a:3")] == [CANCELED] * 3
    assert [(await w.task(key)).state for key in ("a", "a:1")] == [TaskState.FULFILLED] * 2
    assert (await w.task("b")).state is TaskState.PENDING  # it awaited one of them
    await ear.hear(1)
    assert [message.promise.id for message in ear.messages if isinstance(message, Unblock)] == ["a:1"]
    await w.refused(409, fence("a", 1, create("a:9")))
    assert (await w.do(c.PromiseTerminate(id="a"))).promise == answer.promise
    await w.refused(404, c.PromiseTerminate(id="none"))


async def test_what_has_settled_or_timed_out_stays_so(w: World) -> None:
    await w.do(claim("a"))
    await w.do(create("a:1", origin="a", timeout_at=w.now + 10))
    await w.do(create("a:2", origin="a"))
    await w.do(settle("a:2"))
    w.clock.advance(10)
    await w.do(c.PromiseTerminate(id="a"))
    assert [await w.state(key) for key in ("a:1", "a:2")] == [
        PromiseState.REJECTED_TIMEDOUT,
        PromiseState.RESOLVED,
    ]


async def test_commands_of_one_batch_see_one_another(w: World) -> None:
    await w.do(claim("a"))
    await w.together(fence("a", 1, call("a:1")), c.PromiseTerminate(id="a"), create("a:2"))
    assert [await w.state(key) for key in ("a", "a:1", "a:2")] == [CANCELED, CANCELED, PENDING]


# -- more than one transaction takes


@pytest.mark.parametrize("url", STORES)
async def test_a_large_tree_is_ended_in_pages(url: str, request: pytest.FixtureRequest) -> None:
    url = request.getfixturevalue("postgres_url") if url == "postgresql" else url
    keys = [f"a:{number}" for number in range(10)] + ["a.1", "a.1.1", "a:1.1"]
    async with world(url, tick_page=3) as w:
        await w.do(claim("a"))
        await w.together(*(call(key) for key in keys))
        w.clock.advance(1)
        before = len((await w.do(c.PromiseSearch(tags={"resonate:origin": "a"}))).promises)
        assert before == len(keys)
        await w.do(c.PromiseTerminate(id="a"))
        assert (await w.state("a")) is CANCELED
        await w.pass_time(0)
        assert {await w.state(key) for key in keys} == {CANCELED}
        await w.do(claim("b"))
        await w.together(*(call(key.replace("a", "b", 1), origin="b") for key in keys))
        w.clock.advance(1)
        await w.do(c.PromiseCancel(id="b"))
        await w.do(call("b:99", origin="b"))  # a clean-up, called before the request is carried out
        await w.pass_time(0)
        assert all([await cancelled(w, key.replace("a", "b", 1)) for key in keys])
        assert not await cancelled(w, "b:99")


async def test_a_half_ended_tree_is_ended_after_a_restart(tmp_path: Path) -> None:
    url, clock = f"sqlite:///{tmp_path}/s.db", ManualClock()
    keys = [f"a:{number}" for number in range(10)]
    async with world(url, clock, tick_page=3) as w:
        await w.do(claim("a"))
        await w.together(*(call(key) for key in keys))
        w.engine._ticker.hold()
        await w.do(c.PromiseTerminate(id="a"))
        states = [await w.state(key) for key in keys]
        assert states.count(CANCELED) == 3
        await w.refused(409, fence("a", 1, create("a:x")))
    async with world(url, clock, tick_page=3) as w:
        await w.pass_time(0)
        assert {await w.state(key) for key in keys} == {CANCELED}
        await w.pass_time(1)
        assert w.engine._ticker._deadline is None  # nothing is left to do


# -- empty heartbeats


async def test_empty_heartbeats_renew_for_an_hour_after_the_last_own_write(w: World) -> None:
    empty = c.TaskHeartbeat(pid="w1")
    await w.do(claim("a", pid="w1"))
    await w.do(claim("b", pid="w1"))
    for _ in range(400):  # 66 minutes; b writes now and then
        w.clock.advance(9_900)
        await w.do(empty)
        if (await w.task("b")).state is TaskState.ACQUIRED and _ % 100 == 50:
            await w.do(fence("b", 1, create(f"b:{_}")))
        await w.engine.tick()
    assert (await w.task("a")).state is TaskState.PENDING  # a dead workflow's: somebody else may have it
    assert (await w.task("b")).state is TaskState.ACQUIRED


async def test_a_heartbeat_that_names_a_task_is_a_write_of_its_own(w: World) -> None:
    named = c.TaskHeartbeat(pid="w1", tasks=[c.TaskReference(id="a", version=1)])
    await w.do(c.TaskCreate(pid="w1", ttl=HOUR_MS, action=create("a", target=TARGET)))
    await w.pass_time(HOUR_MS - 1)
    await w.do(named)
    await w.pass_time(HOUR_MS - 1)
    await w.do(c.TaskHeartbeat(pid="w1"))
    await w.pass_time(HOUR_MS - 1)
    assert (await w.task("a")).state is TaskState.ACQUIRED
    await w.do(c.TaskHeartbeat(pid="w1"))  # an hour and more after the last own write
    await w.pass_time(1)
    assert (await w.task("a")).state is TaskState.PENDING
