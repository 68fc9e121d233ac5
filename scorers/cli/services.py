"""The long-running commands: `serve`, `worker`, `listen`, and `up`, which is all of them in one process."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from prometheus_client.registry import Collector

from contracts.rpc import Node
from contracts.rpc.metrics import PoolCollector
from contracts.transactions import SendingMetrics, Signers
from listener.metrics import SourcesCollector
from orchestrator import Orchestrator, prepare_process
from orchestrator.engine import Engine, EngineSettings
from orchestrator.server import create_app, listening, reloading
from orchestrator.store import open_store
from orchestrator.transport.local import LocalTransport
from orchestrator.transport.push import PushSender
from scorers import composition
from scorers.cli import output
from scorers.cli.flags import configured
from scorers.errors import SettingsError
from scorers.listening import check_sources, listening_of, status_served
from scorers.policies.configuration import policy_from
from scorers.readiness import check_registry, check_scorer
from scorers.ready import announce
from scorers.rounds.metrics import AgreementMetrics
from scorers.settings import Settings, require
from scorers.tracing import process_tracing, traced

if TYPE_CHECKING:
    from orchestrator.telemetry import Tracing

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
LISTENING = ("dao", "registry", "start_block", "finality", "poll_interval", "filter_check")
"""The settings of whatever listens to one DAO."""
CHAIN = ("rpc", "chain_id", "rpc_quorum", "rpc_rate")
"""The settings of whatever reads the chain."""
SENDING = (
    "shadow",
    "rpc_broadcast",
    "keystore",
    "keystore_password_file",
    "signer",
    "signer_addresses",
    "retiring_keystore",
    "retiring_signer_addresses",
    "in_flight",
    "confirmations",
    "final_depth",
    "max_fee",
    "max_tip",
    "fee_alarm",
    "balance_alarm",
    "gas_budget",
    "gas_budget_period",
    "batch",
    "batch_size",
    "batch_wait",
)
"""The settings of whatever submits."""


@configured("store", *SERVING)
async def serve(settings: Settings) -> None:
    """Serve the orchestrator over HTTP. Promises, tasks, delivery, proofs and metrics."""
    prepare_process()
    with _stop_signals() as stop:
        async with (
            process_tracing() as tracing,
            _engine(settings) as engine,
            _served(engine, settings, tracing) as url,
        ):
            announce(url)
            await stop.wait()


@configured("group", "server", "registry", "policy", *CHAIN, "lease", "concurrency", "metrics_port", *SENDING)
async def worker(
    settings: Settings,
    name: Annotated[str | None, typer.Option(help="This worker's name; unique in its group.")] = None,
) -> None:
    """Run a scorer: take proposals, score them, submit the scores."""
    prepare_process()
    with _stop_signals() as stop:
        async with _signers(settings) as signers, composition.node_of(settings) as node:
            await _check_scorers(settings, node, signers)
            app = composition.remote(settings, name=name, worker=True)
            metrics = _register(app, settings, node, signers)
            async with traced(app), _started(app, stop):
                with composition.metrics_served(settings, [*metrics, PoolCollector(node.pool)]):
                    if not stop.is_set():
                        announce(f"{app.group}/{app.pid} {_as_whom(signers)}")
                    await stop.wait()


@configured(
    *LISTENING, "cursor", "server", *CHAIN, "group", "host", "open_metrics", "metrics_port", "websocket"
)
async def listen(settings: Settings) -> None:
    """Listen to DAOs and other contracts: invoke what each finalised log asks for."""
    check_sources(settings)
    prepare_process()
    with _stop_signals() as stop:
        async with AsyncExitStack() as stack:
            node = None
            if not settings.sources:
                node = await stack.enter_async_context(composition.node_of(settings))
                await _check_registry(settings, node)
            app = composition.remote(settings, worker=False)
            await stack.enter_async_context(traced(app))
            heard = await stack.enter_async_context(listening_of(settings, app, node))
            url = await stack.enter_async_context(status_served(settings, heard))
            await stack.enter_async_context(_started(app, stop))
            if not stop.is_set():
                where = heard.where if node is None else f"{settings.dao} at {node.endpoint}"
                announce(where if url is None else f"{where}, seen at {url}")
                await heard.run(stop)


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
    with _stop_signals() as stop:
        async with AsyncExitStack() as stack:
            signers = await stack.enter_async_context(_signers(settings))
            node = await stack.enter_async_context(composition.node_of(settings))
            await _check_registry(settings, node)
            await _check_scorers(settings, node, signers)
            engine = await stack.enter_async_context(_engine(settings))
            tracing = await stack.enter_async_context(process_tracing())
            app = _embedded(engine, settings)
            collectors: list[Collector] = [
                *_register(app, settings, node, signers),
                PoolCollector(node.pool),
            ]
            heard = await stack.enter_async_context(listening_of(settings, app, node))
            collectors.append(SourcesCollector(heard.listeners, time.time))
            url = await stack.enter_async_context(_served(engine, settings, tracing, collectors))
            await stack.enter_async_context(traced(app, tracing))
            await stack.enter_async_context(app)
            announce(url)
            scoring = f"scoring {_as_whom(signers)}"
            output.say(f"listening to {settings.dao}, {scoring}: see dao-scorer promise search")
            await heard.run(stop)


@asynccontextmanager
async def _started(app: Orchestrator, stop: asyncio.Event) -> AsyncIterator[None]:
    """Hold the application. A server that is away is waited for until `stop` is set."""
    starting = asyncio.create_task(app.start())
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
        yield
    finally:
        stopping.cancel()
        if starting.done():
            await app.stop()
        else:
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)


@asynccontextmanager
async def _signers(settings: Settings) -> AsyncIterator[Signers | None]:
    """Hold the configured keys, none in the shadow, where nothing is signed. Raises SignerError."""
    if settings.shadow:
        yield None
        return
    async with composition.signers_of(settings) as signers:
        yield signers


def _as_whom(signers: Signers | None) -> str:
    return "in the shadow" if signers is None else f"as {', '.join(signers.active)}"


async def _check_scorers(settings: Settings, node: Node, signers: Signers | None) -> None:
    for address in signers.active if signers else ():
        await check_scorer(node, address, settings.registry)


def _register(
    app: Orchestrator, settings: Settings, node: Node, signers: Signers | None
) -> tuple[SendingMetrics, AgreementMetrics]:
    """Make an application a scorer, as the settings say; return what it counts."""
    metrics, agreement = SendingMetrics(), AgreementMetrics()
    composition.register_scoring(
        app,
        node=node,
        signer=signers,
        policy=policy_from(settings.policy),
        other_policies=[policy_from(each) for each in settings.policies],
        sending=composition.sending_policy(settings),
        batching=composition.batching(settings),
        metrics=metrics,
        agreement=agreement,
    )
    return metrics, agreement


async def _check_registry(settings: Settings, node: Node) -> None:
    require(settings, "dao", "registry")
    assert settings.dao is not None and settings.registry is not None  # noqa: S101, PT018 - required above
    await check_registry(node, settings.registry, settings.dao)


@asynccontextmanager
async def _engine(settings: Settings) -> AsyncIterator[Engine]:
    age_s = settings.retain_children
    age_ms = None if age_s is None else age_s * 1000
    chosen = EngineSettings(retain_children_ms=age_ms, debug=settings.debug)
    store = open_store(settings.store)
    push = PushSender(composition.push_settings(settings))
    async with push, Engine(store, settings=chosen, push=push.post) as engine:
        yield engine


@asynccontextmanager
async def _served(
    engine: Engine, settings: Settings, tracing: Tracing | None, collectors: Sequence[Collector] = ()
) -> AsyncIterator[str]:
    if tracing is not None:
        engine.observe(tracing)
    served = composition.server_settings(settings)
    app = create_app(engine, served, composition.PROOFS, collectors=collectors, observer=tracing)
    async with listening(app) as url:
        with reloading(app):
            yield url


def _embedded(engine: Engine, settings: Settings) -> Orchestrator:
    return Orchestrator(
        transport=LocalTransport(engine),
        group=settings.group,
        ttl_ms=int(settings.lease * 1000),
        concurrency=settings.concurrency,
    )


@contextmanager
def _stop_signals() -> Iterator[asyncio.Event]:
    """Set the event at SIGTERM or SIGINT; a second signal ends the process as it would any other."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    caught = (signal.SIGTERM, signal.SIGINT)

    def asked() -> None:
        stop.set()
        for number in caught:
            loop.remove_signal_handler(number)

    for number in caught:
        loop.add_signal_handler(number, asked)
    try:
        yield stop
    finally:
        for number in caught:
            loop.remove_signal_handler(number)
