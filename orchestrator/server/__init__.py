"""The HTTP server: RPC endpoint, SSE delivery, health, metrics and proofs."""

from orchestrator.server.app import create_app
from orchestrator.server.errors import ServerMisconfigured
from orchestrator.server.proofs import EvidenceSection, ProofSource, fetch_bundle
from orchestrator.server.serving import listening, serve
from orchestrator.server.settings import ServerSettings

__all__ = [
    "EvidenceSection",
    "ProofSource",
    "ServerMisconfigured",
    "ServerSettings",
    "create_app",
    "fetch_bundle",
    "listening",
    "serve",
]
