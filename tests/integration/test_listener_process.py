"""A listener as its operators meet it: woken by WebSocket, seen over HTTP, decided about by commands."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from typer.testing import CliRunner

from listener import SqliteCursorStore
from listener.backoff import Backoff
from listener.incidents import IncidentKind, Report
from listener.store import Cursor
from listener.wakeup import HeadsWatch
from orchestrator.server import ServerSettings, create_status_app, listening
from scorers.cli import app
from tests.listener_chain import DaoChain, dao_chain
from tests.unit.test_listener_faults import SETTINGS

SOURCE = SETTINGS.source
HEAD = {"jsonrpc": "2.0", "method": "eth_subscription", "params": {"subscription": "0x1", "result": {}}}


@pytest.fixture
async def chain() -> AsyncIterator[DaoChain]:
    async with dao_chain() as chain:
        yield chain


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is watched has no event
            await asyncio.sleep(0.005)


async def test_a_new_head_wakes_whoever_waits(chain: DaoChain) -> None:
    stop, wakes = asyncio.Event(), [asyncio.Event(), asyncio.Event()]
    watch = HeadsWatch(chain.url.replace("http", "ws"), wakes)
    async with asyncio.TaskGroup() as group:
        group.create_task(watch.run(stop))
        await until(lambda: watch.connections == 1)
        await chain.mine(1)
        async with asyncio.timeout(10):
            await asyncio.gather(*(wake.wait() for wake in wakes))
        stop.set()


async def test_a_websocket_that_is_silent_or_gone_is_opened_anew() -> None:
    said: list[str] = []

    async def serve(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        said.append((await socket.receive()).data)
        if len(said) == 1:
            await socket.receive()  # silent, until the watch gives up
        elif len(said) == 2:
            await socket.close()
        else:
            await socket.send_str("nonsense")
            await socket.send_json(HEAD)
            await socket.receive()
        return socket

    served = web.Application()
    served.router.add_get("/secret-key", serve)
    stop, wake = asyncio.Event(), asyncio.Event()
    async with TestServer(served) as server:
        url = str(server.make_url("/secret-key")).replace("http", "ws")
        pauses = Backoff(minimum_s=0.001, maximum_s=0.01)
        watch = HeadsWatch(url, [wake], silence_s_max=0.2, pauses=pauses)
        assert "secret" not in watch.endpoint
        async with asyncio.TaskGroup() as group:
            group.create_task(watch.run(stop))
            async with asyncio.timeout(10):
                await wake.wait()
            stop.set()
    assert all(json.loads(each)["method"] == "eth_subscribe" for each in said)
    assert len(said) >= 3


async def test_health_and_metrics_are_served() -> None:
    state: dict[str, Any] = {"ok": False, "sources": []}
    served = create_status_app(ServerSettings(port=0, token="t" * 16), lambda: state)
    async with listening(served) as url, aiohttp.ClientSession() as session:
        for path, status in (("/health", 200), ("/ready", 503), ("/metrics", 401)):
            async with session.get(url + path) as answer:
                assert answer.status == status
        state["ok"] = True
        async with session.get(f"{url}/ready") as answer:
            assert (answer.status, await answer.json()) == (200, state)
        bearer = {"Authorization": f"Bearer {'t' * 16}"}
        async with session.get(f"{url}/metrics", headers=bearer) as answer:
            assert answer.status == 200


async def prepared(path: Path) -> int:
    async with await SqliteCursorStore.open(path) as store:
        for number in (10, 20):
            place = Cursor(block_number=number, block_hash=bytes([number]) * 32, first_block=3)
            await store.advance(SOURCE, place, [], [])
        report = Report(
            kind=IncidentKind.REORG_BEYOND_FINALITY,
            detail="block 20 was final",
            ancestor_number=10,
            ancestor_hash=b"\x0a" * 32,
            vanished=("scoreProposal-1",),
        )
        return (await store.open_incident(SOURCE, report, 1)).id


def test_an_operator_decides_about_an_incident(tmp_path: Path) -> None:
    path = tmp_path / "cursor.db"
    number = asyncio.run(prepared(path))
    flags = ["--cursor", f"sqlite:///{path}", "--json"]

    def run(*words: str) -> Any:
        return CliRunner().invoke(app, [*words, *flags])

    (shown,) = [json.loads(line) for line in run("incident", "list").stdout.splitlines()]
    assert (shown["id"], shown["choices"]) == (number, ["retry", "rewind"])
    refused = run("incident", "resolve", str(number), "--as", "skip")
    assert refused.exit_code == 1
    assert "choose retry or rewind" in refused.stderr
    decided = json.loads(run("incident", "resolve", str(number), "--as", "rewind").stdout)
    assert (decided["decision"], decided["vanished"]) == ("rewind", ["scoreProposal-1"])
    assert run("incident", "list").stdout == ""
    assert json.loads(run("incident", "list", "--all").stdout)["decision"] == "rewind"
    cursor = json.loads(run("cursor", "show").stdout)
    assert (cursor["block_number"], cursor["first_block"]) == (10, 3)

    beyond = run("cursor", "rewind", "11")
    assert "where the cursor stands" in beyond.stderr
    assert run("cursor", "rewind", "2").exit_code == 0
    assert run("cursor", "show").stdout == ""


def test_a_cursor_file_that_is_missing_is_not_made(tmp_path: Path) -> None:
    path = tmp_path / "none.db"
    ended = CliRunner().invoke(app, ["incident", "list", "--cursor", f"sqlite:///{path}"])
    assert ended.exit_code == 1
    assert "there is no cursor file" in ended.stderr
    assert not path.exists()
