"""The HTTP server: RPC endpoint, SSE delivery, health, metrics and proofs."""

from orchestrator.server.app import create_app
from orchestrator.server.attaching import attach
from orchestrator.server.errors import ServerMisconfigured
from orchestrator.server.gateway import Gateway, GatewaySettings
from orchestrator.server.gateway_access import Guard
from orchestrator.server.proofs import EvidenceSection, MemberProof, ProofSource, fetch_bundle
from orchestrator.server.push_route import push_handler
from orchestrator.server.serving import listening, reload, reloading, serve
from orchestrator.server.settings import JwtSettings, ServerSettings, TlsSettings
from orchestrator.server.status import create_status_app
from orchestrator.server.webhooks import Verifier, hub_signature, secret_of, standard_signature, webhook

__all__ = [
    "EvidenceSection",
    "Gateway",
    "GatewaySettings",
    "Guard",
    "JwtSettings",
    "MemberProof",
    "ProofSource",
    "ServerMisconfigured",
    "ServerSettings",
    "TlsSettings",
    "Verifier",
    "attach",
    "create_app",
    "create_status_app",
    "fetch_bundle",
    "hub_signature",
    "listening",
    "push_handler",
    "reload",
    "reloading",
    "secret_of",
    "serve",
    "standard_signature",
    "webhook",
]
