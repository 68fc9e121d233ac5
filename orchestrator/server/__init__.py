"""The HTTP server: RPC endpoint, SSE delivery, health, metrics and proofs."""

from orchestrator.server.app import create_app
from orchestrator.server.errors import ServerMisconfigured
from orchestrator.server.proofs import EvidenceSection, ProofSource, fetch_bundle
from orchestrator.server.push_route import push_handler
from orchestrator.server.serving import listening, reload, reloading, serve
from orchestrator.server.settings import JwtSettings, ServerSettings, TlsSettings

__all__ = [
    "EvidenceSection",
    "JwtSettings",
    "ProofSource",
    "ServerMisconfigured",
    "ServerSettings",
    "TlsSettings",
    "create_app",
    "fetch_bundle",
    "listening",
    "push_handler",
    "reload",
    "reloading",
    "serve",
]
