"""Schedules that the published SDKs create fire, and what they fire runs to its end."""

from __future__ import annotations

from typing import Any

import pytest

from tests.interop.members import Member
from tests.interop.wire import Wire

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(45)]

EVERY_SECOND = "* * * * * *"


async def test_a_schedule_invokes_its_function_until_it_is_deleted(
    member: Member, wire: Wire, name: str
) -> None:
    if not await wire.knows("schedule.get", id=name):
        pytest.skip("this server answers 'Unknown operation' to schedules")
    answer = await member.ask(
        "schedule", id=name, cron=EVERY_SECOND, function="chain", args=[2, 1], target=member.group
    )
    assert answer == EVERY_SECOND

    async def fired() -> list[dict[str, Any]]:
        status, data = await wire.call("promise.search", tags={"resonate:schedule": name})
        assert status == 200
        return list(data["promises"])

    await wire.until(fired, lambda runs: len(runs) >= 2)
    await member.ask("unschedule", id=name)
    assert (await wire.call("schedule.get", id=name))[0] == 404

    first, *_ = await fired()
    settled = await wire.until(lambda: wire.promise(first["id"]), lambda run: run["state"] != "pending")
    assert settled["state"] == "resolved"
    assert settled["tags"]["resonate:origin"] == first["id"]
    assert len(member.executions("step", first["id"])) == 2
