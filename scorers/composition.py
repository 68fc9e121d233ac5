"""How the parts are put together: from settings to nodes, signers, engines, listeners and scorers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.registry import Collector

from contracts.rpc import Broadcast, Node, PoolSettings
from contracts.transactions import SignerError
from listener import Listener, ListenerSettings, SqliteCursorStore
from listener.progress import ProgressCallback
from orchestrator import Orchestrator
from orchestrator.server import JwtSettings, ProofSource, ServerMisconfigured, ServerSettings, TlsSettings
from orchestrator.transport.push import PushSettings
from scorers.keys import KEY_VARIABLE, PASSWORD_VARIABLE, addresses_of, signer_of, signers_of
from scorers.registration import register_scoring
from scorers.sections import SECTION, VOTES_SECTION, scoring_section, votes_section
from scorers.sending import batching, sending_policy
from scorers.settings import Settings, require
from scorers.sources import depth_of
from scorers.verifier import PAGE
from scorers.voter_proof import VOTERS, voter_proof

NODE_TIMEOUT_S = 10.0
"""How long one request to a chain node may take."""
PROOFS = ProofSource(
    sections={SECTION: scoring_section, VOTES_SECTION: votes_section},
    members={VOTERS: voter_proof},
    page=PAGE.read_bytes(),
    of_the_whole=frozenset((VOTES_SECTION,)),
)
"""What a proof shows beyond the steps: where the score stands on the chain, and every vote."""


def token_of(settings: Settings) -> str | None:
    """Return the token that server and clients share, if there is one."""
    return settings.token.get_secret_value() if settings.token else None


def push_settings(settings: Settings) -> PushSettings:
    """Return what tasks are pushed to functions with: the bearer token of each origin that has one."""
    text = settings.push_tokens.get_secret_value() if settings.push_tokens else ""
    pairs = (pair.partition("=") for pair in _listed(text))
    return PushSettings(tokens={origin: token for origin, _, token in pairs})


def server_settings(settings: Settings) -> ServerSettings:
    """Return what the HTTP server needs to know. Raises ServerMisconfigured."""
    signed = _jwt_settings(settings)
    return ServerSettings(
        host=settings.host,
        port=settings.port,
        # Where clients have tokens of their own, `token` is that of this process: it opens nothing by itself.
        token=None if signed else token_of(settings),
        jwt=signed,
        tls=_tls_settings(settings),
        trusted_proxies=_listed(settings.trusted_proxies),
        cors_origins=_listed(settings.cors_origins),
        open_metrics=settings.open_metrics,
        open_proofs=settings.open_proofs,
        debug=settings.debug,
    )


def _jwt_settings(settings: Settings) -> JwtSettings | None:
    if settings.jwt_public_key is None and not settings.jwt_unsigned:
        if settings.jwt_issuer is not None or settings.jwt_audience is not None:
            raise ServerMisconfigured("JWT issuer and audience need a public key: set --jwt-public-key")
        return None
    return JwtSettings(
        public_key=settings.jwt_public_key,
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
        unsigned=settings.jwt_unsigned,
    )


def _tls_settings(settings: Settings) -> TlsSettings | None:
    certificate, key = settings.tls_certificate, settings.tls_key
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise ServerMisconfigured("TLS needs both files: set --tls-certificate and --tls-key")
    return TlsSettings(certificate=certificate, key=key)


def _listed(text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


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


async def listener_settings(settings: Settings, node: Node) -> ListenerSettings:
    """Return what the listener of the flags' DAO needs to know. Raises SettingsError, RpcError."""
    require(settings, "dao", "registry")
    assert settings.dao is not None and settings.registry is not None  # noqa: S101, PT018 - required above
    return ListenerSettings(
        chain_id=settings.chain_id or await node.chain_id(),
        dao=settings.dao,
        registry=settings.registry,
        start_block=settings.start_block,
        target=f"poll://any@{settings.group}",
        poll_interval_s=settings.poll_interval,
        finality_depth=depth_of(settings.finality),
        filter_check=settings.filter_check,
    )


@asynccontextmanager
async def listener_of(
    settings: Settings, node: Node, app: Orchestrator, on_progress: ProgressCallback | None = None
) -> AsyncIterator[Listener]:
    """Hold a listener with its cursor file open. Raises SettingsError without DAO and registry."""
    chosen = await listener_settings(settings, node)
    async with await SqliteCursorStore.open(settings.cursor) as store:
        yield Listener(chosen, node, app, store, on_progress=on_progress)


__all__ = [
    "KEY_VARIABLE",
    "PASSWORD_VARIABLE",
    "PROOFS",
    "SignerError",
    "addresses_of",
    "batching",
    "listener_of",
    "listener_settings",
    "metrics_served",
    "node_at",
    "node_of",
    "push_settings",
    "register_scoring",
    "remote",
    "sending_policy",
    "server_settings",
    "signer_of",
    "signers_of",
    "token_of",
]
