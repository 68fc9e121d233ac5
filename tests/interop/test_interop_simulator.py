"""Another server: what the published TypeScript SDK carries as its in-process server, behind HTTP and SSE.

Our workers, the listener's dispatch and the scoring workflow run on it unchanged and without extensions, to
the same record as on ours. So users can leave for a Resonate server.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from contracts.bindings import proposal_scores
from listener import Listener, ListenerSettings, SqliteCursorStore
from listener.invocation import ProposalRequest
from orchestrator import Context, Orchestrator, Refused
from orchestrator.engine import Engine
from orchestrator.protocol.commands import Describe
from orchestrator.store.memory import MemoryStore
from orchestrator.testing import ExecutionLog
from orchestrator.transport.http import HttpTransport
from scorers.registration import register_scoring
from tests.integration.server_support import served
from tests.integration.test_sdk_cuts import (
    EXTERNAL,
    WORKFLOWS,
    application,
    approve,
    outcome_of,
    starting_over,
    uncut,
)
from tests.interop.conftest import require
from tests.interop.members import CLIENTS, INSTALLED, PROGRAMS, Company
from tests.interop.wire import Wire
from tests.scorers_chain import FAST, RETRY, Support, World, world

pytestmark = pytest.mark.timeout(90)
TYPESCRIPT = next(client for client in CLIENTS if client.name == "typescript-0.11.5")
START_TIMEOUT_S = 15.0
SETTLED_TIMEOUT_S = 30.0

Record = dict[str, Any]
Shown = dict[str, tuple[object, ...]]


@asynccontextmanager
async def simulator() -> AsyncIterator[str]:
    """Run the SDK's server as a process of its own; yields its URL."""
    require(TYPESCRIPT)
    packages = INSTALLED / TYPESCRIPT.install
    process = await asyncio.create_subprocess_exec(
        str(INSTALLED / "node" / "bin" / "node"),
        str(PROGRAMS / "simulator.mjs"),
        json.dumps({"packages": str(packages)}),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(START_TIMEOUT_S):
            yield json.loads(await process.stdout.readline())["url"]
    finally:
        process.kill()
        await process.wait()


@pytest.fixture
async def other() -> AsyncIterator[str]:
    """The URL of the other server."""
    async with simulator() as url:
        yield url


async def stored(url: str) -> list[Record]:
    """Return every promise there, as soon as none is open; one without search is asked for a snapshot."""
    async with aiohttp.ClientSession() as session, asyncio.timeout(SETTLED_TIMEOUT_S):
        wire = Wire(url, session)
        while True:
            status, data = await wire.call("promise.search", limit=1000)
            if status == 501:
                status, data = await wire.call("debug.snap")
            assert status == 200
            if all(promise["state"] != "pending" for promise in data["promises"]):
                return list(data["promises"])
            for promise in data["promises"]:
                if promise["state"] == "pending":
                    # It watches no deadline of a promise without a target, but answers rightly (P3).
                    await wire.call("promise.get", id=promise["id"])
            await asyncio.sleep(0.05)


def shown(record: Record) -> tuple[object, ...]:
    """What W3 speaks of: not times, attempts or task versions."""
    return record["state"], _filled(record["param"]), _filled(record["value"])


def _filled(value: Record | None) -> Record:
    return {key: part for key, part in (value or {}).items() if part}


async def test_it_knows_no_extension(other: str) -> None:
    transport = HttpTransport(other)
    try:
        with pytest.raises(Refused) as refused:
            await transport.call(Describe())
    finally:
        await transport.close()
    assert refused.value.status == 400


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda workflow: workflow.__name__)
async def test_workflows_come_to_the_same_record(workflow: Callable[..., Any], other: str) -> None:
    outcome, tree = await uncut(MemoryStore(), workflow)
    transport = HttpTransport(other)
    await approve(transport)  # type: ignore[arg-type] - it needs no more than a transport
    async with application(transport, ExecutionLog()) as app, asyncio.timeout(SETTLED_TIMEOUT_S):
        assert await outcome_of(app, workflow) == outcome
        there = {record["id"]: shown(record) for record in await stored(other)}
    await transport.close()
    # It has no extension by which a workflow that starts over forgets what came before: it keeps all.
    assert set(there) > set(tree) if workflow is starting_over else set(there) == set(tree)
    for promise_id, (state, param, value) in tree.items():  # type: ignore[misc] - they are shown as triples
        # What chance or clock gave is told as None.
        theirs = there[promise_id] if value is not None else (*there[promise_id][:2], None)
        assert theirs == (str(state), _plain(param), value and _plain(value)), promise_id


def _plain(value: Any) -> Record:
    return _filled({"headers": dict(value.headers or {}), "data": value.data})


async def test_a_worker_goes_on_where_another_was_killed(other: str) -> None:
    log = ExecutionLog()
    reached = asyncio.Event()

    def first() -> str:
        return "once"

    async def second() -> str:
        reached.set()
        return "done"

    async def flow(ctx: Context) -> list[str]:
        started = await ctx.run(first)
        await ctx.sleep(0.3)
        answer = await ctx.promise(EXTERNAL)
        return [started, answer, await ctx.run(second)]

    def worker() -> Orchestrator:
        app = Orchestrator.remote(other, group="g", ttl_ms=1_000)
        app.register(flow)
        app.observe(log)
        return app

    doomed = worker()
    await doomed.start()
    await doomed.begin_run("w", flow)
    async with asyncio.timeout(SETTLED_TIMEOUT_S):
        while not log.finished["w:1"]:  # noqa: ASYNC110 - the step is told of by an observer
            await asyncio.sleep(0.01)
        await doomed.abort()
        async with worker() as app:
            await app.promises.create(EXTERNAL)
            await app.promises.resolve(EXTERNAL, "yes")
            assert await (await app.get("w")).result() == ["once", "yes", "done"]
    assert not log.again_after_settling
    assert log.started["w:1"] == 1


async def test_a_suspended_workflow_holds_no_room_in_its_worker(other: str) -> None:
    """More workflows that wait for a promise of another origin than the worker executes at once."""

    async def flow(ctx: Context, number: int) -> int:
        return number + int(await ctx.promise("gate"))

    app = Orchestrator.remote(other, group="g", concurrency=2)
    app.register(flow)
    async with app, asyncio.timeout(SETTLED_TIMEOUT_S):
        handles = [await app.begin_rpc(f"w{number}", flow, number) for number in range(8)]
        await _suspended(other, 8)
        await app.promises.create("gate")
        await app.promises.resolve("gate", 100)
        assert [await handle.result() for handle in handles] == list(range(100, 108))


async def _suspended(url: str, count: int) -> None:
    async with aiohttp.ClientSession() as session:
        wire = Wire(url, session)
        while True:
            _, data = await wire.call("debug.snap")
            if sum(task["state"] == "suspended" for task in data["tasks"]) == count:
                return
            await asyncio.sleep(0.02)


async def test_their_worker_and_ours_are_in_one_call_graph(other: str) -> None:
    members = Company(other)
    try:
        theirs = await members.start(TYPESCRIPT)

        async def flow(ctx: Context) -> list[int]:
            calls = [ctx.options(target=theirs.group).begin_rpc("echo", number) for number in range(3)]
            return await ctx.gather(*calls)

        app = Orchestrator.remote(other, group="ours")
        app.register(flow)
        async with app, asyncio.timeout(SETTLED_TIMEOUT_S):
            assert await app.run("w", flow) == [0, 1, 2]
    finally:
        await members.end()


@asynccontextmanager
async def scorer_and_listener(made: World, url: str, cursor: Path) -> AsyncIterator[Orchestrator]:
    """Run the application as its commands do: a worker and a listener, clients of the server at `url`."""
    group = "proposal-scorers"
    settings = ListenerSettings(
        chain_id=made.chain_id,
        dao=made.dao,
        registry=made.registry,
        start_block=0,
        target=f"poll://any@{group}",
        poll_interval_s=0.05,
    )
    worker = Orchestrator.remote(url, group=group)
    register_scoring(worker, node=made.node, signer=made.signer, sending=FAST, retry=RETRY)
    client = Orchestrator.remote(url, group="listener", worker=False)
    stop = asyncio.Event()
    async with (
        worker,
        client,
        await SqliteCursorStore.open(cursor) as store,
        asyncio.TaskGroup() as tasks,
    ):
        listening = tasks.create_task(Listener(settings, made.node, client, store).run(stop))
        try:
            yield client
        finally:
            stop.set()
            await listening


async def scored_at(made: World, url: str, cursor: Path, request: ProposalRequest) -> Shown:
    """Score what has been proposed on the chain; return what the server holds then."""
    async with scorer_and_listener(made, url, cursor) as client, asyncio.timeout(SETTLED_TIMEOUT_S):
        while True:
            try:
                handle = await client.get(request.promise_id)
                break
            except Refused:
                await asyncio.sleep(0.05)
        await handle.result()
        return {record["id"]: shown(record) for record in await stored(url)}


async def test_a_proposal_is_listened_for_scored_and_submitted(other: str, tmp_path: Path) -> None:
    """The whole application on both servers, from one state of the chain."""
    async with world() as made:
        await made.reputations({2: 10, 3: 20})
        request = await made.propose()
        await made.mine()
        await made.vote(2, request, Support.FOR)
        await made.vote(3, request, Support.AGAINST)
        await made.mine(25)
        snapshot = await made.node.request("evm_snapshot", [])
        there = await scored_at(made, other, tmp_path / "there.db", request)
        assert await made.node.request("evm_revert", [snapshot])
        async with Engine(MemoryStore()) as engine, served(engine) as url:
            here = await scored_at(made, url, tmp_path / "here.db", request)
        head = await made.node.header("latest")
        submitted = proposal_scores.SCORE_SUBMITTED
        logs = await made.node.logs(made.registry, [submitted.topic0], 0, head.number)
    assert len(logs) == 1
    assert len(there) > 10
    assert there == here
