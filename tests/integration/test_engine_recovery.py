"""A starting engine announces again what died with the engine before it and its worker."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.engine import ManualClock
from orchestrator.protocol import commands as c
from orchestrator.store.port import Changes, LoadOutbox, Program, Write, ask
from tests.engine_world import GROUP, TARGET, Ear, World, acquire, claim, create, world

RETRY_MS = 30_000


@pytest.fixture(params=["sqlite", "postgresql"])
def lasting_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store that outlives its engine."""
    if request.param == "postgresql":
        url: str = request.getfixturevalue("postgres_url")
        return url
    return f"sqlite:///{tmp_path}/s.db"


def _announced() -> Program[dict[str, int]]:
    page = yield from ask(LoadOutbox(group=GROUP, after_task="", after_unblock=("", ""), limit=1000))
    return {row.task_id: row.version for row in page.executes}


async def announced(w: World) -> dict[str, int]:
    """Return the announcements that wait, by task."""
    return await w.store.run(lambda _: _announced(), w.now)


async def _sent(w: World) -> None:
    """Take all announcements out of the outbox, as once they have been handed to a worker."""
    changes = Changes(executes_sent=[(key, 2**62) for key in await announced(w)])
    await w.store.run(lambda _: ask(Write(changes=changes)), w.now)


async def test_what_was_sent_and_not_acquired_is_announced_by_the_next_engine(lasting_url: str) -> None:
    clock = ManualClock()
    async with world(lasting_url, clock) as w:
        ear = Ear()
        w.engine.connect(GROUP, "w1", ear)
        await w.do(create("sent", target=TARGET))
        await ear.hear(1)
        await w.do(c.PromiseGet(id="sent"))
        assert await announced(w) == {}
    async with world(lasting_url, clock) as w:
        heir = Ear()
        w.engine.connect(GROUP, "w2", heir)
        await heir.hear(1)
        assert heir.executes == [("sent", 0)]
        assert (await w.task("sent")).state.value == "pending"


async def test_what_waits_for_something_else_is_left_alone(lasting_url: str) -> None:
    clock = ManualClock()
    async with world(lasting_url, clock) as w:
        await w.do(create("soon", target=TARGET, delay=str(w.now + 5_000)))
        await w.do(create("timer", target=TARGET, timer="true", timeout_at=w.now + 5_000))
        await w.do(create("short", target=TARGET, timeout_at=w.now + 50))
        await w.do(claim("held"))
        await w.do(create("halted", target=TARGET))
        await w.do(c.TaskHalt(id="halted"))
        await w.do(claim("again"))
        await w.do(c.TaskRelease(id="again", version=1))
        await w.do(create("queued", target=TARGET))
        await _sent(w)
        await w.do(create("fresh", target=TARGET))
        clock.advance(100)
    async with world(lasting_url, clock) as w:
        assert await announced(w) == {"again": 1, "queued": 0, "fresh": 0}
        await w.do(acquire("queued", 0))
        await w.pass_time(5_000)
        assert await announced(w) == {"again": 1, "fresh": 0, "soon": 0}


async def test_a_start_looks_at_a_bounded_number_of_timers(lasting_url: str) -> None:
    clock = ManualClock()
    async with world(lasting_url, clock) as w:
        for number in range(30):
            await w.do(create(f"p{number:02}", target=TARGET))
            clock.advance(1)
        await _sent(w)
    async with world(lasting_url, clock, tick_page=4, announce_again_max=10) as w:
        # Whole pages, the earliest timers first; the others wait for theirs.
        assert sorted(await announced(w)) == [f"p{number:02}" for number in range(12)]
        await _sent(w)
        await w.pass_time(RETRY_MS)
        assert len(await announced(w)) == 30
