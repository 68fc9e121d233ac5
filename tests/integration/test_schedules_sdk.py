"""Schedules through the SDK: a function that runs by itself, in one process and over HTTP."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from orchestrator import Context, Orchestrator
from orchestrator.client.schedules import NotOffered
from orchestrator.domain.errors import Refused
from orchestrator.domain.schedule import CatchUp
from orchestrator.engine import Engine, ManualClock
from orchestrator.protocol.commands import Describe
from orchestrator.protocol.schedules import SchedulePause
from orchestrator.server import ServerSettings, create_app, listening
from orchestrator.store import open_store
from orchestrator.transport.local import LocalTransport

MINUTE = 60_000
START = 1_700_000_040_000


async def test_a_scheduled_workflow_runs_with_its_arguments() -> None:
    clock = ManualClock(START)
    done: asyncio.Queue[str] = asyncio.Queue()

    async def greet(ctx: Context, name: str, *, mark: str = "!") -> str:
        step = await ctx.run(lambda: f"hello {name}{mark}")
        done.put_nowait(ctx.id)
        return step

    app = Orchestrator.local("memory://", clock=clock)
    app.register(greet)
    async with app, asyncio.timeout(10):
        made = await app.schedule("greeting", "* * * * *", greet, "you", mark="?")
        assert made.next_run_at == START + MINUTE
        clock.advance(MINUTE)
        promise_id = await done.get()
        assert promise_id == f"greeting-{START + MINUTE}"
        assert await (await app.get(promise_id)).result() == "hello you?"
        assert (await app.schedule("greeting", "0 0 * * *", greet)).cron == "* * * * *"
        assert (await app.schedules.get("greeting")).last_run_at == START + MINUTE
        assert (await app.schedules.pause("greeting")).paused
        assert not (await app.schedules.resume("greeting")).paused
        page = await app.schedules.search()
        assert [each.id for each in page.schedules] == ["greeting"]
        await app.schedules.delete("greeting")
        with pytest.raises(Refused, match="not found"):
            await app.schedules.get("greeting")


async def test_options_travel_over_http() -> None:
    engine = Engine(open_store("memory://"), ManualClock(START))
    async with engine, listening(create_app(engine, ServerSettings(port=0))) as url:
        app = Orchestrator.remote(url, group="g", worker=False)
        async with app, asyncio.timeout(10):
            made = await app.schedules.create(
                "s", "30 2 * * *", "report", args=[1], target="reports", version=2, timeout_s=60,
                tags={"k": "v"}, time_zone="Europe/Vienna", catch_up=CatchUp.LAST,
            )  # fmt: skip
            assert (made.time_zone, made.catch_up, made.promise_timeout) == ("Europe/Vienna", "last", MINUTE)
            assert made.promise_tags["resonate:target"] == "poll://any@reports"
            assert await app.schedules.get("s") == made
            with pytest.raises(Refused, match="Invalid cron"):
                await app.schedule("t", "* * *", "report")
            with pytest.raises(ValueError, match="root id"):
                await app.schedule("a:b", "* * * * *", "report")


class Plain(LocalTransport):
    """An engine that speaks the published protocol only."""

    async def call(self, command: Any) -> Any:
        assert not isinstance(command, SchedulePause)
        if isinstance(command, Describe):
            raise Refused(400, "Unknown operation: server.describe")
        return await super().call(command)


async def test_an_engine_without_the_extension_is_asked_for_nothing_that_it_does_not_know() -> None:
    async with Engine(open_store("memory://"), ManualClock(START)) as engine:
        app = Orchestrator(transport=Plain(engine), worker=False)
        async with app, asyncio.timeout(10):
            await app.schedule("s", "* * * * *", "report")
            with pytest.raises(NotOffered, match="time zones"):
                await app.schedules.create("t", "* * * * *", "report", time_zone="Europe/Vienna")
            with pytest.raises(NotOffered):
                await app.schedules.pause("s")
            assert [each.id for each in (await app.schedules.search()).schedules] == ["s"]
