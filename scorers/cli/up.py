"""`dao-scorer up`: server, listener and one scorer in one process."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack

from prometheus_client.registry import Collector

from contracts.rpc.metrics import PoolCollector
from listener.metrics import SourcesCollector
from orchestrator import Orchestrator, prepare_process
from orchestrator.engine import Engine
from orchestrator.transport.local import LocalTransport
from scorers import composition
from scorers.cli import output
from scorers.cli.flags import configured
from scorers.cli.listen import LISTENING, check_configured_registry
from scorers.cli.serve import SERVING
from scorers.cli.session import stop_signals
from scorers.cli.worker import CHAIN, SENDING, as_whom, check_scorers, held_signers, register
from scorers.errors import SettingsError
from scorers.listening import listening_of
from scorers.ready import announce
from scorers.serving import engine_of, served
from scorers.settings import Settings
from scorers.tracing import process_tracing, traced


@configured(
    *LISTENING,
    "store",
    "cursor",
    *CHAIN,
    *SERVING,
    "group",
    "concurrency",
    "policy",
    *SENDING,
    "websocket",
)
async def up(settings: Settings) -> None:
    """Run server, listener and one scorer in one process."""
    if settings.sources:
        raise SettingsError("up listens to one DAO: run serve, listen and workers for several sources")
    prepare_process()
    with stop_signals() as stop:
        async with AsyncExitStack() as stack:
            signers = await stack.enter_async_context(held_signers(settings))
            node = await stack.enter_async_context(composition.node_of(settings))
            await check_configured_registry(settings, node)
            await check_scorers(settings, node, signers)
            engine = await stack.enter_async_context(engine_of(settings))
            tracing = await stack.enter_async_context(process_tracing())
            app = _embedded(engine, settings)
            collectors: list[Collector] = [
                *register(app, settings, node, signers),
                PoolCollector(node.pool),
            ]
            heard = await stack.enter_async_context(listening_of(settings, app, node))
            collectors.append(SourcesCollector(heard.listeners, time.time))
            url = await stack.enter_async_context(served(engine, settings, tracing, collectors))
            await stack.enter_async_context(traced(app, tracing))
            await stack.enter_async_context(app)
            announce(url)
            scoring = f"scoring {as_whom(signers)}"
            output.say(f"listening to {settings.dao}, {scoring}: see dao-scorer promise search")
            await heard.run(stop)


def _embedded(engine: Engine, settings: Settings) -> Orchestrator:
    return Orchestrator(
        transport=LocalTransport(engine),
        group=settings.group,
        ttl_ms=int(settings.lease * 1000),
        concurrency=settings.concurrency,
    )
