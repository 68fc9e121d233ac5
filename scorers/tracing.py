"""Whether this process traces, by OpenTelemetry's own variables; the packages are an extra.

Off unless an endpoint or an exporter is named. Knows no command.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from orchestrator import Orchestrator
from scorers.errors import SettingsError

if TYPE_CHECKING:
    from orchestrator.telemetry import Tracing

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
EXPORTER = "OTEL_TRACES_EXPORTER"


def wanted(environment: Mapping[str, str]) -> bool:
    """Tell whether spans are to be sent. Raises SettingsError for an exporter that this program has not."""
    exporter = environment.get(EXPORTER, "").strip().lower()
    if exporter not in {"", "none", "otlp"}:
        raise SettingsError(f"{EXPORTER}={exporter}: only otlp and none are known here")
    if exporter == "none" or environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    return exporter == "otlp" or any(environment.get(name) for name in ENDPOINTS)


@asynccontextmanager
async def traced(app: Orchestrator, tracing: Tracing | None = None) -> AsyncIterator[None]:
    """Trace what an application does, where the environment wants it. Raises SettingsError.

    `tracing` is that of the process, if it has one already.
    """
    async with AsyncExitStack() as stack:
        own = tracing or await stack.enter_async_context(process_tracing())
        if own is not None:
            app.observe(own)
            app.observe_executions(own)
        yield


@asynccontextmanager
async def process_tracing() -> AsyncIterator[Tracing | None]:
    """Hold the tracing of this process; None where the environment wants none. Raises SettingsError."""
    if not wanted(os.environ):
        yield None
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415  # an extra
            OTLPSpanExporter,
        )
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

        from orchestrator.telemetry import Tracing  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise SettingsError(
            "traces are wanted (OTEL_…) and their packages are missing: pip install 'dao-scorer[otel]'"
        ) from error
    tracing = Tracing(BatchSpanProcessor(OTLPSpanExporter()))
    try:
        yield tracing
    finally:
        await tracing.close()
