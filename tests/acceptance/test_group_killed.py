"""Whoever dies around a limited group, worker or server: the place comes free, and nobody waits on."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest

from orchestrator import Orchestrator
from orchestrator.domain.errors import Unavailable
from orchestrator.protocol import commands as c
from orchestrator.protocol import groups as g
from orchestrator.store import maintenance
from orchestrator.transport.http import HttpTransport
from tests.acceptance.group_worker import BEGUN, GROUP, LEASE_MS
from tests.acceptance.nursery import Nursery
from tests.acceptance.serving import END_S, KILLED, Served
from tests.engine_world import Ear, acquire, create, fulfill

pytestmark = pytest.mark.acceptance
TARGET = f"poll://any@{GROUP}"
POINTS = ["before", "inside", "after"]


@pytest.fixture(params=["sqlite", "postgresql"])
async def served(request: pytest.FixtureRequest, nursery: Nursery, tmp_path: Path) -> AsyncIterator[Served]:
    postgres = request.param == "postgresql"
    store = request.getfixturevalue("postgres_url") if postgres else f"sqlite:///{tmp_path}/s.db"
    made = Served(nursery=nursery, folder=tmp_path, store=store)
    yield made
    await made.close()


@contextmanager
def _worker(url: str, what: str) -> Iterator[subprocess.Popen[str]]:
    arguments = [sys.executable, "-m", "tests.acceptance.group_worker", url, what]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


async def _begun(worker: subprocess.Popen[str]) -> str:
    """Return the next task that a worker begins."""
    assert worker.stdout is not None
    async with asyncio.timeout(END_S):
        while line := await asyncio.to_thread(worker.stdout.readline):
            if line.startswith(BEGUN):
                return line.removeprefix(BEGUN).strip()
    raise AssertionError("the worker ended")


async def _usage(transport: HttpTransport) -> tuple[int | None, int | None]:
    group = (await transport.call(g.GroupGet(id=GROUP))).group
    return group.acquired, group.waiting


async def test_the_place_of_a_killed_worker_comes_free_when_its_lease_ends(served: Served) -> None:
    await served.start()
    async with (
        _transport(served.url) as transport,
        Orchestrator(transport=transport, worker=False) as app,
    ):
        await app.groups.set(GROUP, concurrency=1)
        with _worker(served.url, "holds") as holder:
            first = await app.options(target=GROUP).begin_rpc("first", "work")
            assert await _begun(holder) == "first"
            second = await app.options(target=GROUP).begin_rpc("second", "work")
            assert await _usage(transport) == (1, 1)
            with _worker(served.url, "ends") as other:
                killed_at = time.monotonic()
                holder.kill()
                # In which order is open: while nobody listens one after the other may have been announced.
                assert {await _begun(other), await _begun(other)} == {"first", "second"}
                async with asyncio.timeout(END_S):
                    assert [await first.result(), await second.result()] == ["ends", "ends"]
                took_s = time.monotonic() - killed_at
        assert await _usage(transport) == (0, 0)
    assert took_s < LEASE_MS / 1000 + END_S / 2
    assert not [each for each in await maintenance.check(served.store) if each.faults]


@pytest.mark.parametrize("when", POINTS)
async def test_a_server_that_dies_as_a_place_comes_free_loses_nobody(served: Served, when: str) -> None:
    if when == "inside" and not served.store.startswith("sqlite"):
        pytest.skip("only the thread of SQLite can die inside its transaction")
    served.kill_at = f"{when}:1:commit .*fulfill .* a"
    await served.start()
    async with _transport(served.url) as transport:
        await transport.call(g.GroupSet(id=GROUP, concurrency=1))
        for name in "abc":
            await transport.call(create(name, target=TARGET))
        await transport.call(acquire("a", 0, ttl=60_000))
    await _die_of_fulfilling(served)
    served.kill_at = ""
    await served.start()
    async with _transport(served.url) as transport:
        done = not (await transport.call(c.PromiseGet(id="a"))).promise.pending
        assert done == (when == "after")
        assert await _usage(transport) == ((0, 2) if done else (1, 2))
        ear = Ear()
        async with transport.connect(GROUP, "w1", ear):
            if not done:
                await transport.call(fulfill("a", 1))
            for waiting, name in ((1, "b"), (0, "c")):
                while (name, 0) not in ear.executes:
                    await ear.hear(len(ear.messages) + 1)
                await transport.call(acquire(name, 0))
                assert await _usage(transport) == (1, waiting)
                await transport.call(fulfill(name, 1))
        assert await _usage(transport) == (0, 0)
    assert not [each for each in await maintenance.check(served.store) if each.faults]


async def _die_of_fulfilling(served: Served) -> None:
    assert served.process is not None
    async with _transport(served.url) as transport:
        asking = asyncio.create_task(transport.call(fulfill("a", 1)))
        assert await served.process.ended(END_S) == KILLED
        asking.cancel()
        with suppress(Unavailable, asyncio.CancelledError):
            await asking


@asynccontextmanager
async def _transport(url: str) -> AsyncIterator[HttpTransport]:
    transport = HttpTransport(url)
    try:
        yield transport
    finally:
        await transport.close()
