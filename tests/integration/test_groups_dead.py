"""Attempts, their cap, and what becomes of a task that has spent them, on every store."""

from __future__ import annotations

import pytest

from orchestrator.domain.group import DeadLetter, DeathReason
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


async def dead(w: World, **query: object) -> list[DeadLetter]:
    page: g.DeadPage = await w.do(g.TaskDead(**query))  # type: ignore[arg-type]
    return page.tasks


async def waste(w: World, task_id: str, version: int) -> None:
    """Acquire a task and let its lease end."""
    await w.do(acquire(task_id, version, ttl=10))
    await w.pass_time(10)


async def test_a_task_that_never_gets_on_is_halted_and_listed(w: World) -> None:
    await w.do(g.GroupSet(id=GROUP, attempts=3))
    ear = Ear()
    w.engine.connect(GROUP, "w1", ear)
    await w.do(create("poison", target=TARGET))
    await waste(w, "poison", 0)
    await w.do(acquire("poison", 1))
    await w.do(c.TaskRelease(id="poison", version=2))
    assert await dead(w) == []
    await waste(w, "poison", 2)
    assert (await w.task("poison")).state is TaskState.HALTED
    told = len(ear.messages)
    await w.pass_time(10**7)
    assert len(ear.messages) == told
    letter = DeadLetter(
        id="poison",
        group=GROUP,
        version=3,
        attempts=3,
        reason=DeathReason.LEASE_ENDED,
        died_at=w.now - 10**7,
    )
    assert await dead(w) == [letter]
    assert w.engine.statistics.died == {"lease_ended": 1}
    assert (await w.engine.gauges()).dead == {GROUP: 1}


async def test_continue_revives_it_with_all_its_attempts(w: World) -> None:
    await w.do(g.GroupSet(id=GROUP, attempts=2))
    await w.do(create("p", target=TARGET))
    await waste(w, "p", 0)
    await waste(w, "p", 1)
    ear = Ear()
    w.engine.connect(GROUP, "w1", ear)
    await w.do(c.TaskContinue(id="p"))
    assert (await dead(w), ear.executes) == ([], [("p", 2)])
    await waste(w, "p", 2)
    assert (await w.task("p")).state is TaskState.PENDING
    await waste(w, "p", 3)
    assert [letter.version for letter in await dead(w)] == [4]


async def test_progress_gives_all_attempts_back(w: World) -> None:
    await w.do(g.GroupSet(id=GROUP, attempts=2))
    await w.do(create("p", target=TARGET))
    await w.do(create("p:9"))
    await waste(w, "p", 0)
    await w.do(acquire("p", 1, ttl=10))
    await w.do(fence("p", 2, create("p:1")))
    await w.pass_time(10)
    await w.do(acquire("p", 2))
    await w.do(suspend("p", 3, "p:9"))
    await w.do(settle("p:9"))
    await waste(w, "p", 3)
    assert (await w.task("p")).state is TaskState.PENDING
    await waste(w, "p", 4)
    assert (await w.task("p")).state is TaskState.HALTED


async def test_what_is_only_sent_again_gives_no_attempts_back(w: World) -> None:
    await w.do(g.GroupSet(id=GROUP, attempts=2))
    await w.do(create("p", target=TARGET))
    for version in range(2):
        assert (await w.task("p")).state is TaskState.PENDING
        await w.do(acquire("p", version, ttl=10))
        await w.do(fence("p", version + 1, create("p:1")))
        await w.pass_time(10)
    assert (await w.task("p")).state is TaskState.HALTED


async def test_the_tag_of_an_invocation_wins(w: World) -> None:
    await w.do(g.GroupSet(id=GROUP, attempts=2))
    await w.do(create("fragile", target=TARGET, attempts="1"))
    await w.do(create("tough", target=TARGET, attempts="3"))
    await w.do(create("elsewhere", target="poll://any@others", attempts="1"))
    for name in ("fragile", "tough", "elsewhere"):
        await waste(w, name, 0)
    await waste(w, "tough", 1)
    assert [letter.id for letter in await dead(w)] == ["elsewhere", "fragile"]
    assert [letter.id for letter in await dead(w, group="others")] == ["elsewhere"]
    page = await w.do(g.TaskDead(limit=1))
    assert ([letter.id for letter in page.tasks], page.cursor) == (["elsewhere"], "elsewhere")
    assert [letter.id for letter in await dead(w, cursor="elsewhere")] == ["fragile"]


async def test_without_a_cap_nothing_dies(w: World) -> None:
    await w.do(create("p", target=TARGET))
    for version in range(20):
        await waste(w, "p", version)
    assert (await w.task("p")).state is TaskState.PENDING
    assert await dead(w) == []


async def test_a_stale_release_kills_nothing(w: World) -> None:
    await w.do(claim("p", attempts="1"))
    await w.refused(409, c.TaskRelease(id="p", version=0))
    assert await dead(w) == []
    await w.do(fence("p", 1, create("p:1")))
    await w.do(c.TaskRelease(id="p", version=1))
    assert [letter.reason for letter in await dead(w)] == [DeathReason.RELEASED]


async def test_one_that_is_settled_is_dead_no_more(w: World) -> None:
    await w.do(claim("p", attempts="1"))
    await w.do(c.TaskRelease(id="p", version=1))
    assert len(await dead(w)) == 1
    await w.do(settle("p"))
    assert await dead(w) == []


async def test_a_dead_task_frees_its_place(w: World) -> None:
    await w.do(g.GroupSet(id=GROUP, concurrency=1, attempts=1))
    ear = Ear()
    w.engine.connect(GROUP, "w1", ear)
    await w.do(claim("a"))
    await w.refused(409, claim("b"))
    await w.do(c.TaskRelease(id="a", version=1))
    assert ear.executes == [("b", 0)]
    await w.do(acquire("b", 0))
    await w.do(c.TaskContinue(id="a"))
    assert ear.executes[1:] == []
    await w.do(fulfill("b", 1))
    assert ear.executes[1:] == [("a", 1)]


async def test_a_worker_that_dies_with_the_process_has_spent_an_attempt() -> None:
    from orchestrator.store import MemoryStore  # noqa: PLC0415

    store, clock = MemoryStore(), ManualClock()
    async with world("memory://", clock, store) as w:
        await w.do(create("p", target=TARGET, attempts="1"))
        await w.do(acquire("p", 0), embedded=True)
    async with world("memory://", clock, store) as w:
        assert [letter.id for letter in await dead(w)] == ["p"]


@pytest.mark.parametrize("text", ["", "0", "-1", "many", "1000001"])
async def test_a_cap_that_is_none_is_refused(text: str) -> None:
    async with world("memory://") as w:
        message = await w.refused(400, create("p", target=TARGET, attempts=text))
        assert message.startswith("Invalid tag: resonate:attempts must be a whole number from 1 to 1000000")
        assert "name must have" in await w.refused(400, g.TaskDead(group=""))
        assert "limit must be" in await w.refused(400, g.TaskDead(limit=0))
