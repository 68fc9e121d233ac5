"""`dao-scorer serve`: the orchestrator by itself."""

from __future__ import annotations

from orchestrator import prepare_process
from scorers.cli.flags import configured
from scorers.cli.session import stop_signals
from scorers.ready import announce
from scorers.serving import engine_of, served
from scorers.settings import Settings
from scorers.tracing import process_tracing

SERVING = (
    "host",
    "port",
    "jwt_public_key",
    "jwt_issuer",
    "jwt_audience",
    "jwt_unsigned",
    "tls_certificate",
    "tls_key",
    "trusted_proxies",
    "cors_origins",
    "open_metrics",
    "open_proofs",
    "retain_children",
    "debug",
)
"""The settings of whatever serves."""


@configured("store", *SERVING)
async def serve(settings: Settings) -> None:
    """Serve the orchestrator over HTTP. Promises, tasks, delivery, proofs and metrics."""
    prepare_process()
    with stop_signals() as stop:
        async with (
            process_tracing() as tracing,
            engine_of(settings) as engine,
            served(engine, settings, tracing) as url,
        ):
            announce(url)
            await stop.wait()
