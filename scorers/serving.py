"""The server as it is configured: its engine, what it lets in and what its proofs show."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from prometheus_client.registry import Collector

from orchestrator.engine import Engine, EngineSettings
from orchestrator.server import (
    JwtSettings,
    ProofSource,
    ServerMisconfigured,
    ServerSettings,
    TlsSettings,
    create_app,
    listening,
    reloading,
)
from orchestrator.store import open_store
from orchestrator.transport.push import PushSender, PushSettings
from scorers.sections import SECTION, VOTES_SECTION, scoring_section, votes_section
from scorers.settings import Settings, token_of
from scorers.verifier import PAGE
from scorers.voter_proof import VOTERS, voter_proof

if TYPE_CHECKING:
    from orchestrator.telemetry import Tracing

PROOFS = ProofSource(
    sections={SECTION: scoring_section, VOTES_SECTION: votes_section},
    members={VOTERS: voter_proof},
    page=PAGE.read_bytes(),
    of_the_whole=frozenset((VOTES_SECTION,)),
)
"""What a proof shows beyond the steps: where the score stands on the chain, and every vote."""


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


@asynccontextmanager
async def engine_of(settings: Settings) -> AsyncIterator[Engine]:
    """Hold the engine on the configured store. Raises StoreError."""
    age_s = settings.retain_children
    age_ms = None if age_s is None else age_s * 1000
    chosen = EngineSettings(retain_children_ms=age_ms, debug=settings.debug)
    store = open_store(settings.store)
    push = PushSender(push_settings(settings))
    async with push, Engine(store, settings=chosen, push=push.post) as engine:
        yield engine


@asynccontextmanager
async def served(
    engine: Engine, settings: Settings, tracing: Tracing | None, collectors: Sequence[Collector] = ()
) -> AsyncIterator[str]:
    """Serve an engine, and yield the URL. Raises ServerMisconfigured."""
    if tracing is not None:
        engine.observe(tracing)
    served = server_settings(settings)
    app = create_app(engine, served, PROOFS, collectors=collectors, observer=tracing)
    async with listening(app) as url:
        with reloading(app):
            yield url
