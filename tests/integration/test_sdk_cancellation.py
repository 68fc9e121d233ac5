"""Workflows that are asked to end: Cancelled at an await, recorded there; clean-up that may be durable."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from orchestrator import ApplicationError, Cancelled, Context, Info, Orchestrator, PromiseCanceled
from orchestrator.client.application import Runner
from orchestrator.domain.promise import PromiseState
from orchestrator.engine import Engine, EngineSettings
from orchestrator.store.memory import MemoryStore
from orchestrator.transport.local import LocalTransport
from orchestrator.worker.worker import Worker


@asynccontextmanager
async def running(*functions: object) -> AsyncIterator[Orchestrator]:
    async with Engine(MemoryStore(), settings=EngineSettings(retry_timeout_ms=50)) as engine:
        app = Orchestrator(transport=LocalTransport(engine))
        for function in functions:
            app.register(function)  # type: ignore[arg-type]
        async with app, asyncio.timeout(4):
            yield app


class Scene:
    """What the functions of a test tell it, and what it tells them."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.stopped = asyncio.Event()
        self.did: list[str] = []


def lease_of(app: Orchestrator, promise_id: str) -> object:
    """Return the lease under which a task executes here."""
    runner: Runner | None = app._runner
    assert isinstance(runner, Worker)
    return runner._running[promise_id].lease


async def test_a_request_is_raised_recorded_and_cleaned_up_after() -> None:
    scene = Scene()

    async def endless() -> None:
        scene.begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            scene.did.append("leaf cancelled")
            raise

    async def undo(what: str) -> str:
        scene.did.append(f"undo {what}")
        return what

    async def book(ctx: Context) -> None:
        await ctx.run(undo, "nothing yet")
        try:
            await ctx.run(endless)
        except Exception:  # must not see it
            scene.did.append("swallowed")
        except Cancelled:
            await ctx.run(undo, "all")
            raise

    async with running(endless, undo, book) as app:
        handle = await app.begin_run("trip", book)
        await scene.begun.wait()
        lease_of(app, "trip").cancel()  # type: ignore[attr-defined]
        with pytest.raises(PromiseCanceled):
            await handle.result()
        assert scene.did == ["undo nothing yet", "leaf cancelled", "undo all"]
        tree = {record.id: record for record in (await app.promises.search()).promises}
        states = {key: record.state for key, record in tree.items()}
        assert states == {
            "trip": PromiseState.REJECTED_CANCELED,
            "trip:1": PromiseState.RESOLVED,
            "trip:2": PromiseState.REJECTED_CANCELED,
            "trip:3": PromiseState.RESOLVED,
            "trip:4": PromiseState.RESOLVED,
        }
        assert tree["trip:3"].param.headers == {"func": "ctx.cancelled", "version": "1", "await": "2"}


async def test_local_branches_and_threads_are_told_too() -> None:
    scene = Scene()
    loop = asyncio.get_running_loop()

    def patient(info: Info) -> None:
        loop.call_soon_threadsafe(scene.begun.set)
        while not info.cancelled:
            pass
        scene.did.append("thread saw it")
        loop.call_soon_threadsafe(scene.stopped.set)

    async def note(what: str) -> None:
        scene.did.append(what)

    async def inner(ctx: Context) -> None:
        try:
            await ctx.run(patient)
        finally:
            await ctx.run(note, "inner")

    async def outer(ctx: Context) -> str:
        try:
            await ctx.run(inner)
        except Cancelled:
            await ctx.run(note, "outer")
        return "ended well"

    async with running(patient, note, inner, outer) as app:
        handle = await app.begin_run("tree", outer)
        await scene.begun.wait()
        lease_of(app, "tree").cancel()  # type: ignore[attr-defined]
        assert await handle.result() == "ended well"
        await scene.stopped.wait()
        assert sorted(scene.did) == ["inner", "outer", "thread saw it"]
        states = [record.state for record in (await app.promises.search()).promises]
        assert states.count(PromiseState.REJECTED_CANCELED) == 2  # the branch and its leaf
        assert PromiseState.PENDING not in states


async def test_a_leaf_that_is_a_task_ends_as_canceled() -> None:
    scene = Scene()

    async def endless() -> None:
        scene.begun.set()
        await asyncio.Event().wait()

    async with running(endless) as app:
        handle = await app.begin_run("leaf", endless)
        await scene.begun.wait()
        lease_of(app, "leaf").cancel()  # type: ignore[attr-defined]
        with pytest.raises(PromiseCanceled):
            await handle.result()


async def test_one_call_is_ended_alone() -> None:
    scene = Scene()

    async def endless(info: Info) -> None:
        scene.begun.set()
        await asyncio.Event().wait()

    async def quick() -> int:
        await scene.begun.wait()
        return 7

    async def callee(ctx: Context) -> None:
        await ctx.promise()

    async def racing(ctx: Context) -> tuple[int, list[str]]:
        losers = [ctx.run(endless), ctx.run(callee), ctx.rpc(callee)]
        first = await ctx.run(quick)
        for loser in losers:
            ctx._execution.cancellations.end(loser)
        ended = []
        for loser in losers:
            try:
                await loser
            except ApplicationError as error:
                ended.append(error.type_name)
        return first, ended

    async with running(endless, quick, callee, racing) as app:
        assert await app.run("race", racing) == (7, ["PromiseCanceled"] * 3)
