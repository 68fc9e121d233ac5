"""The jobs of an execution whose worker ends at that moment: nothing begins, and nothing is left behind."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from typing import Any, cast

import pytest

from orchestrator.client.execution import Execution
from orchestrator.client.jobs import Jobs


class Awaiting:
    """An execution that waits for a remote outcome beside local work."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def is_busy(self) -> bool:
        return True

    def awaited_ids(self) -> list[str]:
        return ["far"]

    async def listen(self, promise_id: str) -> None:
        self.heard.append(promise_id)

    def rouse(self) -> None: ...


async def _in_a_group_that_ends(do: Callable[[Jobs], object]) -> Awaiting:
    """Do something with the jobs of an execution in the very turn in which its group is cancelled."""
    execution = Awaiting()

    async def run(group: asyncio.TaskGroup) -> None:
        made = Jobs(cast(Execution, execution), group)
        await asyncio.sleep(0)
        parent.cancel()
        group._abort()  # type: ignore[attr-defined] # as the parent's next turn does
        do(made)
        await asyncio.sleep(10)

    async def live() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(run(group))
            await asyncio.sleep(10)

    parent = asyncio.create_task(live())
    with pytest.raises(asyncio.CancelledError):
        await parent
    gc.collect()  # a coroutine that nobody awaits is told of here, and warnings are errors
    return execution


async def test_a_job_of_a_worker_that_has_ended_is_cancelled_before_it_begins() -> None:
    done: list[Any] = []

    async def job() -> None:
        done.append(1)

    def start(made: Jobs) -> None:
        with pytest.raises(asyncio.CancelledError):
            made.start(job)
        assert not made

    await _in_a_group_that_ends(start)
    assert not done


async def test_it_listens_no_more() -> None:
    execution = await _in_a_group_that_ends(Jobs._listen_if_busy)
    assert not execution.heard
