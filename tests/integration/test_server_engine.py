"""The whole way with the real engine: commands and messages over HTTP, on both stores."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from orchestrator.commitments.bundle import bundle_from_json
from orchestrator.commitments.proof import close_tree
from orchestrator.domain import tags as tag
from orchestrator.domain.address import any_of, only
from orchestrator.domain.errors import Refused
from orchestrator.engine import Engine
from orchestrator.protocol import commands as c
from orchestrator.protocol.envelope import encode_request
from orchestrator.protocol.messages import Execute, Message, Unblock
from orchestrator.protocol.records import PromiseState, TaskState, Value
from orchestrator.store import open_store
from orchestrator.transport.http import HttpTransport
from orchestrator.transport.stream import StreamSettings
from tests.integration.server_support import FAR, get, served
from tests.integration.test_server_proofs import DOMAIN, step

QUICK = StreamSettings(backoff_s=0.02, backoff_s_max=0.1)


@pytest.fixture(params=["memory", "sqlite"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/engine.db"


@contextlib.asynccontextmanager
async def client(url: str) -> AsyncIterator[HttpTransport]:
    transport = HttpTransport(url, stream=QUICK)
    try:
        yield transport
    finally:
        await transport.close()


def invocation(promise_id: str, group: str = "scorers") -> c.PromiseCreate:
    tags = {tag.TARGET: any_of(group), tag.ORIGIN: promise_id, tag.BRANCH: promise_id}
    return c.PromiseCreate(id=promise_id, timeout_at=FAR, tags=tags)


async def test_an_invocation_is_delivered_acquired_fulfilled_and_told(store_url: str) -> None:
    to_worker: asyncio.Queue[Message] = asyncio.Queue()
    to_caller: asyncio.Queue[Message] = asyncio.Queue()
    async with (
        asyncio.timeout(20),
        Engine(open_store(store_url)) as engine,
        served(engine) as url,
        client(url) as http,
        http.connect("scorers", "w1", to_worker.put_nowait),
        http.connect("callers", "c1", to_caller.put_nowait),
    ):
        await http.call(invocation("a"))
        await http.call(c.PromiseRegisterListener(awaited="a", address=only("callers", "c1")))
        message = await to_worker.get()
        assert message == Execute(task=c.TaskReference(id="a", version=0))
        claim = await http.call(c.TaskAcquire(id="a", version=0, pid="w1", ttl=10_000))
        assert (claim.task.version, claim.task.state) == (1, TaskState.ACQUIRED)
        with pytest.raises(Refused) as caught:
            await http.call(c.TaskAcquire(id="a", version=0, pid="w2", ttl=10_000))
        assert caught.value.status == 409
        settle = c.PromiseSettle(id="a", state=PromiseState.RESOLVED, value=Value(data="42"))
        await http.call(c.TaskFulfill(id="a", version=1, action=settle))
        told = await to_caller.get()
        assert isinstance(told, Unblock)
        assert (told.promise.id, told.promise.value.data) == ("a", "42")


async def test_what_waited_while_nobody_was_connected_comes_on_connecting(store_url: str) -> None:
    received: asyncio.Queue[Message] = asyncio.Queue()
    async with (
        asyncio.timeout(20),
        Engine(open_store(store_url)) as engine,
        served(engine) as url,
        client(url) as http,
    ):
        await http.call(invocation("a"))
        async with http.connect("scorers", "w1", received.put_nowait):
            assert await received.get() == Execute(task=c.TaskReference(id="a", version=0))


async def test_a_restarted_server_goes_on_with_what_was_stored(tmp_path: Path) -> None:
    store_url = f"sqlite:///{tmp_path}/engine.db"
    received: asyncio.Queue[Message] = asyncio.Queue()
    async with asyncio.timeout(30), contextlib.AsyncExitStack() as stack:
        async with Engine(open_store(store_url)) as engine, served(engine) as url:
            http = await stack.enter_async_context(client(url))
            await http.call(invocation("a"))
            await stack.enter_async_context(http.connect("others", "w1", received.put_nowait))
        port = int(url.rpartition(":")[2])
        async with Engine(open_store(store_url)) as engine, served(engine, port=port):
            assert (await http.call(c.PromiseGet(id="a"))).promise.pending
            await http.call(invocation("b", "others"))
            assert await received.get() == Execute(task=c.TaskReference(id="b", version=0))
            await stack.aclose()


async def test_a_proof_is_built_from_the_store(store_url: str) -> None:
    steps = [step(number) for number in range(1, 4)]
    root = steps[0].id.partition(":")[0]
    closing = close_tree(DOMAIN, steps, before=f"{root}:4")
    values = [*(record.value for record in steps), Value(headers=closing.to_headers())]
    async with Engine(open_store(store_url)) as engine, served(engine) as url, client(url) as http:
        await http.call(c.PromiseCreate(id=root, timeout_at=FAR))
        assert (await get(url, f"/proofs/{root}"))[0] == 409
        for number, value in enumerate(values, start=1):
            promise_id, tags = f"{root}:{number}", {tag.ORIGIN: root}
            await http.call(c.PromiseCreate(id=promise_id, timeout_at=FAR, tags=tags))
            await http.call(c.PromiseSettle(id=promise_id, state=PromiseState.RESOLVED, value=value))
        status, body, headers = await get(url, f"/proofs/{root}")
        assert (status, headers["Cache-Control"]) == (200, "no-cache")
        await http.call(c.PromiseSettle(id=root, state=PromiseState.RESOLVED))
        status, final, headers = await get(url, f"/proofs/{root}")
        assert "immutable" in headers["Cache-Control"]
    assert final == body
    assert bundle_from_json(body).root == "0x" + closing.root.hex()


async def test_metrics_show_what_the_engine_does(store_url: str) -> None:
    async with (
        Engine(open_store(store_url)) as engine,
        served(engine) as url,
        client(url) as http,
        http.connect("scorers", "w1", lambda _: None),
    ):
        await http.call(invocation("a"))
        await http.call(invocation("b", "nobody"))
        await http.call(c.TaskAcquire(id="a", version=0, pid="w1", ttl=10_000))
        text = (await get(url, "/metrics"))[1].decode()
        assert (await get(url, "/ready"))[0] == 200
    lines = text.splitlines()
    for line in (
        'orchestrator_requests_total{kind="promise.create",status="200"} 2.0',
        'orchestrator_commands_total{kind="task.acquire",status="200"} 1.0',
        'orchestrator_messages_total{kind="execute"} 1.0',
        "orchestrator_connections 1.0",
        "orchestrator_streams 1.0",
        "orchestrator_promises_pending 2.0",
        'orchestrator_tasks{group="scorers",state="acquired"} 1.0',
        'orchestrator_tasks{group="nobody",state="pending"} 1.0',
        'orchestrator_batch_commands_bucket{le="1.0"} 3.0',
    ):
        assert line in lines, line
    assert any(line.startswith('orchestrator_outbox{kind="execute"} ') for line in lines)
    assert "orchestrator_commit_seconds_count" in text
    assert 'orchestrator_oldest_pending_seconds{group="nobody"} ' in text
    assert 'orchestrator_oldest_pending_seconds{group="scorers"} ' not in text


async def test_many_callers_share_commits_and_none_is_lost(store_url: str) -> None:
    async with (
        asyncio.timeout(30),
        Engine(open_store(store_url)) as engine,
        served(engine) as url,
        client(url) as http,
    ):
        async with asyncio.TaskGroup() as group:
            for number in range(256):
                group.create_task(http.call(c.PromiseCreate(id=f"p{number:03}", timeout_at=FAR)))
        page = await http.call(c.PromiseSearch(limit=1000))
        assert [record.id for record in page.promises] == [f"p{number:03}" for number in range(256)]
        assert engine.statistics.batches.count < 256


async def test_callers_that_hang_up_in_the_middle_harm_nobody(store_url: str) -> None:
    async with (
        asyncio.timeout(30),
        Engine(open_store(store_url)) as engine,
        served(engine) as url,
        client(url) as http,
    ):
        host, _, port = url.removeprefix("http://").partition(":")
        for number in range(40):
            body = encode_request(c.PromiseCreate(id=f"gone{number}", timeout_at=FAR), "c")
            _, writer = await asyncio.open_connection(host, int(port))
            head = f"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + (body if number % 2 else body[:-5]))
            await writer.drain()
            writer.transport.abort()
        await http.call(c.PromiseCreate(id="here", timeout_at=FAR))
        assert (await http.call(c.PromiseGet(id="here"))).promise.pending
        # Of those cut off inside their body none was carried out.
        found = {record.id for record in (await http.call(c.PromiseSearch(limit=1000))).promises}
        assert found <= {"here"} | {f"gone{number}" for number in range(1, 40, 2)}
