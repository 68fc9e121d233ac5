"""One server for many programs: a process of its own on a SQLite file, and a member of each published SDK."""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from orchestrator import Orchestrator
from scorers.processes import Child, Family, family
from tests.interop.members import BUNDLE, CHROMIUM, CLIENTS, Client, Company, Member, company
from tests.interop.ours import register
from tests.interop.wire import TIMEOUT_S, Wire

HOW = "make interop-clients installs it"


def require(client: Client) -> Client:
    """Return the client if it is installed; skip the test, or fail it in CI, if it is not."""
    if client.installed:
        return client
    if client.unavailable is not None:
        pytest.skip(f"{client.name} cannot be had on this machine: {client.unavailable}")
    if os.environ.get("CI"):
        pytest.fail(f"{client.name} is not installed, and CI must not leave it out: {HOW}")
    pytest.skip(f"{client.name} is not installed: {HOW}")


@pytest.fixture(scope="session", params=CLIENTS, ids=lambda client: client.name)
def client(request: pytest.FixtureRequest) -> Client:
    """Each published SDK in turn."""
    return require(request.param)


@pytest.fixture
def name() -> str:
    """An id that no other test uses."""
    return f"t-{uuid.uuid4().hex[:12]}"


async def serve(
    children: Family, folder: Path, port: int = 0, environment: Mapping[str, str] | None = None
) -> Child:
    """Start a server on the SQLite file in `folder`."""
    store = f"sqlite:///{folder / 'interop.db'}"
    arguments = ["serve", "--store", store, "--port", str(port)]
    return await children.start("server", arguments, environment=environment)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """The URL of the server that the tests share."""
    folder = tmp_path_factory.mktemp("interop")
    async with family(folder) as children:
        yield (await serve(children, folder)).where


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def wire(server: str) -> AsyncIterator[Wire]:
    """The shared server, spoken to by hand."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as session:
        yield Wire(server, session)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def standing(server: str) -> AsyncIterator[dict[str, Member]]:
    """The members that stand for the whole session, by the names of their clients; filled on demand."""
    members: dict[str, Member] = {}
    async with AsyncExitStack() as stack:
        stack.push_async_callback(_end_all, members)
        yield members


async def _end_all(members: dict[str, Member]) -> None:
    for member in members.values():
        await member.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def member(client: Client, server: str, standing: dict[str, Member]) -> Member:
    """A member in a group of its own, written with the SDK that the test is about."""
    if client.name not in standing:
        standing[client.name] = await Company(server).start(client)
    return standing[client.name]


@pytest_asyncio.fixture(loop_scope="session")
async def members(server: str) -> AsyncIterator[Company]:
    """Members of this test alone."""
    async with AsyncExitStack() as stack:
        yield await company(stack, server)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def ours(server: str) -> AsyncIterator[Orchestrator]:
    """A worker of our own with the same functions, in a group of its own."""
    app = register(Orchestrator.remote(server, group=f"ours-{uuid.uuid4().hex[:8]}"))
    async with app:
        yield app


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say which published SDKs were left out, so that nobody takes silence for compatibility."""
    absent = [client for client in (*CLIENTS, BUNDLE) if not client.installed]
    if CHROMIUM.unavailable is not None:
        absent.append(CHROMIUM)
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    if absent and any("tests/interop" in getattr(report, "nodeid", "") for report in reports):
        terminalreporter.section("NOT TESTED AGAINST", sep="!")
        for client in absent:
            terminalreporter.write_line(f"{client.name}: {client.unavailable or HOW}")
