"""Where an application may have its engine: what uses `place` or `way` is tested to be the same."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from orchestrator import Orchestrator
from orchestrator.engine import Engine, EngineSettings
from orchestrator.protocol.transport import Transport
from orchestrator.store.memory import MemoryStore
from orchestrator.transport.http import HttpTransport
from orchestrator.transport.local import LocalTransport
from tests.integration.server_support import served

PLACES = ("memory", "sqlite", "server")
WAYS = ("embedded", "served")
"""Of one engine: called in the process, or over HTTP."""
PATIENCE_S = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Makes applications of one engine, one after the other; `remembers` what the one before has stored."""

    name: str
    make: Callable[..., Orchestrator]

    @property
    def remembers(self) -> bool:
        return self.name != "memory"


@asynccontextmanager
async def placed(name: str, folder: Path) -> AsyncIterator[Place]:
    if name == "server":
        settings = EngineSettings(retry_timeout_ms=50)
        async with Engine(MemoryStore(), settings=settings) as engine, served(engine) as url:

            def remote(**settings: Any) -> Orchestrator:
                return Orchestrator.remote(url, **settings)

            yield Place(name=name, make=remote)
        return
    url = ":memory:" if name == "memory" else f"sqlite:///{folder / 'place.db'}"

    def local(**settings: Any) -> Orchestrator:
        return Orchestrator.local(url, **settings)

    yield Place(name=name, make=local)


@pytest.fixture(params=PLACES)
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    async with placed(request.param, tmp_path) as made:
        yield made


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@asynccontextmanager
async def way_to(engine: Engine, way: str) -> AsyncIterator[Transport]:
    """Yield a transport to an engine of this process; a served one is called over sockets."""
    if way == "embedded":
        yield LocalTransport(engine)
        return
    async with served(engine) as url:
        transport = HttpTransport(url)
        try:
            yield transport
        finally:
            await transport.close()
