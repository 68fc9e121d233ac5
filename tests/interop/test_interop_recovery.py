"""Programs of the published SDKs live through the death of a worker and of the server (SIGKILL)."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

from scorers.processes import family
from tests.interop.conftest import serve
from tests.interop.members import CLIENTS, Client, Company, Member, company
from tests.interop.wire import TIMEOUT_S, Wire

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(45)]

TTL_MS = 1000


async def test_another_worker_goes_on_where_a_killed_one_was(
    client: Client, member: Member, members: Company, name: str
) -> None:
    victim = await members.start(client, ttl_ms=TTL_MS)
    await member.begin(name, "chain", 5, 150, how="rpc", target=victim.group)
    await victim.told(lambda event: event.get("function") == "step", 3)
    await victim.kill()
    heir = await members.start(client, group=victim.group, ttl_ms=TTL_MS)

    assert await member.result(name) == [0, 1, 4, 9, 16]
    executed = Counter(event["number"] for event in victim.executions("step", name))
    executed.update(event["number"] for event in heir.executions("step", name))
    # W1: what had settled is not executed again; at most one step was under way.
    assert set(executed) == set(range(5))
    assert executed.total() <= 6, executed


async def test_a_suspended_workflow_needs_none_of_its_workers(
    client: Client, member: Member, members: Company, wire: Wire, name: str
) -> None:
    victim = await members.start(client)
    await member.begin(name, "ask", 60_000, how="rpc", target=victim.group)
    [asking] = await victim.told(lambda event: event["event"] == "asking")
    await wire.until(lambda: wire.task(name), lambda task: task["state"] == "suspended")
    await victim.kill()
    assert await member.ask("settle", id=asking["id"], how="resolve", value="yes") == "resolved"

    await members.start(client, group=victim.group)
    assert await member.result(name) == "yes"


async def _prepared(member: Member, wire: Wire) -> str:
    """Have a member wait for everything that a server may die under; return the root of the ids."""
    root = f"k-{uuid.uuid4().hex[:12]}"
    await member.begin(f"{root}-nap", "nap", 1500, how="rpc", target=member.group)
    await member.begin(f"{root}-ask", "ask", 120_000, how="rpc", target=member.group)
    await wire.until(lambda: wire.task(f"{root}-ask"), lambda task: task["state"] == "suspended")
    await wire.until(lambda: wire.task(f"{root}-nap"), lambda task: task["state"] == "suspended")
    await member.begin(f"{root}-steps", "chain", 6, 100, how="rpc", target=member.group)
    await member.told(lambda event: event.get("function") == "step", 2)
    return root


async def _finished(member: Member, root: str) -> None:
    [asking, *_] = await member.told(lambda event: event.get("workflow") == f"{root}-ask")
    await member.ask("settle", id=asking["id"], how="resolve", value="after all")
    assert await member.result(f"{root}-nap") == "woke"
    assert await member.result(f"{root}-ask") == "after all"
    assert await member.result(f"{root}-steps") == [0, 1, 4, 9, 16, 25]
    executed = Counter(event["number"] for event in member.executions("step", root))
    assert set(executed) == set(range(6))
    # One step may have ended without a server to tell.
    assert executed.total() <= 7, f"{member.client.name}: {executed}"


async def test_everyone_goes_on_after_the_server_was_killed(tmp_path: Path) -> None:
    installed = [client for client in CLIENTS if client.installed]
    if not installed:
        pytest.skip("no published SDK is installed: make interop-clients")
    async with AsyncExitStack() as stack:
        children = await stack.enter_async_context(family(tmp_path))
        server = await serve(children, tmp_path)
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        session = await stack.enter_async_context(aiohttp.ClientSession(timeout=timeout))
        wire = Wire(server.where, session)
        made = await company(stack, server.where)
        present = [await made.start(client, ttl_ms=TTL_MS) for client in installed]
        roots = await asyncio.gather(*(_prepared(member, wire) for member in present))

        await server.kill()
        await asyncio.sleep(0.3)  # the members notice
        await serve(children, tmp_path, port=URL(server.where).port or 0)
        await asyncio.gather(*(_finished(member, root) for member, root in zip(present, roots, strict=True)))
