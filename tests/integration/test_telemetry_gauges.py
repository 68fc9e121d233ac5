"""What is open, by state and group: the same from every store, and counted no more than it is worth."""

import asyncio

import pytest

from orchestrator.domain.task import TaskState
from orchestrator.server.gauges import GROUPS_MAX, OTHERS, URL, OpenWork, shown
from orchestrator.store import StoreError
from orchestrator.store.port import Gauges
from tests.engine_world import TARGET, World, acquire, claim, create, settle


def lines(gauges: Gauges) -> dict[str, float]:
    return {
        ",".join([metric.name.removeprefix("orchestrator_"), *sample.labels.values()]): sample.value
        for metric in shown(gauges)
        for sample in metric.samples
    }


async def test_tasks_by_state_and_group_and_the_oldest_that_waits(w: World) -> None:
    began = w.now
    await w.do(create("first", target=TARGET))
    await w.do(create("timer", target=TARGET, timer="true", timeout_at=began + 1_000_000))
    await w.do(create("later", target=TARGET, delay=str(began + 60_000)))
    await w.do(create("soon", target="poll://any@others/one", delay=str(began + 5_000)))
    await w.do(create("pushed", target="http://127.0.0.1:1/hook"))
    await w.pass_time(10_000)
    await w.do(create("second", target=TARGET))
    await w.do(claim("held"))
    await w.do(claim("done"))
    await w.do(settle("done"))
    found = lines(await w.engine.gauges())
    assert found["tasks,pending,workers"] == 4
    assert found["tasks,acquired,workers"] == 1
    assert found["tasks,pending,others"] == 1
    assert found[f"tasks,pending,{URL}"] == 1
    assert found["oldest_pending_seconds,workers"] == 10
    assert found["oldest_pending_seconds,others"] == 5
    await w.do(acquire("first", 0))
    found = lines(await w.engine.gauges())
    assert found["oldest_pending_seconds,workers"] == 0, "taken once, it does not count as waiting"
    await w.do(acquire("second", 0))
    assert "oldest_pending_seconds,workers" not in lines(await w.engine.gauges())


def test_groups_beyond_a_number_share_a_label() -> None:
    tasks = {(TaskState.PENDING, f"poll://any@g{number:03}"): 1 for number in range(GROUPS_MAX + 50)}
    tasks[TaskState.PENDING, "poll://any@large"] = 1000
    gauges = Gauges(
        counted_at=9, tasks=tasks, waiting_since={}, outbox_executes=0, outbox_unblocks=0, promises_pending=0
    )
    found = {name: value for name, value in lines(gauges).items() if name.startswith("tasks")}
    assert len(found) == GROUPS_MAX + 1
    assert found["tasks,pending,large"] == 1000
    assert found[f"tasks,pending,{OTHERS}"] == 51


class Costly:
    """An engine whose count takes a while, or fails."""

    def __init__(self, *, fails: bool = False) -> None:
        self.counts = 0
        self.fails = fails

    async def gauges(self) -> Gauges:
        self.counts += 1
        await asyncio.sleep(0.02)
        if self.fails:
            raise StoreError("the store is away")
        return Gauges(
            counted_at=0,
            tasks={},
            waiting_since={},
            outbox_executes=self.counts,
            outbox_unblocks=0,
            promises_pending=0,
        )


@pytest.mark.parametrize("fails", [False, True])
async def test_scraping_often_costs_no_more(fails: bool) -> None:
    engine = Costly(fails=fails)
    work = OpenWork(engine)  # type: ignore[arg-type]  # of the engine it uses one method
    found = await asyncio.gather(*(work.gauges() for _ in range(50)))
    assert engine.counts == 1
    assert {None if one is None else one.outbox_executes for one in found} == {None if fails else 1}
