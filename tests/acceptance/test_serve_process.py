"""What `dao-scorer serve` shows and allows as a process of its own: metrics, debug operations, traces."""

from __future__ import annotations

import re
import resource
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from orchestrator.domain.errors import Refused, Unavailable
from orchestrator.domain.promise import Value
from orchestrator.protocol import commands as c
from orchestrator.protocol import schedules as s
from orchestrator.protocol.debugging import DebugSnap, DebugTick
from orchestrator.transport.http import HttpTransport
from tests.acceptance.nursery import Nursery
from tests.acceptance.serving import Served
from tests.engine_world import TARGET, create

pytestmark = pytest.mark.acceptance
SHOWN = (
    r'orchestrator_tasks\{group="workers",state="pending"\} 1\.0',
    r'orchestrator_oldest_pending_seconds\{group="workers"\} [0-9.]+',
    r'orchestrator_outbox\{kind="execute"\} 1\.0',
    r'orchestrator_outbox\{kind="unblock"\} 0\.0',
    r"orchestrator_promises_pending 1\.0",
    r"orchestrator_connections 1\.0",
    r"orchestrator_streams 1\.0",
    r"orchestrator_sockets [1-9][0-9]*\.0",
    r"orchestrator_sockets_refused_total 0\.0",
    r'orchestrator_batch_commands_bucket\{le="\+Inf"\} [1-9]',
    r"orchestrator_batch_commands_sum [1-9]",
    r'orchestrator_commit_seconds_bucket\{le="0\.001"\} [0-9]+',
    r"orchestrator_commit_seconds_sum 0\.[0-9]+",
    r"orchestrator_batches_failed_total 0\.0",
    r"orchestrator_queued_commands [0-9.]+",
    r"orchestrator_ticks_total [1-9]",
    r"orchestrator_schedule_runs_total 0\.0",
    r"orchestrator_promises_removed_total 0\.0",
    r'orchestrator_requests_total\{kind="promise\.create",status="200"\} 1\.0',
    r'orchestrator_request_duration_seconds_count\{kind="promise\.create"\} 1\.0',
    r'orchestrator_commands_total\{kind="promise\.create",status="200"\} 1\.0',
    r'orchestrator_messages_unroutable_total\{kind="execute"\} 1\.0',
)


@pytest.fixture
def served(nursery: Nursery, tmp_path: Path) -> Served:
    return Served(nursery=nursery, folder=tmp_path, store=f"sqlite:///{tmp_path}/s.db")


async def test_each_number_that_an_operator_asks_for(served: Served) -> None:
    await served.start()
    transport = HttpTransport(served.url)
    try:
        await transport.call(create("p", target=TARGET))
        async with (
            transport.connect("others", "w1", lambda _: None),
            aiohttp.ClientSession() as session,
            session.get(served.url + "/metrics") as response,
        ):
            text = await response.text()
    finally:
        await transport.close()
        await served.close()
    missing = [line for line in SHOWN if re.search(f"^{line}", text, re.MULTILINE) is None]
    assert not missing, (missing, text)


async def test_debug_operations_are_for_a_server_that_was_started_for_them(served: Served) -> None:
    await served.start("--debug")
    transport = HttpTransport(served.url)
    try:
        now = (await transport.call(create("p"))).promise.created_at
        cron = s.ScheduleCreate(
            id="s", cron="* * * * *", promise_id="{{.id}}-{{.timestamp}}", promise_timeout=2**50,
            promise_tags={"resonate:target": TARGET},
        )  # fmt: skip
        await transport.call(cron)
        await transport.call(DebugTick(time=now + 120_000))
        assert len((await transport.call(DebugSnap())).promises) == 3
        async with aiohttp.ClientSession() as session, session.get(served.url + "/metrics") as response:
            assert "orchestrator_schedule_runs_total 2.0" in await response.text()
        await served.kill()
        await served.start()
        with pytest.raises(Refused) as caught:
            await transport.call(DebugSnap())
        assert caught.value.status == 403
        assert (await transport.call(c.PromiseGet(id="p"))).promise.pending
    finally:
        await transport.close()
        await served.close()


async def test_a_server_sends_its_spans(served: Served) -> None:
    pytest.importorskip("opentelemetry.sdk", reason="the extra `otel` is not installed")
    bodies: list[bytes] = []

    async def take(request: web.Request) -> web.Response:
        bodies.append(await request.read())
        return web.Response(content_type="application/x-protobuf")

    sink = web.Application()
    sink.router.add_post("/v1/traces", take)
    async with TestServer(sink) as collector:
        served.environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = str(collector.make_url("/")).rstrip("/")
        await served.start()
        transport = HttpTransport(served.url)
        try:
            await transport.call(create("p"))
            assert await served.stop() == 0
        finally:
            await transport.close()
            await served.close()
    sent = b"".join(bodies)
    assert b"promise.create" in sent
    assert b"commit.seconds" in sent


def _large(number: int) -> c.PromiseCreate:
    return c.PromiseCreate(id=f"p{number:02}", timeout_at=2**50, param=Value(data="x" * 3_000))


async def _fill(transport: HttpTransport, kept: list[str]) -> None:
    """Write until refused; `kept` takes the ids of what was acknowledged."""
    for number in range(20):
        kept.append((await transport.call(_large(number))).promise.id)


async def test_a_server_whose_disk_takes_no_more(served: Served) -> None:
    """What the system refuses to write is refused to the caller; all is well once there is room again."""
    await served.start()
    transport = HttpTransport(served.url)
    try:
        await transport.call(create("before"))
        assert served.process is not None
        log = (served.folder / "s.db-wal").stat().st_size
        unlimited = resource.RLIM_INFINITY
        resource.prlimit(served.process.pid, resource.RLIMIT_FSIZE, (log + 20_000, unlimited))
        kept = ["before"]
        with pytest.raises(Unavailable, match="check the disk's space and rights"):
            await _fill(transport, kept)
        large = _large(len(kept) - 1)
        with pytest.raises(Unavailable):
            await transport.call(large)
        resource.prlimit(served.process.pid, resource.RLIMIT_FSIZE, (unlimited, unlimited))
        assert [each.id for each in (await transport.call(c.PromiseSearch())).promises] == kept
        await transport.call(large)
        await served.kill()
        await served.start()
        found = [each.id for each in (await transport.call(c.PromiseSearch())).promises]
        assert found == [*kept, large.id]
    finally:
        await transport.close()
        await served.close()
