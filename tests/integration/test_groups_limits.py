"""Limits of groups: what is handed out, who is told, and when, on every store."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.domain.task import TaskState
from orchestrator.engine import ManualClock
from orchestrator.protocol import commands as c
from orchestrator.protocol import groups as g
from tests.engine_world import (
    GROUP,
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

URL = "https://functions.example/score"


async def limit(w: World, group: str = GROUP, **limits: int | None) -> g.GroupRecord:
    return (await w.do(g.GroupSet(id=group, **limits))).group


async def usage(w: World, group: str = GROUP) -> tuple[int | None, int | None]:
    found = (await w.do(g.GroupGet(id=group))).group
    return found.acquired, found.waiting


def listening(w: World, member: str = "w1") -> Ear:
    ear = Ear()
    w.engine.connect(GROUP, member, ear)
    return ear


# -- concurrency


async def test_no_more_are_acquired_or_told_than_the_limit(w: World) -> None:
    await limit(w, concurrency=2)
    ear = listening(w)
    for number in range(4):
        await w.do(create(f"p{number}", target=TARGET))
        w.clock.advance(1)
    assert ear.executes == [("p0", 0), ("p1", 0)]
    await w.do(acquire("p0", 0))
    await w.do(acquire("p1", 0))
    message = await w.refused(409, acquire("p2", 0))
    assert message == "task 'p2' has to wait: group 'workers' has 2 tasks acquired of at most 2"
    assert await usage(w) == (2, 2)
    await w.do(fulfill("p0", 1))
    assert ear.executes[2:] == [("p2", 0)]
    await w.refused(409, acquire("p2", 1))
    await w.do(acquire("p2", 0))
    assert await usage(w) == (2, 1)


async def test_whatever_frees_a_place_tells_the_next(w: World) -> None:
    await limit(w, concurrency=1)
    ear = listening(w)
    for number in range(7):
        await w.do(create(f"p{number}", target=TARGET))
        w.clock.advance(1)
    await w.do(acquire("p0", 0, ttl=5_000))
    await w.pass_time(5_000)  # a lease that ends
    assert ear.executes[1:] == [("p0", 1)]
    await w.do(acquire("p0", 1))
    await w.do(create("p0:1"))
    await w.do(suspend("p0", 2, "p0:1"))
    assert ear.executes[2:] == [("p1", 0)]
    await w.do(acquire("p1", 0))
    await w.do(settle("p0:1"))
    assert (await w.task("p0")).state is TaskState.PENDING
    assert ear.executes[3:] == []  # awake, and waiting for its turn
    await w.do(c.TaskHalt(id="p1"))
    assert ear.executes[3:] == [("p0", 2)]
    await w.do(acquire("p0", 2))
    await w.do(settle("p0"))  # from outside
    assert ear.executes[4:] == [("p2", 0)]
    await w.do(acquire("p2", 0))
    await w.do(c.TaskRelease(id="p2", version=1))
    assert ear.executes[5:] == [("p2", 1)]
    await w.do(acquire("p2", 1))
    await limit(w, concurrency=3)
    assert ear.executes[6:] == [("p3", 0), ("p4", 0)]
    await limit(w, concurrency=None)
    assert ear.executes[8:] == [("p5", 0), ("p6", 0)]


async def test_a_claim_at_creation_waits_in_a_full_group_as_if_somebody_else_had_it(w: World) -> None:
    await limit(w, concurrency=1)
    ear = listening(w)
    assert (await w.do(claim("a"))).task.state is TaskState.ACQUIRED
    await w.refused(409, claim("b"))
    assert (await w.task("b")).state is TaskState.PENDING
    await w.refused(409, claim("b"))
    await w.do(fulfill("a", 1))
    assert ear.executes == [("b", 0)]


async def test_several_in_one_batch_do_not_slip_through(w: World) -> None:
    await limit(w, concurrency=2)
    answers = await w.together(*(claim(f"p{number}") for number in range(5)))
    assert sum(isinstance(answer, c.TaskClaim) for answer in answers) == 2
    assert await usage(w) == (2, 3)
    answers = await w.together(
        fulfill("p0", 1), acquire("p2", 0), acquire("p3", 0), fulfill("p1", 1), acquire("p3", 0)
    )
    assert [isinstance(answer, c.Answer) for answer in answers] == [True, True, False, True, True]


async def test_who_was_turned_away_is_told_again(w: World) -> None:
    await limit(w, concurrency=1)
    ear = listening(w)
    await w.do(create("p0", target=TARGET))
    w.clock.advance(1)
    await w.do(create("p1", target=TARGET))
    await w.together(acquire("p1", 0), acquire("p0", 0), fulfill("p1", 1))
    assert ear.executes == [("p0", 0), ("p0", 0)]
    await w.do(acquire("p0", 0))


async def test_tasks_that_were_there_before_the_limit_count(w: World) -> None:
    ear = listening(w)
    for number in range(4):
        await w.do(create(f"p{number}", target=TARGET))
        w.clock.advance(1)
    await w.do(create("later", target=TARGET, delay=str(w.now + 100_000)))
    await w.do(create("elsewhere", target="poll://any@others"))
    for number in range(3):
        await w.do(acquire(f"p{number}", 0))
    assert (await limit(w, concurrency=2)) == g.GroupRecord(id=GROUP, concurrency=2, acquired=3, waiting=1)
    await w.refused(409, acquire("p3", 0))
    await w.do(fulfill("p0", 1))
    await w.refused(409, acquire("p3", 0))
    assert ear.executes[4:] == []
    await w.do(fulfill("p1", 1))
    assert ear.executes[4:] == [("p3", 0)]
    await w.do(acquire("elsewhere", 0))


async def test_who_does_not_come_keeps_nobody_waiting(w: World) -> None:
    await limit(w, concurrency=1)
    ear = listening(w, "here")
    await w.do(create("absent", target=f"poll://uni@{GROUP}/gone", priority="9"))
    await w.do(create("p1", target=TARGET))
    assert ear.executes == []
    await w.pass_time(1_000)
    assert ear.executes == [("p1", 0)]
    await w.do(acquire("p1", 0))
    gone = listening(w, "gone")
    await w.do(fulfill("p1", 1))
    await gone.hear(1)
    assert gone.executes == [("absent", 0)]


async def test_who_was_told_and_is_cancelled_as_the_room_goes_is_announced_no_more(w: World) -> None:
    await limit(w, concurrency=2)
    for number in range(3):
        await w.do(create(f"p{number}", target=TARGET))
        w.clock.advance(1)
    await w.together(c.PromiseCancel(id="p1"), acquire("p2", 0))
    ear = listening(w)
    await ear.hear(1)
    assert ear.executes == [("p0", 0)]
    await w.do(fulfill("p2", 1))
    assert ear.executes[1:] == [("p1", 0)]


async def test_a_place_is_kept_while_nobody_listens_at_all() -> None:
    async with world("memory://") as w:
        await limit(w, concurrency=1)
        for number in range(3):
            await w.do(create(f"p{number}", target=TARGET))
            w.clock.advance(1)
        for _ in range(5):
            await w.pass_time(2_000)
        ear = listening(w)
        await ear.hear(1)
        assert ear.executes == [("p0", 0)]


async def test_every_task_that_waits_has_a_timer(w: World) -> None:
    await limit(w, concurrency=1)
    ear = listening(w)
    for number in range(3):
        await w.do(create(f"p{number}", target=TARGET))
    await w.do(acquire("p0", 0, ttl=10**9))
    for _ in range(30):
        await w.pass_time(600_000)
    assert ear.executes == [("p0", 0)]
    assert await usage(w) == (1, 2)
    await w.do(fulfill("p0", 1))
    await w.pass_time(0)
    assert ear.executes[1:] == [("p1", 0)]


async def test_the_group_of_a_push_is_its_url(w: World) -> None:
    await limit(w, URL, concurrency=1)
    await w.do(create("a", target=URL))
    await w.do(create("b", target=URL))
    await w.do(acquire("a", 0))
    await w.refused(409, acquire("b", 0))
    await w.do(create("c", target=f"{URL}2"))
    await w.do(acquire("c", 0))


# -- rate


async def test_a_rate_is_a_bucket_that_refills(w: World) -> None:
    await limit(w, rate=2, period=10_000)
    ear = listening(w)
    for number in range(4):
        await w.do(create(f"p{number}", target=TARGET))
    await w.do(acquire("p0", 0, ttl=10**6))
    await w.do(acquire("p1", 0, ttl=10**6))
    message = await w.refused(409, acquire("p2", 0, ttl=10**6))
    assert message.endswith("group 'workers' has had its 2 acquisitions in 10000 ms")
    assert ear.executes == [("p0", 0), ("p1", 0)]
    await w.pass_time(4_999)
    await w.refused(409, acquire("p2", 0))
    await w.pass_time(1)
    assert ear.executes[2:] == [("p2", 0)]
    await w.do(acquire("p2", 0))
    await w.refused(409, acquire("p3", 0))
    await w.do(fulfill("p2", 1))  # a place is no token
    await w.pass_time(5_000)
    assert ear.executes[3:] == [("p3", 0)]
    await limit(w, rate=None, period=None)
    assert (await w.do(g.GroupSearch())).groups == []


async def test_the_engine_wakes_by_itself_when_the_bucket_refills(w: World) -> None:
    await limit(w, rate=1, period=1_000)
    ear = listening(w)
    for number in range(3):
        await w.do(create(f"p{number}", target=TARGET))
    await w.do(acquire("p0", 0))
    for number in (1, 2):
        assert len(ear.messages) == number
        w.clock.advance(1_000)
        await ear.hear(number + 1)
        await w.do(acquire(f"p{number}", 0))


# -- pause


async def test_a_paused_group_hands_nothing_out_and_lets_what_runs_go_on(w: World) -> None:
    ear = listening(w)
    await w.do(claim("running"))
    paused = (await w.do(g.GroupPause(id=GROUP))).group
    assert paused == g.GroupRecord(id=GROUP, paused=True, acquired=1, waiting=0)
    await w.do(create("p", target=TARGET))
    assert "group 'workers' is paused" in await w.refused(409, acquire("p", 0))
    await w.do(fence("running", 1, create("running:1")))
    await w.do(fulfill("running", 1))
    assert ear.executes == []
    resumed = (await w.do(g.GroupResume(id=GROUP))).group
    assert resumed == g.GroupRecord(id=GROUP)
    assert ear.executes == [("p", 0)]
    await w.do(acquire("p", 0))


async def test_what_was_announced_before_a_pause_is_not_handed_out(w: World) -> None:
    await w.do(create("p", target=TARGET))
    await w.do(g.GroupPause(id=GROUP))
    ear = listening(w)
    await w.refused(409, acquire("p", 0))
    await w.do(create("last", target="poll://any@others"))
    assert ear.executes == []
    await w.do(g.GroupResume(id=GROUP))
    assert ear.executes == [("p", 0)]


# -- priority


async def test_the_highest_priority_goes_first_then_the_oldest(w: World) -> None:
    await limit(w, concurrency=1)
    ear = listening(w)
    await w.do(claim("running"))
    for name, priority in (("low", "-5"), ("b", "0"), ("a", "0"), ("high", "1000")):
        await w.do(create(name, target=TARGET, priority=priority))
        w.clock.advance(1)
    running = "running"
    for expected in ("high", "b", "a", "low"):
        await w.do(fulfill(running, 1))
        assert ear.executes[-1] == (expected, 0)
        await w.do(acquire(expected, 0))
        running = expected


async def test_a_higher_one_takes_the_turn_of_one_that_was_told(w: World) -> None:
    await limit(w, concurrency=1)
    await w.do(create("low", target=TARGET))
    await w.do(create("high", target=TARGET, priority="1"))
    ear = listening(w)
    await ear.hear(1)
    assert ear.executes == [("high", 0)]


@pytest.mark.parametrize("text", ["", "high", "1001", "-1001", "1.5", "+1", "१", "1" * 4000])
async def test_a_priority_that_is_none_is_refused(text: str) -> None:
    async with world("memory://") as w:
        message = await w.refused(400, create("p", target=TARGET, priority=text))
        assert message.startswith("Invalid tag: resonate:priority must be a whole number from -1000 to 1000")


# -- what is set


async def test_limits_survive_a_restart(tmp_path: Path) -> None:
    url, clock = f"sqlite:///{tmp_path}/s.db", ManualClock()
    async with world(url, clock) as w:
        await limit(w, concurrency=1, rate=3, period=60_000, attempts=5)
        await w.do(claim("a"))
        await w.refused(409, claim("b"))
    async with world(url, clock) as w:
        await w.refused(409, acquire("b", 0))
        found = (await w.do(g.GroupGet(id=GROUP))).group
        assert (found.concurrency, found.rate, found.period, found.attempts) == (1, 3, 60_000, 5)
        ear = listening(w)
        await w.do(fulfill("a", 1))
        assert ear.executes == [("b", 0)]
        await w.do(acquire("b", 0))
        await w.do(fulfill("b", 1))
        await w.do(claim("c"))
        await w.do(fulfill("c", 1))
        assert "3 acquisitions" in await w.refused(409, claim("d"))  # the bucket, too


async def test_what_is_absent_stays_and_null_removes(w: World) -> None:
    await limit(w, concurrency=3, attempts=2)
    assert (await limit(w, rate=5, period=1_000)).concurrency == 3
    await w.do(g.GroupPause(id=GROUP))
    left = await limit(w, concurrency=None, rate=None, period=None)
    assert left == g.GroupRecord(id=GROUP, attempts=2, paused=True, acquired=0, waiting=0)
    await limit(w, "another", concurrency=1)
    page = await w.do(g.GroupSearch(limit=1))
    assert [group.id for group in page.groups] == ["another"]
    page = await w.do(g.GroupSearch(limit=1, cursor=page.cursor))
    assert ([group.id for group in page.groups], page.cursor) == ([GROUP], None)


async def test_a_group_that_nobody_has_set_has_no_limits(w: World) -> None:
    assert (await w.do(g.GroupGet(id="unheard of"))).group == g.GroupRecord(id="unheard of")
    assert (await w.do(g.GroupResume(id="unheard of"))).group == g.GroupRecord(id="unheard of")


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"concurrency": -1}, "concurrency must be between 1 and 100000, or null for no limit, not -1"),
        ({"concurrency": 0}, "concurrency must be between 1"),
        ({"rate": 0, "period": 5}, "rate must be between 1"),
        ({"rate": 5}, "rate and period (milliseconds) belong together"),
        ({"period": 5}, "rate and period (milliseconds) belong together"),
        ({"rate": None, "period": 5}, "rate and period (milliseconds) belong together"),
        ({"attempts": 10**9}, "attempts must be between 1"),
    ],
)
async def test_limits_that_are_none_are_refused(limits: dict[str, int | None], message: str) -> None:
    async with world("memory://") as w:
        assert (await w.refused(400, g.GroupSet(id=GROUP, **limits))).startswith(message)
        assert "name must have" in await w.refused(400, g.GroupSet(id="", concurrency=1))
        assert (await w.do(g.GroupSearch())).groups == []
