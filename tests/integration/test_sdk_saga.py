"""Sagas: compensations run last first, survive a crash, and tell of what could not be undone."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from orchestrator import ApplicationError, CompensationFailed, Context, Never, Orchestrator, Saga
from orchestrator.engine import Engine
from orchestrator.store import open_store
from orchestrator.testing import SimulatedCrash, crash_at
from orchestrator.transport.local import LocalTransport

Done = list[str]


def register(app: Orchestrator, done: Done, *, stubborn: str = "") -> None:
    """Register a workflow of three steps, the last of which fails; `stubborn` cannot be undone."""

    def do(what: str) -> None:
        if what == "c":
            raise ValueError("c is impossible")
        done.append(f"do {what}")

    def undo(what: str) -> None:
        if what == stubborn:
            raise OSError(f"{what} stays")
        done.append(f"undo {what}")

    async def all_or_nothing(ctx: Context) -> None:
        async with Saga(ctx) as saga:
            for what in "abc":
                saga.undo(undo, what)
                await ctx.run(do, what)

    for function in (do, undo):
        app.register(function, retry=Never(), executor="inline")
    app.register(all_or_nothing)


async def test_what_was_done_is_undone_last_first() -> None:
    done: Done = []
    app = Orchestrator.at(":memory:")
    register(app, done)
    async with app:
        with pytest.raises(ApplicationError, match="c is impossible") as caught:
            await app.run("saga-1", "all_or_nothing")
    assert caught.value.type_name == "ValueError"
    assert done == ["do a", "do b", "undo c", "undo b", "undo a"]


async def test_the_rest_is_undone_when_one_cannot_be() -> None:
    done: Done = []
    app = Orchestrator.at(":memory:")
    register(app, done, stubborn="b")
    async with app:
        handle = await app.begin_run("saga-1", "all_or_nothing")
        failure = await handle.exception()
    assert failure is not None
    assert failure.type_name == CompensationFailed.__name__
    assert failure.data == [["undo", "b stays"]]
    assert "c is impossible" in failure.message
    assert done == ["do a", "do b", "undo c", "undo a"]


async def test_nothing_is_undone_without_a_failure() -> None:
    app = Orchestrator.at(":memory:")
    done: Done = []

    async def fine(ctx: Context) -> str:
        async with Saga(ctx) as saga:
            saga.undo(done.append, "undone")
            await ctx.sleep(0.01)
        return "fine"

    app.register(fine)
    async with app:
        handle = await app.begin_run("saga-1", fine)
        assert await handle.exception() is None
        assert await handle.result() == "fine"
    assert not done


async def test_every_crash_ends_alike() -> None:
    number, crashed = 1, True
    while crashed:
        done: Done = []
        async with Engine(open_store("sqlite:///:memory:")) as engine:
            transport = crash_at(LocalTransport(engine), number)
            first = Orchestrator(transport=transport, ttl_ms=200)
            register(first, done)
            async with asyncio.TaskGroup() as group:
                invoking = group.create_task(_invoked(first))
                crashing = group.create_task(transport.crashed.wait())
                await asyncio.wait((invoking, crashing), return_when=asyncio.FIRST_COMPLETED)
                crashed = transport.crashed.is_set()
                invoking.cancel()
                crashing.cancel()
            await first.abort()
            again = Orchestrator(transport=LocalTransport(engine), ttl_ms=200)
            register(again, done)
            async with again:
                failure = await (await again.begin_run("saga-1", "all_or_nothing")).exception()
            assert failure is not None
            assert failure.message == "c is impossible"
            # A step that was cut off may be executed twice; its place in the order stays.
            assert list(dict.fromkeys(done)) == ["do a", "do b", "undo c", "undo b", "undo a"], number
        number += 1
    assert number > 10


async def _invoked(app: Orchestrator) -> None:
    with contextlib.suppress(SimulatedCrash):
        await app.start()
        await (await app.begin_run("saga-1", "all_or_nothing")).exception()
