"""`POST /`: one command a request, the HTTP status that of the answer.

Invariants: (1) a request that does not parse, or is not allowed, never reaches the engine. (2) The token
is checked before the operation is looked at: who has none learns nothing of what there is. This is the
hot path: no middleware, no intermediate dictionaries.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from time import perf_counter

import structlog
from aiohttp import web

from orchestrator.domain.errors import Refused, Unavailable
from orchestrator.domain.trace import HEADER
from orchestrator.engine.debugging import DISABLED
from orchestrator.protocol.commands import COMMANDS, Answer, Command
from orchestrator.protocol.envelope import (
    BUNDLE_MAX,
    BUNDLE_PATH,
    decode_command,
    decode_envelope,
    encode_answer,
    encode_refusal,
    recover,
)
from orchestrator.server.auth import Authenticator
from orchestrator.server.auth_proxy import Proxies
from orchestrator.server.auth_scope import authorize
from orchestrator.server.metrics import ServerMetrics
from orchestrator.server.port import RequestObserver, ServedEngine

_log = structlog.get_logger(__name__)
_JSON, _JSON_LINES = "application/json", "application/x-ndjson"
UNKNOWN_KIND = "unknown"
DEBUG_KINDS = "debug."
_CLIENT_GONE = 499
_BODY_TIMEOUT_S = 30.0
# What the server refuses by itself, and an operator wants to see.
_LOGGED = frozenset({401, 403, 408, 413})
_KIND_SHOWN_MAX = 40


class RpcRoute:
    """Answers commands by the engine."""

    def __init__(
        self,
        engine: ServedEngine,
        authenticator: Authenticator,
        metrics: ServerMetrics,
        *,
        proxies: Proxies,
        body_bytes_max: int,
        access_log: bool,
        debug: bool,
        observer: RequestObserver | None = None,
    ) -> None:
        self._engine = engine
        self._authenticator = authenticator
        self._metrics = metrics
        self._proxies = proxies
        self._body_bytes_max = body_bytes_max
        self._access_log = access_log
        self._debug = debug
        self._observer = observer

    async def handle(self, request: web.Request) -> web.Response:
        """Answer one request; every failure leaves as an envelope."""
        status, payload = await self.answered(request, None)
        return web.Response(body=payload, status=status, content_type=_JSON)

    async def handle_bundle(self, request: web.Request) -> web.Response:
        """Answer several requests, one a line, each on a line of its own and as if it had come alone."""
        try:
            body = await self._body(request)
            lines = body.split(b"\n")
            if len(lines) > BUNDLE_MAX:
                raise Refused(413, f"Bundle too large: {len(lines)} requests, at most {BUNDLE_MAX}")
        except Refused as error:
            refusal = self._refusal(error, BUNDLE_PATH, request)
            payload = encode_refusal(BUNDLE_PATH, "0", refusal)
            return web.Response(body=payload, status=refusal.status, content_type=_JSON)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self.answered(request, line)) for line in lines]
        payloads = [task.result()[1] for task in tasks]
        return web.Response(body=b"\n".join(payloads), content_type=_JSON_LINES)

    async def answered(self, request: web.Request, given: bytes | None) -> tuple[int, bytes]:
        """Answer what is `given` on a line, or else what the request brings; return status and envelope."""
        started, begun = perf_counter(), None
        if self._observer is not None:
            begun = self._observer.on_request_started(request.headers.get(HEADER))
        kind, corr_id, status = UNKNOWN_KIND, "0", _CLIENT_GONE
        body, command = given or b"", None
        try:
            body = await self._body(request) if given is None else self._bounded(given)
            envelope = decode_envelope(body)
            kind, corr_id = envelope.kind, envelope.head.corr_id
            identity = self._authenticator.check_call(request, envelope.head.auth)
            if kind not in COMMANDS:
                identity.require_everything(kind[:_KIND_SHOWN_MAX])
            command = decode_command(envelope)
            authorize(identity, command)
            answer = await self._carry_out(command, envelope.head.debug_time)
            status, payload = encode_answer(command, corr_id, answer)
        except Exception as error:
            if kind == UNKNOWN_KIND:
                kind, corr_id = recover(body)
            refusal = self._refusal(error, kind, request)
            status, payload = refusal.status, encode_refusal(kind, corr_id, refusal)
        finally:
            # Also for a caller that has gone: cancelled here, its command counts as carried out or not.
            seconds = perf_counter() - started
            self._metrics.answered(kind, status, seconds)
            if self._observer is not None:
                shown = kind if command is not None else UNKNOWN_KIND
                self._observer.on_request_ended(begun, shown, status, getattr(command, "id", None))
            if self._access_log:
                _log_access(command, kind, status, seconds)
        return status, payload

    def _carry_out(self, command: Command[Answer], debug_time: int | None) -> Awaitable[Answer]:
        if self._debug and debug_time is not None:
            return self._engine.handle(command, debug_time=debug_time)
        if command.KIND.startswith(DEBUG_KINDS) and not self._debug:
            raise Refused(403, DISABLED)
        return self._engine.handle(command)

    async def _body(self, request: web.Request) -> bytes:
        try:
            if request.content.is_eof():  # mostly it has come with the head, and needs no loop that reads it
                return self._bounded(request.content.read_nowait())
            async with asyncio.timeout(_BODY_TIMEOUT_S):
                return await request.read()
        except TimeoutError as error:
            raise Refused(
                408, f"Request timed out: its body did not arrive within {_BODY_TIMEOUT_S:g} s"
            ) from error
        except web.HTTPRequestEntityTooLarge as error:
            raise self._too_large() from error
        except (web.RequestPayloadError, ConnectionError) as error:
            raise Refused(400, f"Invalid request: its body could not be read: {error}") from error

    def _bounded(self, body: bytes) -> bytes:
        if len(body) > self._body_bytes_max:
            raise self._too_large()
        return body

    def _too_large(self) -> Refused:
        return Refused(
            413, f"Request too large: at most {self._body_bytes_max} bytes; store the value elsewhere"
        )

    def _refusal(self, error: Exception, kind: str, request: web.Request) -> Refused:
        if isinstance(error, Refused):
            if error.status in _LOGGED:
                _log.warning(
                    "request_refused",
                    kind=kind[:_KIND_SHOWN_MAX],
                    status=error.status,
                    client=self._proxies.client_of(request),
                )
            return error
        if isinstance(error, Unavailable):
            _log.warning("engine_unavailable", kind=kind, reason=str(error))
            return Refused(503, f"Unavailable: {error}")
        _log.error("request_failed", kind=kind[:_KIND_SHOWN_MAX], exc_info=error)
        return Refused(500, f"Internal error: {type(error).__name__}; see the server's log")


def _log_access(command: Command[Answer] | None, kind: str, status: int, seconds: float) -> None:
    _log.info(
        "request",
        kind=kind[:_KIND_SHOWN_MAX],
        promise_id=getattr(command, "id", None),
        status=status,
        duration_ms=round(seconds * 1000, 3),
    )
