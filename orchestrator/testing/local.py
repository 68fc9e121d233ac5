"""An engine for tests: in memory, in virtual time, in the weather that the test asks for.

`local(app)` returns an application with the functions of `app` that needs neither file nor server. While it
runs, its loop lives by a virtual clock.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from math import inf
from random import Random
from typing import Unpack

from orchestrator.client.clock import Clock
from orchestrator.client.listening import REFRESH_S
from orchestrator.engine import Engine
from orchestrator.protocol.transport import Transport
from orchestrator.runtime import LOCAL_REFRESH_S, ApplicationSettings, Orchestrator
from orchestrator.store import Store
from orchestrator.store.memory import MemoryStore
from orchestrator.testing.network import FaultyTransport, Weather
from orchestrator.testing.virtual_time import VirtualClock
from orchestrator.transport.local import LocalTransport

Around = Callable[[Transport], Transport]
"""Puts a transport around another one."""


def local(
    app: Orchestrator | None = None,
    *,
    clock: Clock | None = None,
    store: Store | None = None,
    weather: Weather | None = None,
    seed: int = 0,
    around: Around | None = None,
    **settings: Unpack[ApplicationSettings],
) -> Orchestrator:
    """Return an application for a test, with the functions, dependencies and observers of `app`.

    It lives by `clock` (a new `VirtualClock` by default) on `store` (in memory). In bad `weather` what
    happens follows from `seed`. `around` puts a transport of the test's own around the engine's, for example
    `lambda inner: crash_at(inner, 3)`. Start and stop it like any application.
    """
    lives_by = clock if clock is not None else VirtualClock()
    kept = store if store is not None else MemoryStore()

    def opening() -> AbstractAsyncContextManager[Transport]:
        return engine_in(kept, lives_by, lambda inner: _around(inner, weather, seed, around))

    merged: ApplicationSettings = {
        "refresh_s": _refresh_s(weather, around),
        "chance": _seeded(seed),
        **settings,
    }
    if app is None:
        return Orchestrator(opening=opening, clock=lives_by, **merged)
    return app.twin(opening, clock=lives_by, **merged)


def _refresh_s(weather: Weather | None, around: Around | None) -> float:
    """Return after how long outcomes are asked for again: never where no message can be lost."""
    if weather is not None:
        return REFRESH_S
    return inf if around is None else LOCAL_REFRESH_S


def _seeded(seed: int) -> Random:
    return Random(seed)  # noqa: S311 - a seed makes the case repeatable


def _around(inner: Transport, weather: Weather | None, seed: int, around: Around | None) -> Transport:
    transport = inner if weather is None else FaultyTransport(inner, weather, _seeded(seed))
    return transport if around is None else around(transport)


@asynccontextmanager
async def engine_in(store: Store, clock: Clock, around: Around) -> AsyncIterator[Transport]:
    """Run an engine on a store and yield the way to it; a virtual clock takes over the running loop."""
    free = isinstance(clock, VirtualClock) and not clock.taken
    taking = clock if isinstance(clock, VirtualClock) and free else nullcontext()
    async with taking, Engine(store, clock) as engine:
        transport = around(LocalTransport(engine))
        try:
            yield transport
        finally:
            await transport.close()
