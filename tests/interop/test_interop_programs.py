"""Programs of the published SDKs run on our server as on the one they were written for."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.interop.conftest import require
from tests.interop.members import CLIENTS, Client, Company, Member, ProgramError
from tests.interop.wire import Wire

# Server and members live in the loop of the session.
pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(45)]

DAY_MS = 86_400_000


async def test_a_run_returns_its_result_and_is_executed_once(member: Member, name: str) -> None:
    assert await member.run(name, "chain", 3, 1) == [0, 1, 4]
    assert len(member.executions("step", name)) == 3

    assert await member.run(name, "chain", 3, 1) == [0, 1, 4]
    assert len(member.executions("step", name)) == 3
    assert (await member.ask("get", id=name))["state"] == "resolved"


async def test_an_rpc_is_executed_by_the_group_that_it_names(
    member: Member, members: Company, name: str
) -> None:
    other = await members.start(member.client)

    assert await member.run(name, "member", how="rpc", target=member.group) == member.pid
    assert await member.run(f"{name}-other", "member", how="rpc", target=other.group) == other.pid
    assert await member.run(f"{name}-within", "relay", other.group, "member") == other.pid


async def test_many_local_steps_run_side_by_side(member: Member, name: str) -> None:
    assert await member.run(name, "fan", 20) == [number**2 for number in range(20)]
    assert len(member.executions("step", name)) == 20


async def test_many_remote_calls_resume_their_caller(member: Member, members: Company, name: str) -> None:
    other = await members.start(member.client)

    assert await member.run(name, "fan_remote", other.group, 12) == list(range(12))
    assert len(other.executions("echo", name)) == 12


async def test_a_detached_call_outlives_its_caller(
    client: Client, member: Member, members: Company, name: str
) -> None:
    group = f"later-{name}"
    spawned = await member.run(name, "spawn", group, "echo", "late")
    assert (await member.ask("get", id=spawned))["state"] == "pending"

    await members.start(client, group=group)
    assert await member.result(spawned) == "late"


async def test_a_sleep_wakes_its_workflow_on_time(member: Member, name: str) -> None:
    begun = time.monotonic()
    assert await member.run(name, "nap", 400) == "woke"
    assert 0.4 <= time.monotonic() - begun < 4
    assert len(member.executions("nap", name)) == 1


async def _asked(member: Member, wire: Wire, workflow: str) -> str:
    """Return the id of the promise that a workflow waits for, once it exists."""
    [asking, *_] = await member.told(lambda event: event.get("workflow") == workflow)
    await wire.until_exists(asking["id"])
    return str(asking["id"])


@pytest.mark.parametrize("value", [{"approved": True, "by": ["Ada", "Grace"]}, "ja", 0])
async def test_a_promise_is_settled_from_outside(
    member: Member, wire: Wire, name: str, value: object
) -> None:
    await member.begin(name, "ask", DAY_MS)
    asked = await _asked(member, wire, name)

    assert await member.ask("settle", id=asked, how="resolve", value=value) == "resolved"
    assert await member.result(name) == value


async def test_a_promise_that_is_cancelled_fails_its_workflow(member: Member, wire: Wire, name: str) -> None:
    await member.begin(name, "ask", DAY_MS)
    asked = await _asked(member, wire, name)

    assert await member.ask("settle", id=asked, how="cancel", value="no more") == "rejected_canceled"
    with pytest.raises(ProgramError):
        await member.result(name)
    assert (await wire.promise(name))["state"] == "rejected"


async def test_a_promise_that_nobody_settles_times_out(member: Member, wire: Wire, name: str) -> None:
    await member.begin(name, "ask", 300)
    asked = await _asked(member, wire, name)

    with pytest.raises(ProgramError):
        await member.result(name)
    assert (await wire.promise(asked))["state"] == "rejected_timedout"


async def test_a_run_that_is_cancelled_from_outside_ends(member: Member, wire: Wire, name: str) -> None:
    await member.begin(name, "ask", DAY_MS)
    await _asked(member, wire, name)
    await member.ask("settle", id=name, how="cancel", value=None)

    with pytest.raises(ProgramError):
        await member.result(name)
    assert (await wire.task(name))["state"] == "fulfilled"


async def test_a_call_that_nobody_answers_times_out(member: Member, wire: Wire, name: str) -> None:
    with pytest.raises(ProgramError):
        await member.run(name, "echo", 1, how="rpc", target=f"nobody-{name}", timeout_ms=300)
    assert (await wire.promise(name))["state"] == "rejected_timedout"


async def test_a_failing_step_is_tried_again_by_its_policy(member: Member, name: str) -> None:
    assert await member.run(name, "persist", 2, 5) == 3
    assert [event["attempt"] for event in member.executions("flaky", name)] == [1, 2, 3]


async def test_a_step_that_goes_on_failing_fails_its_workflow(member: Member, name: str) -> None:
    with pytest.raises(ProgramError, match="attempt 2 fails"):
        await member.run(name, "persist", 9, 1)
    assert len(member.executions("flaky", name)) == 2


async def test_a_remote_failure_can_be_caught(member: Member, members: Company, name: str) -> None:
    other = await members.start(member.client)
    assert await member.run(name, "recover", other.group, "refuse", "not today") == "caught not today"
    assert len(other.executions("refuse", name)) == 1


async def test_versions_of_one_function_live_side_by_side(member: Member, name: str) -> None:
    assert await member.run(f"{name}-1", "choose", member.group, 1) == "version 1"
    assert await member.run(f"{name}-2", "choose", member.group, 2) == "version 2"


async def test_a_long_step_outlives_its_lease(client: Client, members: Company, name: str) -> None:
    one = await members.start(client, ttl_ms=600)
    two = await members.start(client, group=one.group, ttl_ms=600)

    # By rpc: TypeScript 0.11.5 does not renew what its own `run` has claimed.
    assert await one.run(name, "chain", 1, 1600, how="rpc", target=one.group) == [0]
    assert len(one.executions("step", name) + two.executions("step", name)) == 1


async def test_a_group_shares_its_work_and_a_member_can_be_addressed(
    client: Client, member: Member, members: Company, name: str
) -> None:
    one = await members.start(client, group=f"shared-{name}")
    two = await members.start(client, group=one.group)

    async def ask(number: int, target: str) -> str:
        return str(await member.run(f"{name}-{number}", "member", how="rpc", target=target))

    # Only these wait for the one member; its answer shows that its stream stands.
    assert await ask(0, f"poll://uni@{one.group}/{one.pid}") == one.pid
    assert await ask(1, f"poll://uni@{one.group}/{two.pid}") == two.pid
    alone = await asyncio.gather(
        *(ask(number, f"poll://any@{one.group}/{two.pid}") for number in range(2, 8))
    )
    assert set(alone) == {two.pid}
    shared = await asyncio.gather(*(ask(number, f"poll://any@{one.group}") for number in range(8, 16)))
    assert set(shared) == {one.pid, two.pid}


async def test_an_unregistered_function_waits_without_spinning(
    client: Client, member: Member, members: Company, wire: Wire, name: str
) -> None:
    unable = await members.start(client, functions=["member"])
    await member.begin(name, "echo", "found", how="rpc", target=unable.group)
    await wire.until_acquired(name, 3)
    begun, version = time.monotonic(), (await wire.task(name))["version"]
    await asyncio.sleep(0.8)
    spent_s = time.monotonic() - begun
    # Half a second and growing between attempts by now; a spinning worker makes hundreds.
    assert (await wire.task(name))["version"] - version <= 2 * spent_s + 1

    await members.start(client, group=unable.group, functions=["echo"])
    assert await member.result(name) == "found"


async def test_a_latent_promise_is_created_settled_and_read(member: Member, name: str) -> None:
    assert await member.ask("create", id=name, timeout_at=DAY_MS * 40_000) == "pending"
    assert await member.ask("settle", id=name, how="reject", value="refused") == "rejected"
    assert await member.ask("settle", id=name, how="resolve", value="too late") == "rejected"
    assert await member.ask("get", id=name) == {"state": "rejected", "value": "refused"}
    assert await member.ask("create", id=name, timeout_at=DAY_MS * 40_000) == "rejected"


async def test_a_deadline_in_the_past_is_settled_at_once(member: Member, name: str) -> None:
    assert await member.ask("create", id=name, timeout_at=1) == "rejected_timedout"


async def test_an_unknown_promise_is_an_error_of_the_caller(member: Member, name: str) -> None:
    with pytest.raises(ProgramError):
        await member.result(name)
    with pytest.raises(ProgramError):
        await member.ask("settle", id=name, how="resolve", value=1)


async def test_a_root_id_may_hold_dots(member: Member, wire: Wire, name: str) -> None:
    """`countdown.1` is what an SDK's own introduction uses."""
    assert await member.run(f"{name}.1", "chain", 2, 1) == [0, 1]
    assert await member.run(f"{name}.2", "fan_remote", member.group, 2) == [0, 1]
    assert (await wire.promise(f"{name}.1"))["tags"]["resonate:origin"] == f"{name}.1"


@pytest.mark.parametrize("install", ["python-0.7.4", "typescript-0.11.4"])
async def test_the_older_dialect_prefixes_all_its_ids(
    members: Company, wire: Wire, install: str, name: str
) -> None:
    older = require(next(client for client in CLIENTS if client.name == install))
    worker = await members.start(older, environment={"RESONATE_PREFIX": "team"})

    assert await worker.run(name, "fan_remote", worker.group, 3) == [0, 1, 2]
    assert (await wire.promise(f"team:{name}"))["tags"]["resonate:prefix"] == f"team:{name}"
    spawned = await worker.run(f"{name}-d", "spawn", worker.group, "echo", 1)
    assert spawned.startswith(f"team:{name}-d.d")
    await wire.until(lambda: wire.promise(spawned), lambda promise: promise["state"] == "resolved")
