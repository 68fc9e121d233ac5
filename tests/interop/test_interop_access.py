"""A server that asks for a token serves the published SDKs that have it, and no others."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from scorers.processes import family
from tests.interop.conftest import serve
from tests.interop.members import Client, Company, ProgramError, company

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(45)]

TOKEN = "a-token-for-these-tests-alone"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def guarded(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Company]:
    """Members at a server that asks for a token."""
    folder: Path = tmp_path_factory.mktemp("guarded")
    async with AsyncExitStack() as stack:
        children = await stack.enter_async_context(family(folder))
        server = await serve(children, folder, environment={"DAO_SCORER_TOKEN": TOKEN})
        yield await company(stack, server.where)


async def test_the_token_opens_commands_and_streams(client: Client, guarded: Company, name: str) -> None:
    worker = await guarded.start(client, token=TOKEN)
    # By rpc, so that the message over the stream is needed.
    result = await worker.run(name, "fan_remote", worker.group, 3, how="rpc", target=worker.group)
    assert result == [0, 1, 2]


async def test_without_the_token_nothing_is_carried_out(client: Client, guarded: Company, name: str) -> None:
    worker = await guarded.start(client, token="another")
    with pytest.raises(ProgramError):
        await worker.ask("create", id=name, timeout_at=2**52)
    insider = await guarded.start(client, token=TOKEN)
    with pytest.raises(ProgramError):
        await insider.ask("get", id=name)
