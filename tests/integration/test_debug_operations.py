"""The debug operations: refused unless switched on, and what they do where they are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from orchestrator.domain.errors import Refused
from orchestrator.domain.promise import PromiseState
from orchestrator.engine import Engine, EngineSettings, ManualClock
from orchestrator.protocol import commands as c
from orchestrator.protocol import debugging as d
from orchestrator.protocol import schedules as s
from orchestrator.protocol.envelope import VERSION
from orchestrator.server import ServerMisconfigured, ServerSettings, create_app, listening
from orchestrator.store import open_store
from tests.engine_world import FAR, GROUP, TARGET, Ear, World, claim, create, settle, suspend, world

STORES = ["memory://", "sqlite:///:memory:"]
ALL = [d.DebugStart(), d.DebugStop(), d.DebugReset(), d.DebugTick(time=5), d.DebugSnap()]


@pytest.fixture(params=STORES)
async def w(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    async with world(request.param, debug=True) as made:
        yield made


@pytest.mark.parametrize("command", ALL, ids=lambda command: command.KIND)
async def test_nothing_is_done_unless_switched_on(command: Any) -> None:
    async with world("memory://") as w:
        await w.do(create("p", timeout_at=10**13))
        assert await w.refused(403, command) == "Debug operations are disabled"
        assert (await w.engine.handle(c.PromiseGet(id="p"), debug_time=FAR)).promise.pending


async def test_time_and_delivery_stand_still_between_start_and_stop(w: World) -> None:
    ear = Ear()
    w.engine.connect(GROUP, "w1", ear)
    await w.do(d.DebugStart())
    await w.do(create("p", timeout_at=w.now + 10, target=TARGET))
    await w.do(create("q", timeout_at=FAR, target=TARGET))
    w.clock.advance(20)
    await asyncio.sleep(0.05)
    assert ear.messages == []
    snapshot = await w.do(d.DebugSnap())
    assert [promise.state for promise in snapshot.promises] == [PromiseState.PENDING] * 2
    assert [message.message["data"]["task"]["id"] for message in snapshot.messages] == ["p", "q"]
    await w.do(d.DebugStop())
    await ear.hear(1)
    # The first to be sent may be that of the promise whose time is over; by then it has settled.
    await w.engine.tick()
    assert await w.state("p") is PromiseState.REJECTED_TIMEDOUT
    while ("q", 0) not in ear.executes:
        await ear.hear(len(ear.messages) + 1)


async def test_a_tick_carries_out_what_is_due_at_its_time(w: World) -> None:
    await w.do(d.DebugStart())
    await w.do(create("p", timeout_at=w.now + 5_000, target=TARGET))
    await w.do(s.ScheduleCreate(id="s", cron="* * * * *", promise_id="run-{{.timestamp}}", promise_timeout=1,
                                promise_tags={"resonate:target": TARGET}))  # fmt: skip
    assert await w.do(d.DebugTick(time=w.now + 4_999)) == d.DebugTickAnswer()
    assert (await w.do(d.DebugSnap())).promises[0].state is PromiseState.PENDING
    await w.do(d.DebugTick(time=w.now + 180_000))
    promises = (await w.do(d.DebugSnap())).promises
    assert promises[0].state is PromiseState.REJECTED_TIMEDOUT
    assert [promise.id[:4] for promise in promises[1:]] == ["run-"] * 3
    await w.refused(400, d.DebugTick(time=-1))
    with pytest.raises(Refused, match="its head says"):
        await w.engine.handle(d.DebugTick(time=5), debug_time=6)


async def test_a_command_may_have_a_time_of_its_own(w: World) -> None:
    await w.do(d.DebugStart())
    made = (await w.engine.handle(create("p", timeout_at=2_000), debug_time=1_000)).promise
    assert (made.created_at, made.pending) == (1_000, True)
    assert (await w.engine.handle(c.PromiseGet(id="p"), debug_time=1_999)).promise.pending
    late = (await w.engine.handle(settle("p"), debug_time=2_000)).promise
    assert (late.state, late.settled_at) == (PromiseState.REJECTED_TIMEDOUT, 2_000)
    for command, time, status in ((settle("none"), 5, 404), (create("q"), -1, 400)):
        with pytest.raises(Refused) as caught:
            await w.engine.handle(command, debug_time=time)
        assert caught.value.status == status


async def test_a_value_that_no_store_can_hold_is_refused_at_any_time() -> None:
    async with world("sqlite:///:memory:", debug=True) as w:
        with pytest.raises(Refused) as caught:
            await w.engine.handle(create("\ud800"), debug_time=5)
        assert caught.value.status == 400


async def test_a_snapshot_shows_everything_and_a_reset_forgets_it(w: World) -> None:
    await w.do(d.DebugStart())
    await w.do(claim("r"))
    await w.do(create("r:1", timeout_at=FAR))
    await w.do(suspend("r", 1, "r:1"))
    await w.do(c.PromiseRegisterListener(awaited="r:1", address="poll://uni@clients/c"))
    await w.do(claim("held"))
    await w.do(create("done", target=TARGET))
    await w.do(c.PromiseRegisterListener(awaited="done", address="https://f.example/x"))
    await w.do(settle("done"))
    await w.do(s.ScheduleCreate(id="s", cron="* * * * *", promise_id="x", promise_timeout=1,
                                promise_tags={"resonate:target": TARGET}))  # fmt: skip
    shown = await w.do(d.DebugSnap())
    assert [promise.id for promise in shown.promises] == ["done", "held", "r", "r:1"]
    assert [(each.id, each.timeout) for each in shown.promise_timeouts] == [
        ("held", FAR), ("r", FAR), ("r:1", FAR)
    ]  # fmt: skip
    assert shown.callbacks == [d.DebugCallback(awaiter="r", awaited="r:1")]
    assert shown.listeners == [d.DebugListener(id="r:1", address="poll://uni@clients/c")]
    assert [(task.id, task.state.value) for task in shown.tasks] == [
        ("done", "fulfilled"), ("held", "acquired"), ("r", "suspended")
    ]  # fmt: skip
    assert shown.task_timeouts == [d.DebugTaskTimeout(id="held", type=1, timeout=w.now + 10_000)]
    assert [(each.address, each.message["kind"], each.message["head"]) for each in shown.messages] == [
        ("https://f.example/x", "unblock", {})
    ]
    await w.do(d.DebugReset())
    empty = await w.do(d.DebugSnap())
    assert not any(getattr(empty, name) for name in empty.__struct_fields__)
    assert (await w.do(s.ScheduleSearch())).schedules == []
    await w.do(d.DebugStop())
    await w.do(create("r"))
    assert await w.state("r") is PromiseState.PENDING


async def _ask(url: str, kind: str, data: Any, **head: Any) -> tuple[int, Any]:
    body = {"kind": kind, "head": {"corrId": "1", "version": VERSION} | head, "data": data}
    async with aiohttp.ClientSession() as session, session.post(url, json=body) as response:
        return response.status, (await response.json())["data"]


@pytest.mark.parametrize(("engine_debug", "server_debug"), [(True, True), (True, False), (False, True)])
async def test_both_engine_and_server_must_be_switched_on(engine_debug: bool, server_debug: bool) -> None:
    engine = Engine(open_store("memory://"), ManualClock(), EngineSettings(debug=engine_debug))
    async with engine, listening(create_app(engine, ServerSettings(port=0, debug=server_debug))) as url:
        await _ask(url, "debug.start", {})
        status, told = await _ask(url, "debug.tick", {"time": 5}, **{"resonate:debug_time": 5})
        data = {"id": "p", "timeoutAt": 9}
        made = (await _ask(url, "promise.create", data, **{"resonate:debug_time": 3}))[1]
        if engine_debug and server_debug:
            assert (status, told) == (200, [])
            assert made["promise"]["createdAt"] == 3
            assert (await _ask(url, "debug.snap", {}))[1]["promises"] == [made["promise"]]
        else:
            assert (status, told) == (403, "Debug operations are disabled")
            assert made["promise"]["state"] == "rejected_timedout"


def test_a_server_that_others_can_reach_is_not_debugged() -> None:
    with pytest.raises(ServerMisconfigured, match="debug"):
        ServerSettings(host="0.0.0.0", token="x" * 20, debug=True)  # noqa: S104
    with pytest.raises(ServerMisconfigured, match="debug"):
        ServerSettings(trusted_proxies=("10.0.0.1",), token="x" * 20, debug=True)
