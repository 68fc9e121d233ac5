"""A task that is given back again and again: tried ever more rarely, and at once with whoever comes new."""

from pathlib import Path

from orchestrator.engine import ManualClock
from orchestrator.protocol import commands as c
from tests.engine_world import GROUP, TARGET, Ear, World, acquire, create, fence, world

MINUTE_MS = 60_000


async def give_back(w: World, ear: Ear, times: int) -> int:
    """Have a worker take and give the task back so often; return how long that took, in milliseconds."""
    began = w.now
    for _ in range(times):
        heard = len(ear.messages)
        while len(ear.messages) == heard:
            await w.pass_time(250)
            assert w.now - began < 3_600_000
        task_id, version = ear.executes[-1]
        await w.do(acquire(task_id, version))
        await w.do(c.TaskRelease(id=task_id, version=version + 1))
    return w.now - began


async def test_it_is_tried_ever_more_rarely(w: World) -> None:
    ear = Ear()
    w.engine.connect(GROUP, "w1", ear)
    await w.do(create("unknown", target=TARGET))
    await ear.hear(1)
    ear.messages.clear()
    await w.do(acquire("unknown", 0))
    await w.do(c.TaskRelease(id="unknown", version=1))
    assert len(ear.executes) == 1, "given back once, it is announced at once"
    await w.do(acquire("unknown", 1))
    await w.do(c.TaskRelease(id="unknown", version=2))
    assert await give_back(w, ear, 6) <= 20_000
    assert await give_back(w, ear, 8) >= 15 * MINUTE_MS
    assert await give_back(w, ear, 1) == 5 * MINUTE_MS


async def test_what_is_only_sent_again_is_no_progress(w: World) -> None:
    """A workflow that is refused at every repetition makes its first calls again each time."""
    ear = Ear()
    w.engine.connect(GROUP, "w1", ear)
    await w.do(create("changed", target=TARGET))
    await ear.hear(1)
    for version in range(8):
        await w.do(acquire("changed", version))
        await w.do(fence("changed", version + 1, create("changed:1")))
        await w.do(c.TaskRelease(id="changed", version=version + 1))
    assert len(ear.executes) == 2, "once when created, once when given back for the first time"
    await w.pass_time(MINUTE_MS)
    assert len(ear.executes) == 3


async def test_a_newcomer_is_asked_at_once_and_before_the_others(w: World) -> None:
    old = Ear()
    w.engine.connect(GROUP, "old", old)
    await w.do(create("unknown", target=TARGET))
    await old.hear(1)
    for version in range(12):
        await w.do(acquire("unknown", version))
        await w.do(c.TaskRelease(id="unknown", version=version + 1))
    asked = len(old.messages)
    new = Ear()
    w.engine.connect(GROUP, "new", new)
    await new.hear(1)
    assert new.executes == [("unknown", 12)]
    assert len(old.messages) == asked
    await w.do(acquire("unknown", 12, pid="new"))
    await w.do(fence("unknown", 13, create("unknown:1")))
    assert (await w.engine.gauges()).outbox_executes == 0
    await w.do(c.TaskRelease(id="unknown", version=13))
    assert [one[1] for one in (*old.executes, *new.executes)].count(13) == 1, "after progress it is announced"


async def test_a_newcomer_that_does_not_know_it_either_changes_nothing(w: World) -> None:
    await w.do(create("unknown", target=TARGET))
    for version in range(12):
        await w.do(acquire("unknown", version))
        await w.do(c.TaskRelease(id="unknown", version=version + 1))
    new = Ear()
    w.engine.connect(GROUP, "new", new)
    await new.hear(1)
    await w.do(acquire("unknown", 12, pid="new"))
    await w.do(c.TaskRelease(id="unknown", version=13))
    await w.pass_time(4 * MINUTE_MS)
    assert len(new.messages) == 1
    await w.pass_time(MINUTE_MS)
    await new.hear(2)
    assert new.executes[-1] == ("unknown", 13)


async def test_what_is_held_back_outlives_the_server(tmp_path: Path) -> None:
    url, clock = f"sqlite:///{tmp_path / 'x.db'}", ManualClock()
    async with world(url, clock) as w:
        await w.do(create("unknown", target=TARGET))
        for version in range(12):
            await w.do(acquire("unknown", version))
            await w.do(c.TaskRelease(id="unknown", version=version + 1))
    async with world(url, clock) as w:
        new = Ear()
        w.engine.connect(GROUP, "new", new)
        await new.hear(1)
    assert new.executes == [("unknown", 12)]
