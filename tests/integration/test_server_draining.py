"""SIGTERM under load: whoever was heard is answered, and what was answered is stored."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path

import aiohttp
import pytest

from orchestrator.domain.promise import PromiseState
from orchestrator.protocol import commands as c
from tests.engine_world import world

CLIENTS = 32
BEFORE_STOP = 400


def creation(promise_id: str) -> bytes:
    return json.dumps(
        {
            "kind": "promise.create",
            "head": {"corrId": promise_id, "version": "2026-04-01"},
            "data": {"id": promise_id, "timeoutAt": 2**50, "param": {}, "tags": {}},
        }
    ).encode()


class Load:
    """Clients that create promises until the server is gone, and what became of each request."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.answered: set[str] = set()
        self.unanswered: set[str] = set()
        self.statuses: Counter[int] = Counter()
        self.enough = asyncio.Event()

    async def run(self, client: int) -> None:
        connector = aiohttp.TCPConnector(limit=1)
        async with aiohttp.ClientSession(connector=connector) as session:
            for number in range(1_000_000):
                promise_id = f"load-{client}-{number}"
                try:
                    async with session.post(self.url, data=creation(promise_id)) as response:
                        status = json.loads(await response.read())["head"]["status"]
                except aiohttp.ClientError:
                    self.unanswered.add(promise_id)
                    return
                self.statuses[status] += 1
                if status == 200:
                    self.answered.add(promise_id)
                if len(self.answered) >= BEFORE_STOP:
                    self.enough.set()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_stop_under_load_answers_whoever_was_heard(tmp_path: Path, number: signal.Signals) -> None:
    store = f"sqlite:///{tmp_path / 'x.db'}"
    environment = {name: text for name, text in os.environ.items() if not name.startswith("DAO_SCORER_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "scorers", "serve", "--store", store, "--port", "0",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=environment, cwd=tmp_path,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        async with asyncio.timeout(60):
            load = Load((await process.stdout.readline()).decode().split()[-1])
            async with asyncio.TaskGroup() as group:
                for client in range(CLIENTS):
                    group.create_task(load.run(client))
                await load.enough.wait()
                process.send_signal(number)
            assert await process.wait() == 0
            assert await process.stderr.read() == b""
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    assert set(load.statuses) <= {200, 503}, load.statuses
    async with world(store) as w:
        stored: set[str] = set()
        cursor = None
        while True:
            page = await w.do(c.PromiseSearch(state=PromiseState.PENDING, limit=1000, cursor=cursor))
            stored |= {promise.id for promise in page.promises}
            if (cursor := page.cursor) is None:
                break
    assert load.answered <= stored, "an answer that was given is stored"
    assert not load.unanswered & stored, "what was carried out was answered"
