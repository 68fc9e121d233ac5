"""Programs of the published SDKs run on our server as on the one they were written for."""

from __future__ import annotations

import pytest

from tests.interop.members import Member

# Server and members live in the loop of the session.
pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_run_returns_its_result_and_is_executed_once(member: Member, name: str) -> None:
    assert await member.run(name, "chain", 3, 1) == [0, 1, 4]
    assert len(member.executions("step", name)) == 3

    assert await member.run(name, "chain", 3, 1) == [0, 1, 4]
    assert len(member.executions("step", name)) == 3
    assert (await member.ask("get", id=name))["state"] == "resolved"
