"""Tokens that are renewed: asked for again when the server believes the last one no more, and only then."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from orchestrator import Context, Orchestrator, Refused, Unavailable
from orchestrator.engine import Engine
from orchestrator.protocol.commands import PromiseSearch
from orchestrator.server import JwtSettings
from orchestrator.store.memory import MemoryStore
from orchestrator.transport.http import HttpTransport
from orchestrator.transport.token import TokenSource
from tests.integration.auth_support import ed_signer
from tests.integration.server_support import served

EXPIRED_S = -60
PATIENCE_S = 20


def good() -> str:
    return ed_signer().token(role="admin")


def stale() -> str:
    return ed_signer().token(role="admin", exp=int(time.time()) + EXPIRED_S)


class Desk:
    """Hands out tokens, the first of them no longer good."""

    def __init__(self, *tokens: str) -> None:
        self.tokens = list(tokens)
        self.asked = 0

    def __call__(self) -> str:
        self.asked += 1
        return self.tokens[min(self.asked, len(self.tokens)) - 1]


async def test_a_worker_renews_its_token_for_calls_and_streams(tmp_path: Path) -> None:
    async def flow(ctx: Context, number: int) -> int:
        return number + 1

    keys = ed_signer().file(tmp_path)
    async with Engine(MemoryStore()) as engine, served(engine, jwt=JwtSettings(public_key=keys)) as url:
        desk = Desk(stale(), good())
        app = Orchestrator.remote(url, token=desk)
        app.register(flow)
        async with app, asyncio.timeout(PATIENCE_S):
            assert await app.rpc("w", flow, 1) == 2
            assert desk.asked == 2
            app2 = Orchestrator.remote(url, token=stale())
            with pytest.raises(Refused) as caught:
                await app2.start()
            assert caught.value.status == 401


@pytest.mark.parametrize("kind", ["file", "async function"])
async def test_a_token_from_a_file_or_an_async_function(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "token"
    file.write_text(stale() + "\n")

    async def fetch() -> str:
        return file.read_text().strip()

    keys = ed_signer().file(tmp_path)
    async with Engine(MemoryStore()) as engine, served(engine, jwt=JwtSettings(public_key=keys)) as url:
        transport = HttpTransport(url, token=file if kind == "file" else fetch)
        with pytest.raises(Refused) as caught:
            await transport.call(PromiseSearch())
        assert caught.value.status == 401
        file.write_text(good() + "\n")
        assert (await transport.call(PromiseSearch())).promises == []
        await transport.close()


async def test_many_refusals_at_once_ask_once() -> None:
    desk = Desk("old", "new")
    source = TokenSource(desk)
    old = await source.current()
    assert await asyncio.gather(*[source.renewed(old) for _ in range(10)]) == [True] * 10
    assert (await source.current(), desk.asked) == ("new", 2)


async def test_no_token_to_be_had_is_waited_for_and_its_error_repeats_nothing(tmp_path: Path) -> None:
    def broken() -> str:
        raise RuntimeError("secret-token-1")

    for given in (broken, tmp_path / "none"):
        with pytest.raises(Unavailable, match="no token to be had") as caught:
            await TokenSource(given).current()
        assert "secret" not in str(caught.value)


async def test_a_token_that_is_not_there_yet_is_waited_for_and_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.runtime.AWAY_S", 0.0)
    keys, file = ed_signer().file(tmp_path), tmp_path / "none"
    async with Engine(MemoryStore()) as engine, served(engine, jwt=JwtSettings(public_key=keys)) as url:
        app = Orchestrator.remote(url, token=file, worker=False)
        starting = asyncio.create_task(app.start())
        with capture_logs() as logs:
            async with asyncio.timeout(PATIENCE_S):
                while not logs:  # noqa: ASYNC110 - a line of the log is no event
                    await asyncio.sleep(0.01)
                assert (logs[0]["event"], str(file) in logs[0]["reason"]) == ("token_away", True)
                file.write_text(good())
                await starting
        await app.stop()


async def test_a_fixed_token_is_not_renewed_and_not_shown() -> None:
    source = TokenSource("secret")
    assert not await source.renewed("secret")
    assert repr(source) == "<TokenSource str>"
