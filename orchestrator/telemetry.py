"""OpenTelemetry traces of invocations, across any number of processes; an extra, and off unless asked for.

Each promise that a worker executes has one span from its creation to its settlement, with the executions
below it, and the steps below those. The core knows nothing of this: it tells observers what happens, and
hands a tag on (`orchestrator.domain.trace`). Observers run between a worker's own work: they only record.

A server's request is a span that continues its caller's (header `traceparent`); the commit that carried its
command out is a span below the first request of the batch, linked to the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar, Token
from dataclasses import dataclass
from threading import Thread
from time import time_ns

from opentelemetry import context
from opentelemetry.context import Context
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    get_current_span,
    set_span_in_context,
)

from orchestrator.client.codec import DecodingError
from orchestrator.client.encryption import DecryptionError
from orchestrator.client.invocation import read_invocation
from orchestrator.client.verdict import Ending, Verdict
from orchestrator.domain import tags as tag
from orchestrator.domain import trace
from orchestrator.domain.promise import PromiseRecord, PromiseState

SERVICE = "dao-scorer"
PROMISE_ID, TASK_VERSION, ENDING, STATE, ATTEMPT = (
    "promise.id",
    "task.version",
    "execution.ending",
    "promise.state",
    "step.attempt",
)
STATUS, COMMIT_COMMANDS, COMMIT_SECONDS = "rpc.status", "commit.commands", "commit.seconds"
FAILED_FROM = 500
LINKS_MAX = 127
FLUSH_TIMEOUT_S = 10.0
_given: ContextVar[tuple[str, str] | None] = ContextVar("trace id and span id", default=None)


class _Ids(RandomIdGenerator):
    """Ids by chance, but for the spans of promises."""

    def generate_span_id(self) -> int:
        given = _given.get()
        return super().generate_span_id() if given is None else int(given[1], 16)

    def generate_trace_id(self) -> int:
        given = _given.get()
        return super().generate_trace_id() if given is None else int(given[0], 16)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """A step that runs, and the promise whose execution runs it."""

    owner: str | None
    span: Span


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """A request that runs, and what stood in its context before it."""

    span: Span
    place: str
    before: Token[str | None]


class Tracing:
    """Observes an application, and gives `processor` the spans. Close it to have the last ones sent.

    `resource` adds to what OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say of this process.
    """

    def __init__(self, processor: SpanProcessor, resource: Mapping[str, str] | None = None) -> None:
        described = Resource({SERVICE_NAME: SERVICE}).merge(Resource.create(dict(resource or {})))
        self._provider = TracerProvider(
            id_generator=_Ids(), resource=_named(described), shutdown_on_exit=False
        )
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("orchestrator")
        self._requests: dict[str, Span] = {}
        self._executions: dict[str, dict[int, Span]] = {}
        self._steps: dict[str, _Step] = {}

    async def close(self) -> None:
        """Send what has not been sent, for at most FLUSH_TIMEOUT_S."""
        loop, sent = asyncio.get_running_loop(), asyncio.Event()

        def flush() -> None:
            self._provider.shutdown()
            with suppress(RuntimeError):  # the loop was closed meanwhile
                loop.call_soon_threadsafe(sent.set)

        # Not in the loop's own threads, which a process waits for however long a collector is away.
        Thread(target=flush, name="telemetry-flush", daemon=True).start()
        with suppress(TimeoutError):
            await asyncio.wait_for(sent.wait(), FLUSH_TIMEOUT_S)

    # -- a server's requests and commits

    def on_request_started(self, traceparent: str | None) -> _Request:
        """Begin the span of a request, below its caller's."""
        span = self._tracer.start_span("request", context=_remote(traceparent), kind=SpanKind.SERVER)
        place = _traceparent(span.get_span_context())
        if span.is_recording():
            self._requests[place] = span
        return _Request(span=span, place=place, before=trace.HERE.set(place))

    def on_request_ended(self, begun: object, kind: str, status: int, promise_id: str | None) -> None:
        """End that span."""
        if not isinstance(begun, _Request):
            return
        trace.HERE.reset(begun.before)
        self._requests.pop(begun.place, None)
        span = begun.span
        span.update_name(kind)
        span.set_attribute(STATUS, status)
        if promise_id is not None:
            span.set_attribute(PROMISE_ID, promise_id)
        if status >= FAILED_FROM:
            span.set_status(Status(StatusCode.ERROR, str(status)))
        span.end()

    def on_commit(self, traces: Sequence[str | None], seconds: float) -> None:
        """Record a commit, and tell the requests that it carried out how many they were and what it took."""
        sampled = [place for place in traces if place is not None and _is_sampled(place)]
        if not sampled:
            return
        ended_ns = time_ns()
        first, *others = dict.fromkeys(sampled)
        span = self._tracer.start_span(
            "commit",
            context=_remote(first),
            links=[Link(known) for other in others[:LINKS_MAX] if (known := _place_of(other)) is not None],
            attributes={COMMIT_COMMANDS: len(traces)},
            start_time=ended_ns - int(seconds * 1e9),
        )
        span.end(ended_ns)
        for place in sampled:
            request = self._requests.get(place)
            if request is not None:
                request.set_attributes({COMMIT_COMMANDS: len(traces), COMMIT_SECONDS: seconds})

    # -- invocations

    def tags_for(self, promise_id: str) -> Mapping[str, str]:
        """Return the tag that ties a new root to the span in which it is created, if there is one."""
        current = get_current_span().get_span_context()
        if not current.is_valid:
            return {}
        return {tag.TRACE: _traceparent(current)}

    # -- executions

    def on_execution_started(self, promise: PromiseRecord, version: int) -> None:
        """Begin the span of one execution of a promise's function."""
        under = trace.under_promise(trace.above_promise(promise), promise.id)
        self._executions.setdefault(promise.id, {})[version] = self._tracer.start_span(
            f"execute {_function(promise)}",
            context=_remote(under),
            kind=SpanKind.CONSUMER,
            attributes={PROMISE_ID: promise.id, TASK_VERSION: version},
        )
        # Told in the task that executes, whose context ends with it: its calls stand below this span.
        trace.HERE.set(_traceparent(self._executions[promise.id][version].get_span_context()))

    def on_execution_ended(self, promise: PromiseRecord, version: int, verdict: Verdict) -> None:
        """End that span; with the promise's settlement its own span is known, too."""
        spans = self._executions.get(promise.id, {})
        span = spans.pop(version, None)
        if not spans:
            self._executions.pop(promise.id, None)
            self._abandon_steps(promise.id)
        if span is not None:
            span.set_attribute(ENDING, str(verdict.ending))
            if verdict.fault is not None:
                span.set_status(Status(StatusCode.ERROR, type(verdict.fault).__name__))
            span.end()
        if verdict.ending is Ending.SETTLED and verdict.record is not None:
            self._record_promise(verdict.record)

    def _record_promise(self, promise: PromiseRecord) -> None:
        above = trace.above_promise(promise)
        reset = _given.set((above.split("-")[1], trace.span_id(promise.id)))
        try:
            span = self._tracer.start_span(
                _function(promise),
                context=Context() if trace.begins_trace(promise) else _remote(above),
                kind=SpanKind.PRODUCER,
                attributes={PROMISE_ID: promise.id, STATE: str(promise.state)},
                start_time=promise.created_at * 1_000_000,
            )
        finally:
            _given.reset(reset)
        _set_outcome(span, promise.state)
        span.end((promise.settled_at or promise.created_at) * 1_000_000)

    # -- steps

    def on_step_started(self, promise_id: str, name: str, attempt: int) -> None:
        """Begin the span of a step, or note another attempt; what the step calls stands below it."""
        step = self._steps.get(promise_id)
        if step is None:
            owner = next((key for key in _upwards(promise_id) if key in self._executions), None)
            above = Context()
            if owner is not None:
                spans = self._executions[owner]
                above = set_span_in_context(spans[max(spans)], above)
            span = self._tracer.start_span(name, context=above, attributes={PROMISE_ID: promise_id})
            step = self._steps[promise_id] = _Step(owner=owner, span=span)
            # The step runs in a task of its own, whose context ends with it.
            context.attach(set_span_in_context(span))
            trace.HERE.set(_traceparent(span.get_span_context()))
        step.span.add_event("attempt", {ATTEMPT: attempt})

    def on_step_finished(self, promise_id: str, name: str, state: PromiseState) -> None:
        """End the span of a step whose outcome is stored."""
        step = self._steps.pop(promise_id, None)
        if step is not None:
            _set_outcome(step.span, state)
            step.span.end()

    def _abandon_steps(self, promise_id: str) -> None:
        """End the spans of steps whose execution ended before them: somebody else begins them again."""
        for key in [key for key, step in self._steps.items() if step.owner == promise_id]:
            span = self._steps.pop(key).span
            span.set_status(Status(StatusCode.ERROR, "abandoned"))
            span.end()


def _traceparent(place: SpanContext) -> str:
    return f"00-{place.trace_id:032x}-{place.span_id:016x}-{place.trace_flags:02x}"


def _named(described: Resource) -> Resource:
    name = described.attributes.get(SERVICE_NAME)
    unnamed = isinstance(name, str) and name.startswith("unknown_service")
    return described.merge(Resource({SERVICE_NAME: SERVICE})) if unnamed else described


def _remote(traceparent: str | None) -> Context:
    above = _place_of(traceparent)
    return Context() if above is None else set_span_in_context(NonRecordingSpan(above), Context())


def _place_of(traceparent: str | None) -> SpanContext | None:
    known = trace.parse(traceparent)
    if known is None:
        return None
    trace_id, span_id, flags = known
    return SpanContext(
        int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16))
    )


def _is_sampled(traceparent: str) -> bool:
    return int(traceparent[-2:], 16) & TraceFlags.SAMPLED != 0


def _function(promise: PromiseRecord) -> str:
    try:
        return read_invocation(promise).function
    except (DecodingError, DecryptionError):
        return "promise"


def _set_outcome(span: Span, state: PromiseState) -> None:
    span.set_attribute(STATE, str(state))
    if state is not PromiseState.RESOLVED:
        span.set_status(Status(StatusCode.ERROR, str(state)))


def _upwards(promise_id: str) -> Iterator[str]:
    """Yield an id and those from which it descends, in either dialect."""
    while promise_id:
        yield promise_id
        cut = max(promise_id.rfind("."), promise_id.rfind(":"))
        promise_id = promise_id[: max(cut, 0)]
