"""The reminder sleeps for days, by a clock on which days pass in a moment."""

from __future__ import annotations

import asyncio

import pytest

from examples.reminder.reminder import DAY_S, reminders
from orchestrator import Orchestrator
from orchestrator.testing import VirtualClock, local


async def reminded(*, done_after_s: float | None) -> str:
    app = Orchestrator.local(":memory:")
    app.register(reminders)
    async with local(app) as runtime:
        handle = await runtime.begin_run("reminder-rent", reminders, "rent", "pay the rent", 3 * DAY_S, 4)
        if done_after_s is not None:
            await asyncio.sleep(done_after_s)
            await runtime.promises.resolve("done-rent", True)
        return await handle.result()


def test_it_gives_up_after_twelve_days(capsys: pytest.CaptureFixture[str]) -> None:
    clock = VirtualClock()
    assert clock.run(reminded(done_after_s=None)) == "given up after 4 reminders"
    assert capsys.readouterr().out.splitlines() == [
        f"reminder {number}: pay the rent" for number in (1, 2, 3, 4)
    ]


async def test_it_ends_when_it_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    assert await reminded(done_after_s=7 * DAY_S) == "done after 2 reminders"
    assert len(capsys.readouterr().out.splitlines()) == 2
