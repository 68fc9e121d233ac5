"""A server's part in a trace: requests continue their caller's, commits tell whom they carried out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

pytest.importorskip("opentelemetry.sdk", reason="the extra `otel` is not installed")
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from orchestrator import Context, Orchestrator
from orchestrator.domain import trace
from orchestrator.engine import Engine
from orchestrator.protocol import commands as c
from orchestrator.server import ServerSettings, create_app, listening
from orchestrator.store import open_store
from orchestrator.telemetry import Tracing
from orchestrator.transport.http import HttpTransport
from tests.engine_world import create
from tests.integration.auth_support import envelope
from tests.integration.server_support import ScriptedEngine, post

CALLER = f"00-{'1' * 32}-{'2' * 16}-01"


@asynccontextmanager
async def tracing() -> AsyncIterator[tuple[Tracing, InMemorySpanExporter]]:
    exporter = InMemorySpanExporter()
    made = Tracing(SimpleSpanProcessor(exporter))
    try:
        yield made, exporter
    finally:
        await made.close()


@asynccontextmanager
async def traced_server() -> AsyncIterator[tuple[str, InMemorySpanExporter]]:
    async with tracing() as (observer, exporter), Engine(open_store("sqlite:///:memory:")) as engine:
        engine.observe(observer)
        async with listening(create_app(engine, ServerSettings(port=0), observer=observer)) as url:
            yield url, exporter


def parent_id(span: ReadableSpan) -> int | None:
    return span.parent.span_id if span.parent is not None else None


def only(exporter: InMemorySpanExporter, name: str) -> ReadableSpan:
    (found,) = [span for span in exporter.get_finished_spans() if span.name == name]
    return found


async def test_a_request_continues_its_callers_trace_and_its_commit_stands_below() -> None:
    async with traced_server() as (url, exporter):
        body = envelope("promise.create", {"id": "p", "timeoutAt": 2**50})
        assert (await post(url, body, traceparent=CALLER))[0] == 200
    request, commit = only(exporter, "promise.create"), only(exporter, "commit")
    assert request.kind is SpanKind.SERVER
    assert request.context.trace_id == commit.context.trace_id == int("1" * 32, 16)
    assert parent_id(request) == int("2" * 16, 16)
    assert parent_id(commit) == request.context.span_id
    assert request.attributes["promise.id"] == "p"
    assert request.attributes["rpc.status"] == 200
    assert request.attributes["commit.commands"] == commit.attributes["commit.commands"] == 1
    assert 0 < request.attributes["commit.seconds"] < 10
    assert request.start_time <= commit.start_time <= commit.end_time <= request.end_time


async def test_one_commit_is_linked_to_all_the_requests_that_it_carried_out() -> None:
    async with traced_server() as (url, exporter):
        transport = HttpTransport(url)
        await asyncio.gather(*(transport.call(create(f"p{number}")) for number in range(40)))
        await transport.close()
    requests = {s.context.span_id for s in exporter.get_finished_spans() if s.name == "promise.create"}
    commits = [span for span in exporter.get_finished_spans() if span.name == "commit"]
    told = [parent_id(span) for span in commits]
    told += [link.context.span_id for span in commits for link in span.links]
    assert len(requests) == len(told) == 40
    assert set(told) == requests
    assert sum(span.attributes["commit.commands"] for span in commits) == 40


async def test_what_is_no_header_begins_a_trace_and_what_is_not_sampled_is_not_recorded() -> None:
    async with traced_server() as (url, exporter):
        body = envelope("promise.get", {"id": "nobody"})
        assert (await post(url, body, traceparent="nonsense"))[0] == 404
        assert (await post(url, body, traceparent=CALLER[:-2] + "00"))[0] == 404
        assert (await post(url, b"no request"))[0] == 400
    request = only(exporter, "promise.get")
    assert request.parent is None
    assert request.status.status_code is StatusCode.UNSET
    assert only(exporter, "unknown").attributes["rpc.status"] == 400


async def test_a_fault_of_the_server_is_an_error_and_nothing_leaks_into_the_next_request() -> None:
    async def fail(_: object) -> None:
        assert trace.HERE.get() is not None
        raise OSError("broken")

    engine = ScriptedEngine()
    engine.before = fail
    async with tracing() as (observer, exporter):
        app = create_app(engine, ServerSettings(port=0), observer=observer)
        async with listening(app) as url, aiohttp.ClientSession() as session:
            for _ in range(2):
                async with session.post(url, data=envelope("promise.get", {"id": "a"})) as response:
                    assert response.status == 500
    first, second = exporter.get_finished_spans()
    assert first.status.status_code is StatusCode.ERROR
    assert first.context.trace_id != second.context.trace_id
    assert second.parent is None
    assert observer._requests == {}


async def test_an_observer_that_fails_harms_no_commit() -> None:
    class Failing:
        def on_commit(self, traces: object, seconds: float) -> None:
            raise RuntimeError("no")

    async with Engine(open_store("sqlite:///:memory:")) as engine:
        engine.observe(Failing())
        await asyncio.gather(*(engine.handle(create(f"p{number}")) for number in range(3)))
        assert len((await engine.handle(c.PromiseSearch())).promises) == 3


async def test_a_workers_calls_stand_below_its_execution() -> None:
    async def twice(ctx: Context, number: int) -> int:
        return await ctx.run(double, number)

    def double(number: int) -> int:
        return 2 * number

    async with (
        traced_server() as (url, exporter),
        tracing() as (observer, own),
        Orchestrator.remote(url, group="far") as app,
    ):
        app.observe(observer)
        app.observe_executions(observer)
        app.register(twice)
        app.register(double)
        assert await app.run("root", twice, 21) == 42
    execution = only(own, "execute twice")
    fulfil = only(exporter, "task.fulfill")
    assert fulfil.context.trace_id == execution.context.trace_id
    assert parent_id(fulfil) == execution.context.span_id


async def test_without_an_observer_nothing_is_read_or_sent() -> None:
    engine = ScriptedEngine()
    async with listening(create_app(engine, ServerSettings(port=0))) as url:
        assert (await post(url, envelope("promise.get", {"id": "a"}), traceparent=CALLER))[0] == 404
    assert trace.HERE.get() is None
