"""Our own workers and those of the published SDKs, in one call graph and in one group."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from orchestrator import Info, Orchestrator
from orchestrator.domain.errors import ApplicationError
from tests.interop.conftest import require
from tests.interop.members import CLIENTS, Client, Company, Member, ProgramError
from tests.interop.ours import register
from tests.interop.wire import Wire

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(45)]

VALUES: list[Any] = [
    None,
    True,
    0,
    -(2**53) + 1,
    0.5,
    "",
    "Grüße, 世界 \U0001f680 \u2028",
    [],
    [1, [2, [3]], None],
    {},
    {"nested": {"list": [1, "two", 3.5, False, None]}, "a key with spaces": 1},
]
"""What JSON itself knows: it means the same to every SDK."""


PYTHON = next(client for client in CLIENTS if client.name == "python-0.8.1")


def recording_step(ran: list[str]) -> Callable[..., Awaitable[int]]:
    """Return the function `step`, which notes the promise of each execution."""

    async def step(info: Info, number: int, pause_ms: int) -> int:
        ran.append(info.promise_id)
        await asyncio.sleep(pause_ms / 1000)
        return number * number

    return step


async def test_values_survive_the_way_through_both(member: Member, ours: Orchestrator, name: str) -> None:
    there = await asyncio.gather(
        *(
            ours.options(target=member.group).rpc(f"{name}-there-{number}", "echo", value)
            for number, value in enumerate(VALUES)
        )
    )
    assert there == VALUES
    back = [
        await member.run(f"{name}-back-{number}", "echo", value, how="rpc", target=ours.group)
        for number, value in enumerate(VALUES)
    ]
    assert back == VALUES


async def test_values_beyond_json_come_back_to_us_as_they_were(
    member: Member, ours: Orchestrator, name: str
) -> None:
    values = [2**200, (1, 2), b"\x00\xff", {1: "one"}]
    back = [
        await ours.options(target=member.group).rpc(f"{name}-{number}", "echo", value)
        for number, value in enumerate(values)
    ]
    assert back == values


async def test_calls_go_to_and_fro_in_one_graph(
    member: Member, ours: Orchestrator, wire: Wire, name: str
) -> None:
    """Ours calls theirs, theirs calls ours, and that one theirs again."""
    arguments = (ours.group, "relay", member.group, "chain", 3, 1)
    result = await ours.options(target=ours.group).rpc(name, "relay", member.group, "relay", *arguments)
    assert result == [0, 1, 4]

    assert await member.run(f"{name}-back", "relay", ours.group, "relay", member.group, "chain", 3, 1) == [
        0,
        1,
        4,
    ]
    status, data = await wire.call("promise.search", tags={"resonate:origin": name}, limit=100)
    assert status == 200
    # The four workflows and the three steps of the last one, all in one lineage.
    assert len(data["promises"]) == 7
    assert {promise["state"] for promise in data["promises"]} == {"resolved"}


async def test_fanning_out_to_the_other_side(member: Member, ours: Orchestrator, name: str) -> None:
    theirs = ours.options(target=member.group)
    assert await theirs.rpc(name, "fan_remote", ours.group, 10) == list(range(10))
    assert await ours.run(f"{name}-ours", "fan_remote", member.group, 10) == list(range(10))


async def test_detached_calls_reach_the_other_side(member: Member, ours: Orchestrator, name: str) -> None:
    spawned = await member.run(name, "spawn", ours.group, "echo", "from them")
    assert await (await ours.get(spawned)).result() == "from them"
    spawned = await ours.run(f"{name}-ours", "spawn", member.group, "echo", "from us")
    assert await member.result(spawned) == "from us"


async def test_failures_keep_their_message_across(member: Member, ours: Orchestrator, name: str) -> None:
    with pytest.raises(ApplicationError, match="their fault") as caught:
        await ours.options(target=member.group).rpc(name, "refuse", "their fault")
    assert caught.value.message == "their fault"
    with pytest.raises(ProgramError, match="our fault"):
        await member.run(f"{name}-2", "refuse", "our fault", how="rpc", target=ours.group)

    assert await ours.run(f"{name}-3", "recover", member.group, "refuse", "one") == "caught one"
    assert await member.run(f"{name}-4", "recover", ours.group, "refuse", "two") == "caught two"


async def test_promises_are_settled_across(member: Member, ours: Orchestrator, wire: Wire, name: str) -> None:
    await member.begin(name, "ask", 60_000)
    [asking] = await member.told(lambda event: event.get("workflow") == name)
    await wire.until_exists(asking["id"])
    await ours.promises.resolve(asking["id"], {"by": "us"})
    assert await member.result(name) == {"by": "us"}
    assert await (await ours.get(name)).result() == {"by": "us"}


async def test_one_group_holds_workers_of_both(
    client: Client, server: str, member: Member, members: Company, name: str
) -> None:
    """Each can do what the other cannot: what one gives back is offered to the other."""
    theirs = await members.start(client, functions=["chain", "step", "member"])
    app = register(Orchestrator.remote(server, group=theirs.group), ["echo", "relay", "fan_remote"])
    async with app:
        assert await member.run(f"{name}-e", "echo", 1, how="rpc", target=app.group) == 1
        assert await member.run(f"{name}-m", "member", how="rpc", target=app.group) == theirs.pid
        graph = member.run(f"{name}-g", "relay", app.group, "chain", 3, 1, how="rpc", target=app.group)
        assert await graph == [0, 1, 4]
        fan = member.run(f"{name}-f", "fan_remote", app.group, 6, how="rpc", target=app.group)
        assert await fan == list(range(6))


async def test_all_published_sdks_and_ours_make_one_chain_of_calls(
    ours: Orchestrator, server: str, members: Company, name: str
) -> None:
    """A call that goes through every SDK, of both id dialects and both languages, and back."""
    present = [await members.start(require(client)) for client in CLIENTS]
    hops: list[str] = []
    for worker in present:
        hops += [worker.group, "relay", ours.group, "relay"]
    result = await ours.run(name, "relay", *hops[:-1], "echo", "through all")
    assert result == "through all"


async def test_our_worker_goes_on_where_a_killed_one_of_theirs_was(
    client: Client, server: str, member: Member, members: Company, name: str
) -> None:
    victim = await members.start(client, ttl_ms=1000)
    await member.begin(name, "chain", 5, 150, how="rpc", target=victim.group)
    await victim.told(lambda event: event.get("function") == "step", 3)
    await victim.kill()

    ran: list[str] = []
    app = register(Orchestrator.remote(server, group=victim.group), ["chain"])
    app.register(recording_step(ran), name="step")
    async with app:
        assert await member.result(name) == [0, 1, 4, 9, 16]
    # W1: what had settled there is not executed again here, whatever dialect named it.
    assert len(ran) <= 3, ran


async def test_one_of_theirs_goes_on_where_our_killed_worker_was(
    server: str, members: Company, wire: Wire, name: str
) -> None:
    """By the one SDK that names children as ours does (docs/interoperability.md)."""
    ran: list[str] = []
    app = register(Orchestrator.remote(server, group=f"passing-{name}", ttl_ms=1000), ["chain"])
    app.register(recording_step(ran), name="step")
    await app.start()
    await app.begin_rpc(name, "chain", 5, 150)
    await wire.until_exists(f"{name}:3")
    await app.abort()

    heir = await members.start(require(PYTHON), group=app.group)
    assert await heir.result(name) == [0, 1, 4, 9, 16]
    assert len(ran) + len(heir.executions("step", name)) <= 6
