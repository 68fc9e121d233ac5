"""Calling by rpc: creation and waiting are asked for together, and in whichever order they arrive.

And the short names of the calls in a workflow, which are the same operations.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from orchestrator import Context, Orchestrator, Refused
from orchestrator.engine import Engine
from orchestrator.protocol import commands as c
from orchestrator.store import MemoryStore
from orchestrator.testing.cuts import records_of
from orchestrator.transport.http import HttpTransport, SessionSettings
from orchestrator.transport.local import LocalTransport
from tests.integration.transport_support import counted


async def double(number: int) -> int:
    return 2 * number


class Reordering(LocalTransport):
    """Holds back creations (or what waits for them) until the other one was answered, and notes both."""

    def __init__(self, engine: Engine, *, first: type[c.Command[Any]]) -> None:
        super().__init__(engine)
        self.first = first
        self.answered = asyncio.Event()
        self.seen: list[str] = []

    def call(self, command: c.Command[Any]) -> Any:
        """Carry out one command, in its turn."""
        concerned = isinstance(command, (c.PromiseCreate, c.PromiseRegisterListener))
        return self._in_turn(command) if concerned else super().call(command)

    async def _in_turn(self, command: c.Command[Any]) -> Any:
        if not isinstance(command, self.first):
            await self.answered.wait()
        try:
            answer = await super().call(command)
        except Refused as refusal:
            self.seen.append(f"{command.KIND} {refusal.status}")
            raise
        else:
            self.seen.append(command.KIND)
            return answer
        finally:
            self.answered.set()


def waiting() -> list[str]:
    """Name the tasks that wait for a promise."""
    tasks = [each.get_coro() for each in asyncio.all_tasks()]
    return [repr(each) for each in tasks if "Subscriptions.wait" in repr(each)]


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    async with Engine(MemoryStore()) as made:
        yield made


async def settled(engine: Engine, promise_id: str) -> None:
    """Wait until a promise exists and is listened for, and settle it."""
    async with asyncio.timeout(10):
        while True:
            try:
                await engine.handle(c.PromiseGet(id=promise_id))
                break
            except Refused:
                await asyncio.sleep(0.005)
        await engine.handle(c.PromiseSettle(id=promise_id, state=c.PromiseState.RESOLVED))


async def called(app: Orchestrator, engine: Engine, settle: Callable[[Engine, str], Awaitable[None]]) -> Any:
    async with asyncio.TaskGroup() as group:
        calling = group.create_task(app.rpc("call", "elsewhere", 21))
        group.create_task(settle(engine, "call"))
    return calling.result()


@pytest.mark.parametrize("channel", [True, False])
async def test_creation_and_waiting_travel_together(engine: Engine, *, channel: bool) -> None:
    async with counted(engine) as (url, paths):
        transport = HttpTransport(url, session=SessionSettings(channel=channel))
        async with Orchestrator(transport=transport, group="callers", worker=False) as app:
            paths.clear()
            assert await called(app, engine, settled) is None
            assert paths == ["/channel" if channel else "/bundle"]
        await transport.close()


@pytest.mark.parametrize("first", [c.PromiseCreate, c.PromiseRegisterListener])
async def test_whichever_arrives_first(engine: Engine, first: type[c.Command[Any]]) -> None:
    transport = Reordering(engine, first=first)
    async with Orchestrator(transport=transport, group="workers") as app:
        app.register(double)
        assert await app.rpc("call", double, 21) == 42
    early = ["promise.register_listener 404"] if first is c.PromiseRegisterListener else []
    assert transport.seen == [*early, "promise.create", "promise.register_listener"]


async def test_what_has_settled_is_not_waited_for(engine: Engine) -> None:
    async with Orchestrator(transport=LocalTransport(engine), group="workers") as app:
        app.register(double)
        assert await app.rpc("call", double, 21) == 42
        assert await app.rpc("call", double, 21) == 42


async def test_a_call_that_cannot_be_made_leaves_nothing_behind(engine: Engine) -> None:
    async with Orchestrator(transport=LocalTransport(engine), group="workers", worker=False) as app:
        with pytest.raises(Refused, match="tags"):
            await app.options(tags={str(number): "" for number in range(100)}).rpc("call", "elsewhere")
        await asyncio.sleep(0)
        assert not waiting()


async def test_a_caller_that_is_cancelled_stops_waiting(engine: Engine) -> None:
    async with Orchestrator(transport=LocalTransport(engine), group="workers", worker=False) as app:
        calling = asyncio.create_task(app.rpc("call", "elsewhere"))
        await asyncio.sleep(0.05)
        assert waiting()
        calling.cancel()
        await asyncio.wait([calling])
        await asyncio.sleep(0)
        assert not waiting()
    assert (await engine.handle(c.PromiseGet(id="call"))).promise.pending


async def by_long_names(ctx: Context) -> list[int]:
    step, call = ctx.begin_run(double, 1), ctx.begin_rpc(double, 2)
    return [await ctx.run(double, 3), await ctx.rpc(double, 4), await step, await call]


async def by_short_names(ctx: Context) -> list[int]:
    step, call = ctx.lfi(double, 1), ctx.rfi(double, 2)
    return [await ctx.lfc(double, 3), await ctx.rfc(double, 4), await step, await call]


async def recorded(flow: Callable[..., Awaitable[list[int]]]) -> tuple[list[int], dict[str, tuple[Any, ...]]]:
    """Run a workflow on an engine of its own; return its result and all that is stored but times."""
    async with (
        Engine(MemoryStore()) as engine,
        Orchestrator(transport=LocalTransport(engine), pid="p") as app,
    ):
        app.register(double)
        app.register(flow, name="flow")
        result = await app.run("w", "flow")
        stored = await records_of(LocalTransport(engine))
        return result, {key: (one.state, one.param, one.value, one.tags) for key, one in stored.items()}


async def test_the_short_names_are_the_same_operations() -> None:
    result, records = await recorded(by_short_names)
    assert (result, records) == await recorded(by_long_names)
    assert result == [6, 8, 2, 4]
    assert [key for key, (*_, tags) in sorted(records.items()) if "resonate:target" in tags] == [
        "w",
        "w:2",
        "w:4",
    ]
