"""Every operation and every way it is refused, on every store."""

from typing import Any, get_args

import pytest

from orchestrator.domain.promise import PromiseState, Value
from orchestrator.domain.task import TaskState
from orchestrator.engine.batch import Search
from orchestrator.engine.debugging import DebugCommand
from orchestrator.engine.handlers import _HANDLERS
from orchestrator.protocol import commands as c
from orchestrator.protocol.messages import Unblock
from tests.engine_world import (
    FAR,
    GROUP,
    REJECTED,
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

LISTENER = "poll://uni@clients/c1"


# -- promises


async def test_create_get_and_create_again(w: World) -> None:
    made = (
        await w.do(c.PromiseCreate(id="p", timeout_at=FAR, param=Value(headers={"a": "b"}, data="x")))
    ).promise
    assert (made.state, made.created_at, made.settled_at) == (PromiseState.PENDING, w.now, None)
    assert (await w.do(c.PromiseGet(id="p"))).promise == made
    w.clock.advance(5)
    again = (await w.do(create("p", timeout_at=7, target=TARGET))).promise
    assert again == made
    assert made.param == Value(headers={"a": "b"}, data="x")


async def test_get_and_settle_of_nothing(w: World) -> None:
    assert await w.refused(404, c.PromiseGet(id="none")) == "Promise not found"
    assert await w.refused(404, settle("none")) == "Promise not found"
    await w.refused(400, c.PromiseGet(id=""))


@pytest.mark.parametrize("state", [RESOLVED, REJECTED, PromiseState.REJECTED_CANCELED])
async def test_settle_once(w: World, state: PromiseState) -> None:
    await w.do(create("p"))
    w.clock.advance(3)
    settled = (await w.do(settle("p", state, "v"))).promise
    assert (settled.state, settled.value.data, settled.settled_at) == (state, "v", w.now)
    w.clock.advance(3)
    assert (await w.do(settle("p", REJECTED, "other"))).promise == settled


@pytest.mark.parametrize("state", [PromiseState.PENDING, PromiseState.REJECTED_TIMEDOUT])
async def test_settle_to_what_no_caller_may_ask(w: World, state: PromiseState) -> None:
    await w.do(create("p"))
    await w.refused(400, settle("p", state))
    assert await w.state("p") is PromiseState.PENDING


@pytest.mark.parametrize(
    "command",
    [
        create(""),
        create("a\x00b"),
        create("x" * 1025),
        create("p", timeout_at=-1),
        create("p", timeout_at=2**63),
        create("p", target="carrier://pigeon"),
        create("p", target="poll://all@g"),
        create("p:1", origin="q"),
        create("p:1", branch="p:2"),
        create("p:1", parent="p:"),
        create("p", delay="5"),
        create("p", target=TARGET, delay="soon"),
        create("p", target=TARGET, delay="-1"),
        create("p", target=TARGET, delay="\u0665"),
        create("p", target=TARGET, delay="9" * 5000),
        create("p", target=TARGET, timeout_at=50, delay="50"),
        c.PromiseCreate(id="p", timeout_at=FAR, tags={str(i): "" for i in range(65)}),
        c.PromiseCreate(id="p", timeout_at=FAR, tags={"k": "x" * 4097}),
        c.PromiseCreate(id="p", timeout_at=FAR, param=Value(headers={"k": "x" * 4097})),
    ],
)
async def test_malformed_creates(w: World, command: c.PromiseCreate) -> None:
    assert len(await w.refused(400, command)) < 300
    assert (await w.do(c.PromiseSearch())).promises == []


async def test_a_prefix_may_be_the_id_of_any_workflow(w: World) -> None:
    """An SDK of the old id dialect, called from a graph of the new one, inherits the id of its workflow."""
    made = await w.do(create("root:1.1.1", origin="root", parent="root:1.1", prefix="root:1.1"))
    assert made.promise.tags["resonate:prefix"] == "root:1.1"


async def test_a_value_that_is_too_large_is_told_from_a_malformed_one(w: World) -> None:
    large = Value(data="x" * (16 * 1024 * 1024 + 1))
    assert len(await w.refused(413, c.PromiseCreate(id="p", timeout_at=FAR, param=large))) < 300


async def test_both_dialects_of_ids_are_accepted(w: World) -> None:
    for child in ("r:1", "r:1.2", "r.1", "r.1.2", "r"):
        await w.do(create(child, origin="r", branch="r", parent="r"))
    await w.do(create("countdown.1", origin="countdown.1"))


async def test_a_promise_born_after_its_deadline_is_settled_from_the_start(w: World) -> None:
    late = (await w.do(create("p", timeout_at=5, target=TARGET))).promise
    assert (late.state, late.created_at, late.settled_at) == (PromiseState.REJECTED_TIMEDOUT, 5, 5)
    task = await w.task("p")
    assert (task.state, task.version) == (TaskState.FULFILLED, 0)
    timer = (await w.do(create("t", timeout_at=5, timer="true"))).promise
    assert timer.state is RESOLVED
    assert (await w.engine.gauges()).outbox_executes == 0


async def test_deadlines_are_seen_at_once_by_whoever_names_the_promise(w: World) -> None:
    end = w.now + 10
    await w.do(create("p", timeout_at=end, target=TARGET))
    await w.do(c.PromiseRegisterListener(awaited="p", address=LISTENER))
    w.clock.advance(9)
    assert await w.state("p") is PromiseState.PENDING
    w.clock._now_ms += 1  # without waking the engine's own tick
    settled = (await w.do(settle("p"))).promise
    assert (settled.state, settled.settled_at) == (PromiseState.REJECTED_TIMEDOUT, end)
    assert (await w.task("p")).state is TaskState.FULFILLED
    assert (await w.engine.gauges()).outbox_unblocks == 1


async def test_the_engine_itself_settles_what_nobody_names(w: World) -> None:
    await w.do(create("plain", timeout_at=w.now + 10))
    await w.do(create("timer", timeout_at=w.now + 20, timer="true"))
    await w.pass_time(20)
    page = (await w.do(c.PromiseSearch())).promises  # a search shows what is stored
    assert [(p.id, p.state) for p in page] == [
        ("plain", PromiseState.REJECTED_TIMEDOUT),
        ("timer", RESOLVED),
    ]


async def test_callbacks_wake_only_those_who_rest(w: World) -> None:
    await w.do(create("r", target=TARGET))
    await w.do(create("r:1"))
    await w.do(acquire("r", 0))
    answer = await w.do(c.PromiseRegisterCallback(awaited="r:1", awaiter="r"))
    assert answer.promise.id == "r:1"
    await w.do(settle("r:1"))
    task = await w.task("r")
    assert (task.state, task.version, task.resumes) == (TaskState.ACQUIRED, 1, 1)


async def test_a_callback_on_what_has_settled_wakes_a_suspended_task(w: World) -> None:
    await w.do(claim("r"))
    await w.do(create("r:1"))
    await w.do(create("r:2"))
    await w.do(suspend("r", 1, "r:1"))
    await w.do(settle("r:2"))
    await w.do(c.PromiseRegisterCallback(awaited="r:2", awaiter="r"))
    task = await w.task("r")
    assert (task.state, task.version) == (TaskState.PENDING, 1)


async def test_refused_callbacks(w: World) -> None:
    await w.do(create("r", target=TARGET))
    await w.do(create("r:1"))
    await w.do(create("s:1"))
    await w.do(create("s:2", external="true"))
    callback = c.PromiseRegisterCallback
    await w.refused(400, callback(awaited="r", awaiter="r"))
    await w.refused(400, callback(awaited="s:1", awaiter="r"))
    await w.refused(400, callback(awaited="s:none", awaiter="r"))
    await w.refused(404, callback(awaited="r:none", awaiter="r"))
    await w.refused(422, callback(awaited="r:1", awaiter="r:none"))
    await w.refused(422, callback(awaited="r", awaiter="r:1"))
    await w.do(callback(awaited="s:2", awaiter="r"))  # external: from any origin


async def test_equal_origin_tags_are_one_origin(w: World) -> None:
    await w.do(create("x.y", target=TARGET, origin="x.y"))
    await w.do(create("x.y:1", origin="x.y"))
    await w.do(c.PromiseRegisterCallback(awaited="x.y:1", awaiter="x.y"))


async def test_listeners_are_told_once_each(w: World) -> None:
    ear = Ear()
    w.engine.connect("clients", "c1", ear)
    await w.do(create("p"))
    for _ in range(2):
        await w.do(c.PromiseRegisterListener(awaited="p", address=LISTENER))
    settled = (await w.do(settle("p", data="v"))).promise
    await ear.hear(1)
    assert ear.messages == [Unblock(promise=settled)]
    answer = await w.do(c.PromiseRegisterListener(awaited="p", address=LISTENER))
    assert answer.promise == settled
    assert len(ear.messages) == 1


async def test_refused_listeners(w: World) -> None:
    await w.refused(404, c.PromiseRegisterListener(awaited="none", address=LISTENER))
    await w.do(create("p"))
    await w.refused(400, c.PromiseRegisterListener(awaited="p", address="mail://me"))


async def test_search_pages_in_order_by_state_and_tags(w: World) -> None:
    for number in range(5):
        await w.do(create(f"r:{number}", origin="r", branch="r", kind="odd" if number % 2 else "even"))
    await w.do(create("z"))
    await w.do(settle("r:1"))
    first = await w.do(c.PromiseSearch(limit=4))
    assert [p.id for p in first.promises] == ["r:0", "r:1", "r:2", "r:3"]
    rest = await w.do(c.PromiseSearch(limit=4, cursor=first.cursor))
    assert ([p.id for p in rest.promises], rest.cursor) == (["r:4", "z"], None)
    tagged = c.PromiseSearch(tags={"resonate:origin": "r", "resonate:kind": "odd"})
    assert [p.id for p in (await w.do(tagged)).promises] == ["r:1", "r:3"]
    assert [p.id for p in (await w.do(c.PromiseSearch(state=RESOLVED))).promises] == ["r:1"]
    exact = c.PromiseSearch(tags={"resonate:branch": "r"}, limit=5)
    assert (await w.do(exact)).cursor is None
    filtered = c.PromiseSearch(state=RESOLVED, limit=1)
    assert (await w.do(filtered)).cursor is None, "what follows is not wanted: this page is the last"
    for bad in (c.PromiseSearch(limit=0), c.PromiseSearch(limit=1001), c.PromiseSearch(cursor="")):
        await w.refused(400, bad)


@pytest.mark.parametrize("url", ["memory://", "sqlite:///:memory:"])
async def test_a_search_reads_a_bounded_number_of_candidates(url: str) -> None:
    async with world(url, search_scan_max=3) as w:
        for number in range(7):
            await w.do(create(f"p{number}", kind="last" if number == 6 else "other"))
        pages, cursor = [], None
        while True:
            page = await w.do(c.PromiseSearch(tags={"resonate:kind": "last"}, cursor=cursor))
            pages.append([p.id for p in page.promises])
            cursor = page.cursor
            if cursor is None:
                break
        assert pages == [[], [], ["p6"]]


# -- tasks


async def test_a_target_makes_a_task(w: World) -> None:
    await w.do(create("p", target=TARGET))
    task = await w.task("p")
    assert (task.state, task.version, task.pid, task.ttl) == (TaskState.PENDING, 0, None, None)
    await w.do(create("q"))
    await w.refused(404, c.TaskGet(id="q"))
    await w.refused(404, c.TaskGet(id="none"))


async def test_task_create_makes_and_takes(w: World) -> None:
    answer = await w.do(claim("p", pid="me"))
    assert (answer.task.state, answer.task.version, answer.task.pid) == (TaskState.ACQUIRED, 1, "me")
    assert (answer.promise.id, answer.preload) == ("p", [])
    assert await w.refused(409, claim("p")) == "Already exists"


async def test_task_create_on_what_exists(w: World) -> None:
    await w.do(create("pending", target=TARGET))
    assert (await w.do(claim("pending"))).task.version == 1
    await w.do(create("bare"))
    await w.refused(422, claim("bare"))
    await w.do(claim("done"))
    await w.do(fulfill("done", 1))
    answer = await w.do(claim("done"))
    assert (answer.task.state, answer.promise.state, answer.preload) == (TaskState.FULFILLED, RESOLVED, [])
    await w.do(create("halted", target=TARGET))
    await w.do(c.TaskHalt(id="halted"))
    await w.refused(409, claim("halted"))
    await w.do(claim("r"))
    await w.do(create("r:1"))
    await w.do(suspend("r", 1, "r:1"))
    await w.refused(409, claim("r"))


async def test_task_create_after_the_deadline(w: World) -> None:
    answer = await w.do(claim("p", timeout_at=5))
    assert (answer.task.state, answer.task.version) == (TaskState.FULFILLED, 0)
    assert answer.promise.state is PromiseState.REJECTED_TIMEDOUT


async def test_malformed_task_creates(w: World) -> None:
    await w.refused(400, c.TaskCreate(pid="w", ttl=10, action=create("p")))
    await w.refused(400, c.TaskCreate(pid="w", ttl=0, action=create("p", target=TARGET)))
    await w.refused(400, c.TaskCreate(pid="w", ttl=10, action=create("p", target=TARGET, delay="9")))


async def test_acquire_takes_exactly_its_version(w: World) -> None:
    await w.do(create("p", target=TARGET))
    await w.refused(409, acquire("p", 1))
    await w.refused(404, acquire("none", 0))
    await w.refused(400, acquire("p", 0, ttl=0))
    await w.refused(400, acquire("p", -1))
    answer = await w.do(acquire("p", 0, pid="w9", ttl=77))
    assert (answer.task.version, answer.task.pid, answer.task.ttl) == (1, "w9", 77)
    await w.refused(409, acquire("p", 0))
    await w.refused(409, acquire("p", 1))


async def test_preload_brings_branch_and_children(w: World) -> None:
    await w.do(create("r", target=TARGET, branch="r", origin="r"))
    await w.do(create("r:2", branch="r", parent="r"))
    await w.do(create("r:1.1", branch="r", parent="r:1"))
    await w.do(create("r:3", branch="r:3", parent="r", target=TARGET))
    await w.do(create("r:3.1", branch="r:3", parent="r:3"))
    answer = await w.do(acquire("r", 0))
    assert [p.id for p in answer.preload] == ["r:1.1", "r:2", "r:3"]


@pytest.mark.parametrize("url", ["memory://", "sqlite:///:memory:"])
async def test_preload_is_bounded(url: str) -> None:
    async with world(url, preload_max=3) as w:
        await w.do(create("r", target=TARGET))
        for number in range(6):
            await w.do(create(f"r:{number}", parent="r"))
        assert [p.id for p in (await w.do(acquire("r", 0))).preload] == ["r:0", "r:1", "r:2"]


async def test_release_dispatches_again_at_the_same_version(w: World) -> None:
    ear = Ear()
    w.engine.connect(GROUP, "w1", ear)
    await w.do(create("p", target=TARGET))
    await w.do(acquire("p", 0))
    await w.refused(409, c.TaskRelease(id="p", version=0))
    await w.do(c.TaskRelease(id="p", version=1))
    await ear.hear(2)
    assert ear.executes == [("p", 0), ("p", 1)]
    await w.refused(409, c.TaskRelease(id="p", version=1))
    await w.refused(404, c.TaskRelease(id="none", version=1))


async def test_release_without_progress_backs_off(w: World) -> None:
    ear = Ear()
    w.engine.connect(GROUP, "w1", ear)
    await w.do(create("p", target=TARGET))
    waits = []
    for version in range(5):
        await w.do(acquire("p", version))
        await w.do(c.TaskRelease(id="p", version=version + 1))
        started = w.now
        while len(ear.messages) < version + 2:
            await w.pass_time(50)
        waits.append(w.now - started)
    assert waits == [0, 250, 500, 1000, 2000]
    await w.do(acquire("p", 5))
    await w.do(fence("p", 6, create("p:1")))  # progress
    await w.do(c.TaskRelease(id="p", version=6))
    await ear.hear(7)


async def test_fulfill_settles_the_own_promise(w: World) -> None:
    await w.do(claim("p"))
    await w.refused(409, fulfill("p", 2))
    await w.refused(400, c.TaskFulfill(id="p", version=1, action=settle("q")))
    await w.refused(404, fulfill("none", 1))
    promise = (await w.do(fulfill("p", 1, REJECTED))).promise
    assert promise.state is REJECTED
    task = await w.task("p")
    assert (task.state, task.pid, task.ttl, task.version) == (TaskState.FULFILLED, None, None, 1)
    await w.refused(409, fulfill("p", 1))


async def test_a_stale_worker_writes_nothing(w: World) -> None:
    await w.do(claim("p", pid="old"))
    await w.pass_time(10_000)
    assert (await w.task("p")).state is TaskState.PENDING
    assert (await w.do(acquire("p", 1, pid="new"))).task.version == 2
    for stale in (
        fulfill("p", 1),
        fence("p", 1, create("p:1")),
        c.TaskRelease(id="p", version=1),
        suspend("p", 1, "p:9"),
    ):
        await w.refused(409, stale)
    assert [p.id for p in (await w.do(c.PromiseSearch())).promises] == ["p"]
    await w.do(fulfill("p", 2))


async def test_suspend_rests_until_something_settles(w: World) -> None:
    ear = Ear()
    w.engine.connect(GROUP, "w1", ear)
    await w.do(claim("r"))
    await w.do(create("r:1"))
    await w.do(create("r:2"))
    answer = await w.do(suspend("r", 1, "r:1", "r:2", "r:1"))
    assert (answer.suspended, answer.preload) == (True, [])
    await w.pass_time(60_000)
    task = await w.task("r")
    assert (task.state, task.pid) == (TaskState.SUSPENDED, None)
    await w.do(settle("r:2"))
    await ear.hear(1)
    assert ear.executes == [("r", 1)]
    await w.do(settle("r:1"))
    task = await w.task("r")
    assert (task.state, task.resumes) == (TaskState.PENDING, 2)
    assert (await w.do(acquire("r", 1))).task.resumes == 0


async def test_suspend_on_what_has_settled_stays_awake(w: World) -> None:
    await w.do(claim("r"))
    await w.do(create("r:1", branch="r"))
    await w.do(create("r:2"))
    await w.do(create("r:3", timeout_at=w.now + 5))
    w.clock.advance(5)
    answer = await w.do(suspend("r", 1, "r:2", "r:3"))
    assert answer.suspended is False
    assert [p.id for p in answer.preload] == ["r:1", "r:3"]
    assert (await w.task("r")).state is TaskState.ACQUIRED
    await w.do(settle("r:2"))  # no callback was kept
    assert (await w.task("r")).resumes == 0


async def test_refused_suspends(w: World) -> None:
    await w.do(claim("r"))
    await w.do(create("r:1"))
    await w.do(create("s:1"))
    await w.refused(400, suspend("r", 1))
    await w.refused(400, suspend("r", 1, "r"))
    await w.refused(400, suspend("r", 1, "s:1"))
    other = c.PromiseRegisterCallback(awaited="r:1", awaiter="r:2")
    await w.refused(400, c.TaskSuspend(id="r", version=1, actions=[other]))
    await w.refused(404, suspend("none", 1, "none:1"))
    await w.refused(409, suspend("r", 0, "r:1"))
    await w.refused(422, suspend("r", 1, "r:1", "r:none"))
    assert (await w.task("r")).state is TaskState.ACQUIRED
    await w.do(settle("r:1"))
    assert (await w.task("r")).resumes == 0  # the refused ones left no callback


async def test_a_task_may_await_an_external_promise_of_any_origin(w: World) -> None:
    await w.do(claim("r"))
    await w.do(create("votingEnded-1", external="true"))
    assert (await w.do(suspend("r", 1, "votingEnded-1"))).suspended
    await w.do(settle("votingEnded-1"))
    assert (await w.task("r")).state is TaskState.PENDING


async def test_fence_creates_settles_and_records(w: World) -> None:
    await w.do(claim("r"))
    made = await w.do(fence("r", 1, create("r:1", branch="r")))
    assert (made.promise.state, made.preload) == (PromiseState.PENDING, [])
    assert (await w.do(fence("r", 1, settle("r:1", data="v")))).promise.value.data == "v"
    assert (await w.do(fence("r", 1, settle("r:none")))).promise is None
    remote = await w.do(fence("r", 1, create("r:2", target=TARGET)))
    assert remote.promise.target == TARGET
    assert (await w.task("r:2")).state is TaskState.PENDING


def _record(promise_id: str, **fields: Any) -> c.PromiseRecordStep:
    given = {"timeout_at": FAR, "created_at": 1, "state": RESOLVED, "value": Value(data="v"), **fields}
    return c.PromiseRecordStep(id=promise_id, **given)


async def test_record_writes_a_step_in_one(w: World) -> None:
    await w.do(claim("r"))
    step = (await w.do(fence("r", 1, _record("r:1", created_at=w.now - 3)))).promise
    assert (step.state, step.created_at, step.settled_at) == (RESOLVED, w.now - 3, w.now)
    again = await w.do(fence("r", 1, _record("r:1", state=REJECTED)))
    assert again.promise == step
    await w.do(create("r:2"))
    assert (await w.do(fence("r", 1, _record("r:2")))).promise.value.data == "v"
    future = (await w.do(fence("r", 1, _record("r:3", created_at=w.now + 99)))).promise
    assert future.created_at == w.now
    late = (await w.do(fence("r", 1, _record("r:4", timeout_at=w.now)))).promise
    assert (late.state, late.settled_at) == (PromiseState.REJECTED_TIMEDOUT, w.now)
    await w.refused(400, fence("r", 1, _record("r:5", state=PromiseState.PENDING)))
    await w.refused(400, fence("r", 1, _record("r:5", tags={"resonate:target": TARGET})))
    await w.refused(400, _record("r:6"))  # only inside a fence


async def test_refused_fences(w: World) -> None:
    await w.do(claim("r"))
    await w.refused(400, fence("r", 1, create("r")))
    await w.refused(400, fence("r", 1, create("")))
    await w.refused(404, fence("none", 1, create("none:1")))
    await w.refused(409, fence("r", 2, create("r:1")))
    await w.do(c.TaskRelease(id="r", version=1))
    await w.refused(409, fence("r", 1, create("r:1")))
    assert [p.id for p in (await w.do(c.PromiseSearch())).promises] == ["r"]


async def test_heartbeats_renew_and_name_what_is_lost(w: World) -> None:
    for name in ("a", "b"):
        await w.do(claim(name, pid="w1"))
    await w.do(claim("c", pid="w2"))
    w.clock.advance(9_000)
    refs = [c.TaskReference(id=n, version=v) for n, v in (("a", 1), ("b", 2), ("c", 1), ("none", 1))]
    answer = await w.do(c.TaskHeartbeat(pid="w1", tasks=refs))
    assert answer.lost == ["b", "c", "none"]
    await w.pass_time(1_000)
    assert [(await w.task(n)).state.value for n in "abc"] == ["acquired", "pending", "pending"]
    await w.pass_time(9_000)
    assert (await w.task("a")).state is TaskState.PENDING


async def test_an_empty_heartbeat_renews_all_of_a_pid(w: World) -> None:
    for name, pid in (("a", "w1"), ("b", "w1"), ("c", "w2")):
        await w.do(claim(name, pid=pid))
    w.clock.advance(9_000)
    assert (await w.do(c.TaskHeartbeat(pid="w1"))).lost == []
    await w.pass_time(1_000)
    assert [(await w.task(n)).state.value for n in "abc"] == ["acquired", "acquired", "pending"]


async def test_halt_and_continue(w: World) -> None:
    ear = Ear()
    w.engine.connect(GROUP, "w1", ear)
    await w.do(claim("r"))
    await w.do(create("r:1"))
    await w.do(suspend("r", 1, "r:1"))
    await w.refused(409, c.TaskContinue(id="r"))
    for _ in range(2):
        await w.do(c.TaskHalt(id="r"))
    await w.do(settle("r:1"))
    task = await w.task("r")
    assert (task.state, task.resumes) == (TaskState.HALTED, 1)
    await w.pass_time(100_000)
    assert ear.messages == []
    await w.do(c.TaskContinue(id="r"))
    await ear.hear(1)
    assert (await w.do(acquire("r", 1))).task.version == 2
    await w.do(c.TaskHalt(id="r"))
    await w.refused(409, fulfill("r", 2))
    await w.do(settle("r"))
    assert (await w.task("r")).state is TaskState.FULFILLED
    await w.refused(409, c.TaskHalt(id="r"))
    await w.refused(409, c.TaskContinue(id="r"))
    await w.refused(404, c.TaskHalt(id="none"))
    await w.refused(404, c.TaskContinue(id="none"))


async def test_task_search(w: World) -> None:
    for name in ("a", "b", "c"):
        await w.do(create(name, target=TARGET))
    await w.do(create("bare"))
    await w.do(acquire("b", 0))
    await w.do(settle("c"))
    everything = await w.do(c.TaskSearch(limit=2))
    assert ([t.id for t in everything.tasks], everything.cursor) == (["a", "b"], "b")
    rest = await w.do(c.TaskSearch(limit=2, cursor="b"))
    assert ([t.id for t in rest.tasks], rest.cursor) == (["c"], None)
    for state, ids in ((TaskState.PENDING, ["a"]), (TaskState.ACQUIRED, ["b"]), (TaskState.FULFILLED, ["c"])):
        assert [t.id for t in (await w.do(c.TaskSearch(state=state))).tasks] == ids
    await w.refused(400, c.TaskSearch(limit=0))


async def test_settling_from_outside_takes_the_task_from_its_worker(w: World) -> None:
    await w.do(claim("p"))
    await w.do(settle("p"))
    await w.refused(409, fulfill("p", 1))
    lost = await w.do(c.TaskHeartbeat(pid="w1", tasks=[c.TaskReference(id="p", version=1)]))
    assert lost.lost == ["p"]


async def test_describe_lists_the_extensions(w: World) -> None:
    assert (await w.do(c.Describe())).extensions == list(c.EXTENSIONS)


async def test_every_operation_is_known(w: World) -> None:
    served = {*_HANDLERS, *get_args(Search), *get_args(DebugCommand), c.Describe}
    assert served == set(c.COMMANDS.values())
