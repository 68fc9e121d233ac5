"""`GET /proofs/{promise_id}`: the evidence bundle of a promise, cacheable once it is final."""

from __future__ import annotations

import asyncio
from hashlib import sha256

import msgspec
import structlog
from aiohttp import hdrs, web

from orchestrator.commitments.bundle import bundle_to_json
from orchestrator.domain.errors import OrchestratorError, Refused, Unavailable
from orchestrator.server.auth import Authenticator
from orchestrator.server.port import ServedEngine
from orchestrator.server.proofs import ProofSource, fetch_evidence

_log = structlog.get_logger(__name__)
# A tree may be large and hashing it is work: a crowd of readers waits in line instead of using up memory.
_BUILT_TOGETHER_MAX = 4
_WHILE_OPEN = "no-cache"
# Private, since the answer may depend on a token.
_ONCE_FINAL = "private, max-age=31536000, immutable"


class ProofRoute:
    """Answers with bundles."""

    def __init__(
        self, engine: ServedEngine, source: ProofSource, authenticator: Authenticator, *, open_to_all: bool
    ) -> None:
        self._engine = engine
        self._source = source
        self._authenticator = authenticator
        self._open_to_all = open_to_all
        self._building = asyncio.Semaphore(_BUILT_TOGETHER_MAX)

    async def handle(self, request: web.Request) -> web.Response:
        """Answer one request; errors are `{"error": text}`."""
        promise_id = request.match_info["promise_id"]
        try:
            if not self._open_to_all:
                self._authenticator.check_read(request).require_all((promise_id,))
            async with self._building:
                evidence = await fetch_evidence(self._engine.handle, promise_id, self._source)
                body = await asyncio.to_thread(bundle_to_json, evidence.bundle)
        except Exception as error:
            return _refusal(promise_id, error)
        tag = f'"{sha256(body).hexdigest()[:32]}"'
        headers = {hdrs.ETAG: tag, hdrs.CACHE_CONTROL: _ONCE_FINAL if evidence.final else _WHILE_OPEN}
        if any(f'"{known.value}"' == tag for known in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        return web.Response(body=body, content_type="application/json", headers=headers)


def _refusal(promise_id: str, error: Exception) -> web.Response:
    status, message = 500, f"the proof of {promise_id} failed: {type(error).__name__}; see the server's log"
    if isinstance(error, Refused):
        status, message = error.status, error.message
    elif isinstance(error, Unavailable):
        status, message = 503, str(error)
    elif isinstance(error, OrchestratorError):
        status, message = 422, str(error)
    if status >= 500:
        _log.error("proof_failed", promise_id=promise_id, status=status, exc_info=error)
    return json_error(status, message)


def json_error(status: int, message: str) -> web.Response:
    """Return an error as the routes besides the RPC endpoint show it."""
    return web.Response(
        status=status, body=msgspec.json.encode({"error": message}), content_type="application/json"
    )
