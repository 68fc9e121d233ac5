"""Groups of workers by program: `app.groups`."""

from __future__ import annotations

import pytest

from orchestrator import Orchestrator
from orchestrator.client.schedules import NotOffered
from orchestrator.domain.errors import Refused
from orchestrator.engine import Engine, EngineSettings
from orchestrator.store import MemoryStore
from orchestrator.transport.local import LocalTransport
from tests.engine_world import acquire, create


async def test_limits_are_set_read_and_removed_by_program() -> None:
    async with (
        Engine(MemoryStore(), settings=EngineSettings()) as engine,
        Orchestrator(transport=LocalTransport(engine), worker=False) as app,
    ):
        groups = app.groups
        made = await groups.set("g", concurrency=1, rate=10, period_ms=60_000)
        assert (made.concurrency, made.rate, made.period, made.acquired) == (1, 10, 60_000, 0)
        kept = await groups.set("g", rate=None, period_ms=None, attempts=3)
        assert (kept.concurrency, kept.rate, kept.attempts) == (1, None, 3)
        for name in "ab":
            await engine.handle(create(name, target="poll://any@g"))
        await engine.handle(acquire("a", 0))
        found = await groups.get("g")
        assert (found.acquired, found.waiting) == (1, 1)
        assert (await groups.pause("g")).paused
        assert not (await groups.resume("g")).paused
        assert [group.id for group in (await groups.list()).groups] == ["g"]
        assert (await groups.get("unheard of")).concurrency is None
        with pytest.raises(Refused, match="concurrency must be between 1"):
            await groups.set("g", concurrency=0)


async def test_an_engine_without_limits_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    async with (
        Engine(MemoryStore(), settings=EngineSettings()) as engine,
        Orchestrator(transport=LocalTransport(engine), worker=False) as app,
    ):
        around = app._started()
        monkeypatch.setattr(app, "_started", lambda: _without_extensions(around))
        for call in (app.groups.get("g"), app.groups.pause("g"), app.groups.list()):
            with pytest.raises(NotOffered, match="group-limits"):
                await call


def _without_extensions(around: object) -> object:
    from dataclasses import replace  # noqa: PLC0415

    return replace(around, extensions=frozenset())  # type: ignore[type-var]
