"""Schedules: every operation and refusal, runs, what was missed, restarts, jumps of time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from orchestrator.domain.promise import PromiseState, Value
from orchestrator.domain.schedule import NEVER_MS, CatchUp
from orchestrator.domain.task import TaskState
from orchestrator.engine import ManualClock
from orchestrator.engine.batch import tick_program
from orchestrator.engine.unheard import Listening
from orchestrator.protocol import commands as c
from orchestrator.protocol import schedules as s
from orchestrator.protocol.envelope import VERSION, decode_request
from orchestrator.store.port import Changes, LoadSchedules, Write, ask
from tests.engine_world import FAR, GROUP, TARGET, Ear, World, create, settle, world

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
START = 1_700_000_040_000
"""2023-11-14 22:14:00 UTC, a whole minute."""


@pytest.fixture(params=["memory://", "sqlite:///:memory:"])
async def w(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    async with world(request.param, ManualClock(START)) as made:
        yield made


def every_minute(schedule_id: str = "s", **options: Any) -> s.ScheduleCreate:
    given = {
        "cron": "* * * * *",
        "promise_id": "{{.id}}-{{.timestamp}}",
        "promise_timeout": DAY,
        "promise_tags": {"resonate:target": TARGET},
    }
    return s.ScheduleCreate(id=schedule_id, **(given | options))


async def schedule(w: World, schedule_id: str = "s") -> Any:
    return (await w.do(s.ScheduleGet(id=schedule_id))).schedule


async def runs(w: World, schedule_id: str = "s") -> list[int]:
    """When the runs that exist were due, in minutes after the start."""
    found: list[int] = []
    cursor, more = None, True
    while more:
        page = await w.do(c.PromiseSearch(tags={"resonate:schedule": schedule_id}, limit=1000, cursor=cursor))
        found += [(promise.created_at - START) // MINUTE for promise in page.promises]
        cursor, more = page.cursor, page.cursor is not None
    return sorted(found)


async def test_create_get_search_and_delete(w: World) -> None:
    made = (await w.do(every_minute(promise_param=Value(headers={"a": "b"}, data="x")))).schedule
    assert (made.created_at, made.next_run_at, made.last_run_at) == (START, START + MINUTE, None)
    assert await schedule(w) == made
    assert (await w.do(every_minute(cron="0 0 * * *"))).schedule == made
    await w.do(every_minute("r", promise_tags={"resonate:target": TARGET, "k": "v"}))
    page = await w.do(s.ScheduleSearch(limit=1))
    assert ([each.id for each in page.schedules], page.cursor) == (["r"], "r")
    page = await w.do(s.ScheduleSearch(limit=1, cursor="r"))
    assert ([each.id for each in page.schedules], page.cursor) == (["s"], None)
    page = await w.do(s.ScheduleSearch(tags={"k": "v"}))
    assert [each.id for each in page.schedules] == ["r"]
    await w.do(s.ScheduleDelete(id="r"))
    await w.pass_time(MINUTE)
    assert (await runs(w), await runs(w, "r")) == ([1], [])
    await w.do(s.ScheduleDelete(id="s"))
    await w.pass_time(HOUR)
    assert await runs(w) == [1]


@pytest.mark.parametrize("command", [s.ScheduleGet, s.ScheduleDelete, s.SchedulePause, s.ScheduleResume])
async def test_what_does_not_exist(w: World, command: Any) -> None:
    assert await w.refused(404, command(id="none")) == "Schedule not found"
    await w.refused(400, command(id=""))


@pytest.mark.parametrize(
    "command",
    [
        every_minute(""),
        every_minute("a.b"),
        every_minute("a\x00"),
        every_minute(cron="* * * *"),
        every_minute(cron="61 * * * *"),
        every_minute(cron="0 0 0 1 1 ? 2001"),
        every_minute(time_zone="Nowhere"),
        every_minute(promise_id=""),
        every_minute(promise_id="x\x00"),
        every_minute(promise_id="{{.id}}" * 1025),
        every_minute("x" * 1010),
        every_minute(promise_timeout=-1),
        every_minute(promise_timeout=2**63),
        every_minute(promise_tags={}),
        every_minute(promise_tags={"resonate:target": "ftp://x"}),
        every_minute(promise_tags={"resonate:target": TARGET, "resonate:delay": "5"}),
        every_minute(promise_tags={"resonate:target": TARGET} | {str(i): "" for i in range(60)}),
        every_minute(promise_tags={"resonate:target": TARGET, "k": "x" * 4097}),
        s.ScheduleSearch(limit=0),
        s.ScheduleSearch(limit=1001),
        s.ScheduleSearch(cursor=""),
    ],
)
async def test_what_is_malformed_leaves_nothing(w: World, command: Any) -> None:
    assert len(await w.refused(400, command)) < 400
    assert (await w.do(s.ScheduleSearch())).schedules == []


async def test_a_run_is_a_promise_with_a_lineage_of_its_own(w: World) -> None:
    ear = Ear()
    w.engine.connect(GROUP, "w1", ear)
    tags = {"resonate:target": TARGET, "resonate:parent": "somebody", "resonate:schedule": "other", "k": "v"}
    await w.do(every_minute(promise_tags=tags, promise_param=Value(data="x"), promise_timeout=HOUR))
    await w.pass_time(MINUTE + 7)
    due = START + MINUTE
    promise = (await w.do(c.PromiseGet(id=f"s-{due}"))).promise
    own = dict.fromkeys([f"resonate:{name}" for name in ("origin", "branch", "parent", "prefix")], f"s-{due}")
    assert promise.tags == {"resonate:target": TARGET, "k": "v", "resonate:schedule": "s", **own}
    assert (promise.created_at, promise.timeout_at, promise.param.data) == (due, due + HOUR, "x")
    assert (await w.task(promise.id)).state is TaskState.PENDING
    await ear.hear(1)
    assert ear.executes == [(promise.id, 0)]
    assert ((await schedule(w)).last_run_at, (await schedule(w)).next_run_at) == (due, due + MINUTE)
    assert w.engine.statistics.scheduled == 1


async def test_the_engine_wakes_by_itself_and_sleeps_between(w: World) -> None:
    ear = Ear()
    w.engine.connect(GROUP, "w1", ear)
    await w.do(every_minute())
    for count in (1, 2, 3):
        w.clock.advance(MINUTE)
        while len({task_id for task_id, _ in ear.executes}) < count:
            await ear.hear(len(ear.messages) + 1)
    await asyncio.sleep(0.05)
    ticks = w.engine.statistics.ticks
    await asyncio.sleep(0.05)
    assert w.engine.statistics.ticks == ticks


async def test_a_run_whose_id_exists_creates_nothing(w: World) -> None:
    await w.do(create(f"s-{START + MINUTE}", timeout_at=FAR))
    await w.do(every_minute())
    await w.do(every_minute("fixed", promise_id="always-the-same"))
    await w.pass_time(3 * MINUTE)
    assert await runs(w) == [2, 3]
    assert await runs(w, "fixed") == [1]
    await w.do(settle("always-the-same"))
    await w.pass_time(MINUTE)
    assert await w.state("always-the-same") is PromiseState.RESOLVED


async def test_all_that_was_missed_is_made_up_and_what_is_over_is_stored_as_timed_out(w: World) -> None:
    await w.do(every_minute(promise_timeout=10 * MINUTE))
    await w.do(every_minute("t", promise_tags={"resonate:target": TARGET, "resonate:timer": "true"},
                            promise_timeout=0))  # fmt: skip
    await w.pass_time(30 * MINUTE)
    assert await runs(w) == list(range(1, 31))
    late = (await w.do(c.PromiseGet(id=f"s-{START + 20 * MINUTE}"))).promise
    assert late.state is PromiseState.REJECTED_TIMEDOUT
    assert (late.created_at, late.settled_at) == (START + 20 * MINUTE, START + 30 * MINUTE)
    assert (await w.task(late.id)).state is TaskState.FULFILLED
    assert await w.state(f"s-{START + 21 * MINUTE}") is PromiseState.PENDING
    timer = (await w.do(c.PromiseGet(id=f"t-{START + MINUTE}"))).promise
    assert (timer.state, timer.settled_at) == (PromiseState.RESOLVED, timer.created_at)


async def test_only_the_last_of_what_was_missed_is_made_up(w: World) -> None:
    await w.do(every_minute(catch_up=CatchUp.LAST))
    await w.pass_time(DAY + 5_000)
    assert await runs(w) == [1440]
    assert (await schedule(w)).next_run_at == START + DAY + MINUTE
    await w.pass_time(MINUTE)
    assert await runs(w) == [1440, 1441]


async def test_nothing_that_was_missed_is_made_up(w: World) -> None:
    await w.do(every_minute(cron="0 * * * *", catch_up=CatchUp.NONE))
    await w.do(every_minute("m", catch_up=CatchUp.NONE))
    await w.pass_time(DAY)
    assert await runs(w) == []
    assert (await schedule(w)).last_run_at is None
    assert await runs(w, "m") == [1440], "it is not late"
    await w.pass_time(HOUR)
    last = (await schedule(w)).next_run_at
    await w.pass_time(last - w.now + 60_000)
    assert [START + run * MINUTE for run in await runs(w)] == [last]


async def test_a_paused_schedule_rests_and_goes_on_with_its_next_moment(w: World) -> None:
    await w.do(every_minute())
    paused = (await w.do(s.SchedulePause(id="s"))).schedule
    assert paused.paused
    assert (await w.do(s.SchedulePause(id="s"))).schedule == paused
    await w.pass_time(HOUR)
    assert await runs(w) == []
    resumed = (await w.do(s.ScheduleResume(id="s"))).schedule
    assert (resumed.paused, resumed.next_run_at) == (False, START + HOUR + MINUTE)
    assert (await w.do(s.ScheduleResume(id="s"))).schedule == resumed
    await w.pass_time(MINUTE)
    assert await runs(w) == [61]


async def test_a_run_that_is_due_is_neither_lost_nor_doubled_by_pause_and_resume(w: World) -> None:
    await w.do(every_minute())
    await w.do(s.SchedulePause(id="s"))
    await w.pass_time(30_000)
    assert (await w.do(s.ScheduleResume(id="s"))).schedule.next_run_at == START + MINUTE
    await w.pass_time(30_000)
    assert await runs(w) == [1]


async def test_a_schedule_whose_years_are_over_never_runs_again(w: World) -> None:
    await w.do(every_minute(cron="0 0 0 24-25 12 ? 2023"))
    await w.pass_time(365 * DAY)
    assert len(await runs(w)) == 2
    assert (await schedule(w)).next_run_at == NEVER_MS
    await w.pass_time(365 * DAY)
    assert len(await runs(w)) == 2


async def test_time_zones_move_the_wall_clock(w: World) -> None:
    await w.do(every_minute(cron="30 2 * * *", time_zone="Europe/Vienna"))
    await w.pass_time(150 * DAY)
    found = [datetime.fromtimestamp((START + run * MINUTE) / 1000, UTC) for run in await runs(w)]
    expected = {"2024-03-30T01:30", "2024-03-31T01:00", "2024-04-01T00:30"}
    assert expected <= {each.isoformat()[:16] for each in found}
    assert len(found) == 150


async def test_many_missed_runs_come_in_bounded_pages_and_nobody_waits_for_them() -> None:
    async with world("sqlite:///:memory:", ManualClock(START), tick_page=50) as w:
        await w.do(every_minute("busy"))
        await w.do(every_minute("calm", cron="0 * * * *"))
        w.clock.advance(10 * HOUR)
        everybody = Listening(here=lambda _: True, elsewhere=False)
        result = await w.store.run(
            lambda now: tick_program(now, w.engine.settings, everybody), w.clock.now_ms()
        )
        assert result.more
        assert result.runs <= 50
        assert len(await runs(w, "calm")) == 10
        await w.engine.tick()
        assert len(await runs(w, "busy")) == 600


async def test_a_day_of_every_second_is_made_up_in_time(w: World) -> None:
    await w.do(every_minute(cron="* * * * * *", catch_up=CatchUp.LAST))
    await w.pass_time(365 * DAY)
    assert len(await runs(w)) == 1


async def test_a_zone_that_this_machine_does_not_know_stops_nobody(w: World) -> None:
    made = (await w.do(every_minute())).schedule

    def forge(_: int) -> Any:
        strange = msgspec.structs.replace(made, time_zone="Atlantis/Capital")
        yield from ask(Write(changes=Changes(schedules=[strange])))
        return (yield from ask(LoadSchedules(ids=["s"])))

    await w.store.run(forge, START)
    await w.do(every_minute("other"))
    await w.pass_time(MINUTE)
    assert (await schedule(w)).paused
    assert await runs(w, "other") == [1]
    assert "Atlantis" in await w.refused(400, s.ScheduleResume(id="s"))


async def test_commands_of_one_batch_see_one_another(w: World) -> None:
    answers = await w.together(
        every_minute(), s.SchedulePause(id="s"), s.ScheduleGet(id="s"), s.ScheduleDelete(id="s"),
        s.ScheduleGet(id="s"), every_minute(cron="0 0 * * *"), s.ScheduleSearch(),
    )  # fmt: skip
    assert [getattr(answer, "status", 200) for answer in answers] == [200, 200, 200, 200, 404, 200, 200]
    assert answers[2].schedule.paused
    assert [each.cron for each in answers[6].schedules] == ["0 0 * * *"]
    assert (await schedule(w)).cron == "0 0 * * *"


async def test_a_schedule_and_what_it_missed_survive_a_restart(tmp_path: Path) -> None:
    url, clock = f"sqlite:///{tmp_path}/s.db", ManualClock(START)
    async with world(url, clock) as w:
        await w.do(every_minute("ü", promise_param=Value(headers={"a": "\u2028"}), time_zone="Asia/Tokyo"))
        await w.do(every_minute("p"))
        await w.do(s.SchedulePause(id="p"))
        await w.pass_time(MINUTE)
        before = (await schedule(w, "ü"), await schedule(w, "p"))
    async with world(url, clock) as w:
        assert (await schedule(w, "ü"), await schedule(w, "p")) == before
    clock.advance(5 * MINUTE)
    async with world(url, clock) as w:
        ear = Ear()
        w.engine.connect(GROUP, "w1", ear)
        await ear.hear(5)
        assert await runs(w, "ü") == [1, 2, 3, 4, 5, 6]
        assert await runs(w, "p") == []


async def test_a_clock_that_goes_back_repeats_nothing(w: World) -> None:
    await w.do(every_minute())
    await w.pass_time(10 * MINUTE)
    w.clock.advance(-5 * MINUTE)
    await w.engine.tick()
    assert await runs(w) == list(range(1, 11))
    await w.pass_time(6 * MINUTE)
    assert await runs(w) == list(range(1, 12))


async def test_a_default_that_a_caller_spells_out_is_left_out_all_the_same(w: World) -> None:
    body = msgspec.json.encode(
        {
            "kind": "schedule.create",
            "head": {"corrId": "1", "version": VERSION},
            "data": {"id": "s", "cron": "* * * * *", "promiseId": "x", "promiseTimeout": 1, "timeZone": "UTC",
                     "catchUp": "all", "promiseTags": {"resonate:target": TARGET}},
        }
    )  # fmt: skip
    await w.do(decode_request(body).command)
    assert not {"timeZone", "catchUp", "paused"} & msgspec.to_builtins(await schedule(w)).keys()
