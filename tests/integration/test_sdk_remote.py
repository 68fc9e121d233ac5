"""The same workflows through a server and without extensions: outcome and record are the same."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from orchestrator import ApplicationError, Context, Orchestrator, Refused
from orchestrator.engine import Engine
from orchestrator.protocol.commands import (
    Command,
    Describe,
    PromiseRecordStep,
    PromiseSearch,
    TaskFence,
    TaskSuspend,
)
from orchestrator.protocol.transport import Receiver
from orchestrator.store.memory import MemoryStore
from orchestrator.testing import ExecutionLog
from orchestrator.transport.http import HttpTransport
from orchestrator.transport.local import LocalTransport
from tests.integration.server_support import served
from tests.integration.test_sdk_cuts import (
    EXTERNAL,
    WORKFLOWS,
    application,
    approve,
    engine_on,
    outcome_of,
    settled_tree,
    shown,
    uncut,
)


class Published:
    """An engine that knows the published protocol only.

    It may refuse to wake a task for a promise of another origin, and to search: `refused` counts the first.
    """

    def __init__(self, inner: LocalTransport, *, strict: bool = False) -> None:
        self.inner = inner
        self.strict = strict
        self.refused = 0

    async def call(self, command: Command[Any]) -> Any:
        fenced = isinstance(command, TaskFence) and isinstance(command.action, PromiseRecordStep)
        if isinstance(command, Describe) or fenced:
            raise Refused(400, f"Unknown operation: {command.KIND}")
        if self.strict and isinstance(command, TaskSuspend) and _awaits_external(command):
            self.refused += 1
            raise Refused(400, "Awaited and awaiter must have the same origin")
        if self.strict and isinstance(command, PromiseSearch):
            raise Refused(501, "Not implemented")
        return await self.inner.call(command)

    def connect(self, group: str, pid: str, receive: Receiver) -> AbstractAsyncContextManager[None]:
        return self.inner.connect(group, pid, receive)

    async def close(self) -> None: ...


def _awaits_external(command: TaskSuspend) -> bool:
    return any(action.awaited == EXTERNAL for action in command.actions)


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda workflow: workflow.__name__)
async def test_without_extensions(workflow: Callable[..., Any]) -> None:
    expected = await uncut(MemoryStore(), workflow)
    async with engine_on(MemoryStore()) as transport, asyncio.timeout(10):
        await approve(transport)
        async with application(Published(transport), ExecutionLog()) as app:
            outcome = await outcome_of(app, workflow)
            assert (outcome, shown(await settled_tree(transport))) == expected


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda workflow: workflow.__name__)
async def test_through_a_server(workflow: Callable[..., Any]) -> None:
    expected = await uncut(MemoryStore(), workflow)
    async with Engine(MemoryStore()) as engine, served(engine) as url, asyncio.timeout(15):
        local = LocalTransport(engine)
        await approve(local)
        http = HttpTransport(url)
        async with application(http, ExecutionLog()) as app:
            outcome = await outcome_of(app, workflow)
            assert (outcome, shown(await settled_tree(local))) == expected
        await http.close()


async def test_a_promise_settled_later_wakes_a_task_held_without_extensions() -> None:
    async def flow(ctx: Context) -> int:
        return int(await ctx.promise(EXTERNAL))

    async with engine_on(MemoryStore()) as transport, asyncio.timeout(10):
        published = Published(transport, strict=True)
        app = Orchestrator(transport=published)
        app.register(flow)
        async with app:
            handle = await app.begin_run("w", flow)
            while not published.refused:  # noqa: ASYNC110 - the engine is about to be asked
                await asyncio.sleep(0.01)
            await approve(transport)
            assert await handle.result() == 21
            # Once refused is enough: nobody else's promise is offered to this engine again.
            assert await app.run("w2", flow) == 21
    assert published.refused == 1


async def test_commitments_are_closed_without_a_search() -> None:
    async def double(number: int) -> int:
        return number * 2

    async def flow(ctx: Context) -> tuple[int, str]:
        first = await ctx.run(double, 1)
        await ctx.sleep(0.01)
        second = await ctx.run(double, first)
        closing = await ctx.close_commitments(b"\x01" * 32)
        return second, closing.root.hex()

    async def closed(published: Callable[[LocalTransport], Any]) -> Any:
        async with engine_on(MemoryStore()) as transport, asyncio.timeout(10):
            app = Orchestrator(transport=published(transport))
            app.register(double, commit=True)
            app.register(flow)
            async with app:
                return await app.run("w", flow)

    assert await closed(lambda inner: Published(inner, strict=True)) == await closed(lambda inner: inner)


async def test_more_steps_than_one_preload_holds_are_not_run_again() -> None:
    async def leaf(number: int) -> int:
        return number

    async def flow(ctx: Context) -> int:
        total = sum([await ctx.run(leaf, number) for number in range(2_500)])
        return total + await ctx.promise(EXTERNAL)

    log = ExecutionLog()
    async with engine_on(MemoryStore()) as transport, asyncio.timeout(30):
        app = Orchestrator(transport=transport)
        app.register(flow)
        app.observe(log)
        async with app:
            handle = await app.begin_run("w", flow)
            async with Orchestrator(transport=transport, worker=False) as hand:
                while log.finished["w:2500"] == 0:  # noqa: ASYNC110 - the workflow is about to suspend
                    await asyncio.sleep(0.01)
                await hand.promises.create(EXTERNAL)
                await hand.promises.resolve(EXTERNAL, 1)
            assert await handle.result() == sum(range(2_500)) + 1
    assert set(log.started.values()) == {1}


async def test_a_server_that_comes_later_is_waited_for() -> None:
    async def leaf() -> str:
        return "there"

    async with Engine(MemoryStore()) as engine:
        async with served(engine) as url:
            port = int(url.rsplit(":", 1)[1])
        app = Orchestrator.remote(url)
        app.register(leaf)
        starting = asyncio.create_task(app.start())
        await asyncio.sleep(0.1)
        assert not starting.done()
        async with served(engine, port=port), asyncio.timeout(15):
            await starting
            assert await app.run("w", leaf) == "there"
            await app.stop()


@pytest.mark.parametrize("times", [1, 3])
async def test_a_result_beyond_the_servers_limit_fails_its_step_and_runs_once(times: int) -> None:
    log = ExecutionLog()
    async with Engine(MemoryStore()) as engine, served(engine) as url, asyncio.timeout(30):
        app = Orchestrator.remote(url)
        app.observe(log)

        @app.register
        async def large() -> str:
            return "x" * (times * 7 * 1024 * 1024)

        @app.register
        async def flow(ctx: Context) -> str:
            try:
                await ctx.run(large)
            except ApplicationError as error:
                return error.message
            return "stored"

        async with app:
            assert "too large" in await app.run("w", flow)
    assert log.started == {"w:1": 1}
