"""Programs of the published SDKs do not notice a request to end; termination is a settled promise to them."""

from __future__ import annotations

import pytest

from tests.interop.members import Client, Company, Member, ProgramError
from tests.interop.wire import Wire

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(45)]


async def test_a_request_to_end_is_not_noticed(
    client: Client, member: Member, members: Company, wire: Wire, name: str
) -> None:
    worker = await members.start(client)
    await member.begin(name, "ask", 60_000, how="rpc", target=worker.group)
    [asking] = await worker.told(lambda event: event["event"] == "asking")
    await wire.until(lambda: wire.task(name), lambda task: task["state"] == "suspended")
    status, data = await wire.call("promise.cancel", id=name)
    assert (status, data["promise"]["state"]) == (200, "pending")
    # It is dispatched, repeats itself, and rests again.
    await wire.until(
        lambda: wire.task(name), lambda task: (task["version"], task["state"]) == (2, "suspended")
    )
    assert (await wire.task(name))["cancelled"]
    assert await member.ask("settle", id=asking["id"], how="resolve", value="yes") == "resolved"
    assert await member.result(name) == "yes"


async def test_a_terminated_tree_is_a_settled_promise(
    client: Client, member: Member, members: Company, wire: Wire, name: str
) -> None:
    worker = await members.start(client)
    await member.begin(name, "ask", 60_000, how="rpc", target=worker.group)
    [asking] = await worker.told(lambda event: event["event"] == "asking")
    await wire.until(lambda: wire.task(name), lambda task: task["state"] == "suspended")
    status, data = await wire.call("promise.terminate", id=name)
    assert (status, data["promise"]["state"]) == (200, "rejected_canceled")
    assert (await wire.promise(asking["id"]))["state"] == "rejected_canceled"
    with pytest.raises(ProgramError):
        await member.result(name)
