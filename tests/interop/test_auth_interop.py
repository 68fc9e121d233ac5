"""Signed tokens with a prefix serve the published SDKs within it, and nothing beyond."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from scorers.processes import family
from tests.integration.auth_support import p256_signer
from tests.interop.conftest import serve
from tests.interop.members import Client, Company, ProgramError, company

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(45)]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def signed(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Company]:
    """Members at a server that believes one public key."""
    folder: Path = tmp_path_factory.mktemp("signed")
    key = p256_signer().file(folder)
    async with AsyncExitStack() as stack:
        children = await stack.enter_async_context(family(folder))
        server = await serve(children, folder, environment={"DAO_SCORER_JWT_PUBLIC_KEY": str(key)})
        yield await company(stack, server.where)


async def test_a_token_serves_its_prefix(client: Client, signed: Company, name: str) -> None:
    worker = await signed.start(client, token=p256_signer().token(prefix=name))
    # By rpc, so that the message over the stream is needed; and it waits, so that callbacks are.
    result = await worker.run(name, "fan_remote", worker.group, 3, how="rpc", target=worker.group)
    assert result == [0, 1, 2]


async def test_a_token_does_nothing_beyond_its_prefix(client: Client, signed: Company, name: str) -> None:
    worker = await signed.start(client, token=p256_signer().token(prefix=f"{name}-"))
    await worker.ask("create", id=f"{name}-1", timeout_at=2**52)
    await worker.ask("get", id=f"{name}-1")
    with pytest.raises(ProgramError):
        await worker.ask("create", id=name, timeout_at=2**52)
    admin = await signed.start(client, token=p256_signer().token(role="admin"))
    await admin.ask("get", id=f"{name}-1")
    with pytest.raises(ProgramError):
        await admin.ask("get", id=name)
