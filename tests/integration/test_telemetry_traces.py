"""Traces: one for an invocation, whichever processes took part; the record knows nothing of them."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

pytest.importorskip("opentelemetry.sdk", reason="the extra `otel` is not installed")
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from orchestrator import ApplicationError, Context, Orchestrator
from orchestrator.commitments.closing import Closing
from orchestrator.domain import tags as tag
from orchestrator.domain import trace
from orchestrator.domain.retry import Linear
from orchestrator.engine import Engine
from orchestrator.protocol import commands as c
from orchestrator.protocol.records import PromiseRecord
from orchestrator.store import open_store
from orchestrator.telemetry import Tracing
from orchestrator.transport.local import LocalTransport
from scorers.errors import SettingsError
from scorers.tracing import traced, wanted

DOMAIN = b"\x01" * 32


async def fetch(number: int) -> int:
    return number


def double(number: int) -> int:
    return 2 * number


async def fail(number: int) -> int:
    raise ValueError(f"{number} is wrong")


async def far(ctx: Context, number: int) -> int:
    return await ctx.run(double, number)


async def near(ctx: Context, number: int) -> tuple[int, Closing]:
    fetched = await ctx.run(fetch, number)
    closing = await ctx.close_commitments(DOMAIN)
    doubled = await ctx.options(target="far").rpc(far, fetched)
    return doubled, closing


async def failing(ctx: Context) -> int:
    try:
        return await ctx.run(fail, 1)
    except ApplicationError:
        return 0


class Process:
    """An application as it would stand in a process of its own, with its own exporter."""

    def __init__(self, engine: Engine, group: str, *, traced: bool = True, worker: bool = True) -> None:
        self.app = Orchestrator(transport=LocalTransport(engine), group=group, worker=worker, grace_s=0.05)
        self.exporter = InMemorySpanExporter()
        self.tracing = Tracing(SimpleSpanProcessor(self.exporter), {"service.name": group})
        if traced:
            self.app.observe(self.tracing)
            self.app.observe_executions(self.tracing)
        self.app.register(fetch, commit=True)
        self.app.register(fail, retry=Linear(delay_s=0.01, attempts_max=2))
        for function in (double, far, near, failing):
            self.app.register(function)

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self.exporter.get_finished_spans())


@asynccontextmanager
async def processes(*groups: str, **options: Any) -> AsyncIterator[tuple[Engine, list[Process]]]:
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(Engine(open_store("memory://")))
        started = [Process(engine, group, **options) for group in groups]
        for process in started:
            await stack.enter_async_context(process.app)
            stack.push_async_callback(process.tracing.close)
        yield engine, started


async def records(engine: Engine) -> list[PromiseRecord]:
    return (await engine.handle(c.PromiseSearch(limit=100))).promises


def untraced(record: PromiseRecord) -> dict[str, str]:
    return {name: text for name, text in record.tags.items() if name != tag.TRACE}


def named(spans: list[ReadableSpan]) -> dict[str, ReadableSpan]:
    return {span.name: span for span in spans}


def parent_id(span: ReadableSpan) -> int | None:
    return span.parent.span_id if span.parent is not None else None


async def test_one_trace_through_three_processes() -> None:
    async with processes("near", "far") as (engine, (first, second)):
        caller = Process(engine, "caller", worker=False)
        async with caller.app:
            with caller.tracing._tracer.start_as_current_span("request") as request:
                result = await caller.app.options(target="near").rpc("root", near, 21)
        await caller.tracing.close()
        assert result[0] == 42
        tagged = {promise.id: promise.tags.get(tag.TRACE) for promise in await records(engine)}
    spans = [*caller.spans, *first.spans, *second.spans]
    assert len({span.context.trace_id for span in spans}) == 1
    assert {span.resource.attributes["service.name"] for span in spans} == {"caller", "near", "far"}
    found = named(spans)
    assert set(found) == {"request", "near", "execute near", "fetch", "far", "execute far", "double"}
    above = {
        "near": "request",
        "execute near": "near",
        "fetch": "execute near",
        "far": "near",
        "execute far": "far",
        "double": "execute far",
    }
    executions = {span.context.span_id for span in spans if span.name == "execute near"}
    assert len(executions) == 2, "before and after the suspension"
    for name, parent in above.items():
        assert parent_id(found[name]) in {s.context.span_id for s in spans if s.name == parent}, name
    assert found["near"].attributes["promise.id"] == "root"
    assert found["near"].context.span_id == int(trace.span_id("root"), 16)
    assert request.get_span_context().trace_id == found["double"].context.trace_id
    # The tag stands on invocations only: a step's record is what it is without traces.
    assert [key for key, value in tagged.items() if value is not None] == ["root", "root:3"]


async def test_the_record_is_the_same_without_traces() -> None:
    found = []
    for with_traces in (True, False):
        async with processes("near", "far", traced=with_traces) as (engine, (first, _)):
            # The address names this process, by chance.
            await first.app.options(target="near").rpc("root", near, 21)
            found.append(
                [(one.id, one.state, one.param, one.value, untraced(one)) for one in await records(engine)]
            )
    assert found[0] == found[1]
    assert len(found[0]) == 5


async def test_a_root_that_names_no_trace_has_one_of_its_own() -> None:
    async with processes("near", "far") as (_, (first, second)):
        await first.app.run("root", near, 21)
    spans = [*first.spans, *second.spans]
    assert len({span.context.trace_id for span in spans}) == 1
    found = named(spans)
    assert found["near"].parent is None
    assert parent_id(found["far"]) == found["near"].context.span_id


async def test_a_repeated_creation_writes_the_same_tag() -> None:
    root = "00-" + "1" * 32 + "-" + "2" * 16 + "-01"
    under = trace.under_promise(root, "root")
    assert under == trace.under_promise(root, "root")
    assert under is not None
    assert trace.parse(under) == ("1" * 32, trace.span_id("root"), "01")
    assert trace.under_promise(None, "root") is None


@pytest.mark.parametrize(
    "text",
    ["", "00-1-2-01", "01-" + "1" * 32 + "-" + "2" * 16 + "-01", "00-" + "0" * 32 + "-" + "2" * 16 + "-01"],
)
async def test_a_tag_that_is_no_traceparent_harms_nobody(text: str) -> None:
    async with processes("near", "far") as (_, (first, second)):
        result = await first.app.options(tags={tag.TRACE: text}).run("root", near, 21)
    assert result[0] == 42
    assert len({span.context.trace_id for span in [*first.spans, *second.spans]}) == 1


async def test_what_is_not_sampled_is_not_recorded() -> None:
    unsampled = "00-" + "1" * 32 + "-" + "2" * 16 + "-00"
    async with processes("near", "far") as (_, (first, second)):
        await first.app.options(tags={tag.TRACE: unsampled}).run("root", near, 21)
    assert [*first.spans, *second.spans] == []


async def test_a_failed_step_is_an_error_and_a_stopped_one_is_abandoned() -> None:
    begun = asyncio.Event()

    async def endless(ctx: Context) -> None:
        await ctx.run(stuck)

    async def stuck() -> None:
        begun.set()
        await asyncio.Event().wait()

    async with processes("near") as (_, (first,)):
        first.app.register(endless)
        first.app.register(stuck)
        await first.app.begin_run("endless", endless)
        await begun.wait()
        await first.app.stop()
    found = named(first.spans)
    assert found["stuck"].status.status_code is StatusCode.ERROR
    assert "endless" not in found, "a promise that is open has no span yet"
    async with processes("near") as (_, (first,)):
        assert await first.app.run("failing", failing) == 0
    found = named(first.spans)
    assert found["fail"].status.status_code is StatusCode.ERROR
    assert [event.attributes for event in found["fail"].events] == [
        {"step.attempt": 1},
        {"step.attempt": 2},
    ]
    assert found["failing"].status.status_code is StatusCode.UNSET


# -- when it is on


def test_it_is_off_unless_asked_for() -> None:
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}
    assert not wanted({})
    assert wanted(endpoint)
    assert wanted({"OTEL_TRACES_EXPORTER": "otlp"})
    assert not wanted({**endpoint, "OTEL_TRACES_EXPORTER": "none"})
    assert not wanted({**endpoint, "OTEL_SDK_DISABLED": "true"})
    with pytest.raises(SettingsError, match="only otlp and none"):
        wanted({"OTEL_TRACES_EXPORTER": "zipkin"})


async def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    app = Orchestrator.local(":memory:")
    with pytest.raises(SettingsError, match=r"pip install 'dao-scorer\[otel\]'"):
        async with traced(app):
            pass


async def test_spans_are_sent_to_the_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    bodies: list[bytes] = []

    async def take(request: web.Request) -> web.Response:
        bodies.append(await request.read())
        return web.Response(content_type="application/x-protobuf")

    sink = web.Application()
    sink.router.add_post("/v1/traces", take)
    async with TestServer(sink) as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", str(collector.make_url("/")).rstrip("/"))
        monkeypatch.setenv("OTEL_SERVICE_NAME", "scorer-of-the-test")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
        app = Orchestrator.local(":memory:")
        app.register(fetch)
        async with traced(app), app:
            assert await app.run("sent", fetch, 3) == 3
    sent = b"".join(bodies)
    assert b"scorer-of-the-test" in sent
    assert b"execute fetch" in sent


async def test_a_collector_that_is_away_delays_no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setattr("orchestrator.telemetry.FLUSH_TIMEOUT_S", 0.2)
    app = Orchestrator.local(":memory:")
    app.register(fetch)
    async with asyncio.timeout(5):
        async with traced(app), app:
            assert await app.run("sent", fetch, 3) == 3
