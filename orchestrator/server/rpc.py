"""`POST /`: one command a request, the HTTP status that of the answer.

Invariant: a request that does not parse, or is not allowed, never reaches the engine. This is the hot path:
no middleware, no intermediate dictionaries, headers prepared once.
"""

from __future__ import annotations

from time import perf_counter

import structlog
from aiohttp import web
from multidict import CIMultiDict

from orchestrator.domain.errors import Refused, Unavailable
from orchestrator.protocol.envelope import decode_request, encode_answer, encode_refusal, recover
from orchestrator.server.auth import Authenticator
from orchestrator.server.metrics import ServerMetrics
from orchestrator.server.port import ServedEngine

_log = structlog.get_logger(__name__)
_HEADERS = CIMultiDict({"Content-Type": "application/json"})
UNKNOWN_KIND = "unknown"
_CLIENT_GONE = 499


class RpcRoute:
    """Answers commands by the engine."""

    def __init__(
        self,
        engine: ServedEngine,
        authenticator: Authenticator,
        metrics: ServerMetrics,
        *,
        body_bytes_max: int,
        access_log: bool,
    ) -> None:
        self._engine = engine
        self._authenticator = authenticator
        self._metrics = metrics
        self._body_bytes_max = body_bytes_max
        self._access_log = access_log

    async def handle(self, request: web.Request) -> web.Response:
        """Answer one request; every failure leaves as an envelope."""
        started = perf_counter()
        kind, corr_id, status = UNKNOWN_KIND, "0", _CLIENT_GONE
        body = b""
        try:
            body = await self._body(request)
            parsed = decode_request(body)
            kind, corr_id = parsed.command.KIND, parsed.head.corr_id
            self._authenticator.check_call(request, parsed.head.auth)
            answer = await self._engine.handle(parsed.command)
            status, payload = encode_answer(parsed.command, corr_id, answer)
        except Exception as error:
            refusal = self._refusal(error, kind)
            if kind == UNKNOWN_KIND:
                kind, corr_id = recover(body)
            status, payload = refusal.status, encode_refusal(kind, corr_id, refusal)
        finally:
            # Also for a caller that has gone: cancelled here, its command counts as carried out or not.
            self._count(kind, status, perf_counter() - started)
        return web.Response(body=payload, status=status, headers=_HEADERS)

    async def _body(self, request: web.Request) -> bytes:
        try:
            return await request.read()
        except web.HTTPRequestEntityTooLarge as error:
            raise Refused(
                413, f"Request too large: at most {self._body_bytes_max} bytes; store the value elsewhere"
            ) from error
        except (web.RequestPayloadError, ConnectionError) as error:
            raise Refused(400, f"Invalid request: its body could not be read: {error}") from error

    def _refusal(self, error: Exception, kind: str) -> Refused:
        if isinstance(error, Refused):
            return error
        if isinstance(error, Unavailable):
            _log.warning("engine_unavailable", kind=kind, reason=str(error))
            return Refused(503, f"Unavailable: {error}")
        _log.error("request_failed", kind=kind, exc_info=error)
        return Refused(500, f"Internal error: {type(error).__name__}; see the server's log")

    def _count(self, kind: str, status: int, seconds: float) -> None:
        self._metrics.answered(kind, status, seconds)
        if self._access_log:
            _log.info("request", kind=kind, status=status, duration_ms=round(seconds * 1000, 3))
