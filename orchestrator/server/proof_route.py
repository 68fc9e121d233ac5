"""`GET /proofs/{promise_id}`: the evidence bundle of a promise, cacheable once it is final.

Below it, `steps/{n}` is the proof of one step, and `{collection}/{key}` that of one member of a collection
that the application registers, such as a voter.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256

import msgspec
import structlog
from aiohttp import hdrs, web

from orchestrator.commitments.bundle import Bundle, bundle_to_json
from orchestrator.commitments.errors import ProofError
from orchestrator.commitments.partial import step_proof
from orchestrator.domain.errors import OrchestratorError, Refused, Unavailable
from orchestrator.server.auth import Authenticator
from orchestrator.server.port import ServedEngine
from orchestrator.server.proofs import Evidence, ProofSource, fetch_evidence

_log = structlog.get_logger(__name__)
# A tree may be large and hashing it is work: a crowd of readers waits in line instead of using up memory.
_BUILT_TOGETHER_MAX = 4
_KEPT_MAX = 4
"""Final bundles of which parts were asked for lately: voters come together, after a vote."""
_INDEX_DIGITS_MAX = 9
# What a bundle says may be anybody's words.
_NO_SNIFFING = {"X-Content-Type-Options": "nosniff"}
_PAGE_HEADERS = {
    **_NO_SNIFFING,
    hdrs.CACHE_CONTROL: "no-cache",
    "Referrer-Policy": "no-referrer",
}
_WHILE_OPEN = "no-cache"
_ANY_TAG = "*"
_ONCE_FINAL = "max-age=31536000, immutable"


class ProofRoute:
    """Answers with bundles."""

    def __init__(
        self, engine: ServedEngine, source: ProofSource, authenticator: Authenticator, *, open_to_all: bool
    ) -> None:
        self._engine = engine
        self._source = source
        self._authenticator = authenticator
        self._open_to_all = open_to_all
        # Where the answer depends on a token, no cache between may keep it for others.
        self._once_final = f"{'public' if open_to_all else 'private'}, {_ONCE_FINAL}"
        self._building = asyncio.Semaphore(_BUILT_TOGETHER_MAX)
        self._kept: OrderedDict[str, Evidence] = OrderedDict()

    async def handle(self, request: web.Request) -> web.Response:
        """Answer with the bundle of a promise; errors are `{"error": text}`."""
        return await self._answer(request, lambda bundle: bundle, part=False)

    async def step(self, request: web.Request) -> web.Response:
        """Answer with the proof of one step."""
        number = request.match_info["number"]
        if not number.isascii() or not number.isdecimal() or len(number) > _INDEX_DIGITS_MAX:
            return json_error(404, f"{number[:40]!r} is no number of a step: they are counted from 0")
        without = self._source.of_the_whole
        return await self._answer(
            request, lambda bundle: step_proof(bundle, int(number), without=without), part=True
        )

    async def member(self, request: web.Request) -> web.Response:
        """Answer with the proof of one member of a collection."""
        collection, key = request.match_info["collection"], request.match_info["key"]
        prove = self._source.members.get(collection)
        if prove is None:
            return json_error(404, f"proofs have no {collection[:40]!r} here")
        return await self._answer(request, lambda bundle: prove(bundle, key), part=True)

    async def page(self, _: web.Request) -> web.Response:
        """Answer with the verifier. It says itself that a served copy is not independent."""
        if self._source.page is None:
            return json_error(404, "this server has no verifier")
        return web.Response(body=self._source.page, content_type="text/html", headers=_PAGE_HEADERS)

    async def _answer(
        self, request: web.Request, choose: Callable[[Bundle], msgspec.Struct], *, part: bool
    ) -> web.Response:
        promise_id = request.match_info["promise_id"]
        try:
            if not self._open_to_all:
                self._authenticator.check_read(request).require_all((promise_id,))
            async with self._building:
                evidence = await self._evidence(promise_id, keep=part)
                body = await asyncio.to_thread(lambda: bundle_to_json(choose(evidence.bundle)))
        except ProofError as error:
            return json_error(404, str(error))
        except Exception as error:
            return _refusal(promise_id, error)
        tag = f'"{sha256(body).hexdigest()[:32]}"'
        headers = {
            **_NO_SNIFFING,
            hdrs.ETAG: tag,
            hdrs.CACHE_CONTROL: self._once_final if evidence.final else _WHILE_OPEN,
        }
        if any(known.value == _ANY_TAG or f'"{known.value}"' == tag for known in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        return web.Response(body=body, content_type="application/json", headers=headers)

    async def _evidence(self, promise_id: str, *, keep: bool) -> Evidence:
        """Return the evidence; what is final never changes (P1), so some of it is kept for its parts."""
        kept = self._kept.get(promise_id)
        if kept is not None:
            self._kept.move_to_end(promise_id)
            return kept
        evidence = await fetch_evidence(self._engine.handle, promise_id, self._source)
        if keep and evidence.final:
            self._kept[promise_id] = evidence
            while len(self._kept) > _KEPT_MAX:
                self._kept.popitem(last=False)
        return evidence


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
