"""`dao-scorer listen`: from logs to invocations."""

from __future__ import annotations

from contextlib import AsyncExitStack

from contracts.rpc import Node
from orchestrator import prepare_process
from scorers import composition
from scorers.cli.flags import configured
from scorers.cli.session import started, stop_signals
from scorers.cli.worker import CHAIN
from scorers.listening import check_sources, listening_of, status_served
from scorers.readiness import check_registry
from scorers.ready import announce
from scorers.settings import Settings, require
from scorers.tracing import traced

LISTENING = ("dao", "registry", "start_block", "finality", "poll_interval", "filter_check")
"""The settings of whatever listens to one DAO."""


@configured(
    *LISTENING, "cursor", "server", *CHAIN, "group", "host", "open_metrics", "metrics_port", "websocket"
)
async def listen(settings: Settings) -> None:
    """Listen to DAOs and other contracts: invoke what each finalised log asks for."""
    check_sources(settings)
    prepare_process()
    with stop_signals() as stop:
        async with AsyncExitStack() as stack:
            node = None
            if not settings.sources:
                node = await stack.enter_async_context(composition.node_of(settings))
                await check_configured_registry(settings, node)
            app = composition.remote(settings, worker=False)
            await stack.enter_async_context(traced(app))
            heard = await stack.enter_async_context(listening_of(settings, app, node))
            url = await stack.enter_async_context(status_served(settings, heard))
            await stack.enter_async_context(started(app, stop))
            if not stop.is_set():
                where = heard.where if node is None else f"{settings.dao} at {node.endpoint}"
                announce(where if url is None else f"{where}, seen at {url}")
                await heard.run(stop)


async def check_configured_registry(settings: Settings, node: Node) -> None:
    """Raise SettingsError without DAO and registry, NotReady unless they belong together."""
    require(settings, "dao", "registry")
    assert settings.dao is not None and settings.registry is not None  # noqa: S101, PT018 - required above
    await check_registry(node, settings.registry, settings.dao)
