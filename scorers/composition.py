"""How the parts are put together: from settings to nodes, signers and scorers.

The server stands in `scorers.serving` and listeners in `scorers.listening`: a process loads what it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.registry import Collector

from contracts.rpc import Broadcast, Node, PoolSettings
from contracts.transactions import SignerError
from orchestrator import Orchestrator
from scorers.keys import KEY_VARIABLE, PASSWORD_VARIABLE, addresses_of, signer_of, signers_of
from scorers.registration import register_scoring
from scorers.sending import batching, sending_policy
from scorers.settings import Settings, token_of
from scorers.sources import depth_of

NODE_TIMEOUT_S = 10.0
"""How long one request to a chain node may take."""


@contextmanager
def metrics_served(settings: Settings, collectors: Iterable[Collector]) -> Iterator[None]:
    """Serve the metrics of a process that has no server, where a port is set for them."""
    if settings.metrics_port is None:
        yield
        return
    registry = CollectorRegistry()
    for collector in collectors:
        registry.register(collector)
    server, thread = start_http_server(settings.metrics_port, addr=settings.host, registry=registry)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def node_of(settings: Settings, *, timeout_s: float = NODE_TIMEOUT_S, any_chain: bool = False) -> Node:
    """Return the chain node, or the pool of several; entering it checks the chain id where one is set.

    With `any_chain` the node may serve any.
    """
    return Node(
        settings.rpc_urls,
        chain_id=None if any_chain else settings.chain_id,
        timeout_s=timeout_s,
        settings=_pool_settings(settings, settings.rpc_quorum),
    ).with_finality(_finality_depth(settings))


def _finality_depth(settings: Settings) -> int | None:
    """Return how deep a block is final, for what is read as for what is sent; None by the node's tag."""
    chosen = depth_of(settings.finality)
    return settings.final_depth if chosen is None else chosen


def node_at(settings: Settings, urls: tuple[str, ...], chain_id: int) -> Node:
    """Return the node, or the pool, of one source of several; of fewer endpoints all have to agree."""
    return Node(
        urls,
        chain_id=chain_id,
        timeout_s=NODE_TIMEOUT_S,
        settings=_pool_settings(settings, min(settings.rpc_quorum, len(urls))),
    )


def _pool_settings(settings: Settings, quorum: int) -> PoolSettings:
    return PoolSettings(
        quorum=quorum,
        requests_per_s=settings.rpc_rate,
        broadcast=Broadcast(settings.rpc_broadcast),
    )


def remote(settings: Settings, *, name: str | None = None, worker: bool) -> Orchestrator:
    """Return a client of the server, as a member of the scorers' group if it is a worker."""
    return Orchestrator.remote(
        settings.server,
        group=settings.group if worker else "command-line",
        pid=name,
        token=token_of(settings),
        ttl_ms=int(settings.lease * 1000),
        worker=worker,
        concurrency=settings.concurrency,
    )


__all__ = [
    "KEY_VARIABLE",
    "PASSWORD_VARIABLE",
    "SignerError",
    "addresses_of",
    "batching",
    "metrics_served",
    "node_at",
    "node_of",
    "register_scoring",
    "remote",
    "sending_policy",
    "signer_of",
    "signers_of",
]
