"""JSON-RPC over HTTP to one endpoint: requests and batches as bytes, and the answers matched to them.

Owns the session, the time limits and what an HTTP answer means. It answers with the JSON text of results, or
`ErrorObject`s, and raises NodeUnavailable or RpcRefused; what a result looks like is its callers' business.

web3's provider is not used here on purpose: it drops the ids that tell whose answer this is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from itertools import count
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import SplitResult, urlsplit

import aiohttp
import msgspec

from contracts.rpc.errors import InvalidEndpoint, NodeUnavailable, RpcRefused
from contracts.rpc.refusals import ErrorObject, Kind, error_of, kind_of

ANSWER_BYTES_MAX = 256 * 1024 * 1024
_CHUNK_BYTES = 256 * 1024
_HTTP_TOO_MANY = 429
_HTTP_TIMEOUT = 408
_HTTP_TOO_LARGE = 413
RETRY_AFTER_S_MAX = 3600.0
"""No node is left alone for longer than this, whatever it asks for."""


class _Answer(msgspec.Struct, frozen=True):
    id: int | str | None = None
    result: msgspec.Raw = msgspec.Raw()
    error: ErrorObject | None = None


_AnswerT = TypeVar("_AnswerT")
_decoder = msgspec.json.Decoder(_Answer)
_batch_decoder = msgspec.json.Decoder(list[_Answer])
_encoder = msgspec.json.Encoder()

Request = tuple[str, Sequence[object]]
"""A method and its parameters."""
Outcome = msgspec.Raw | ErrorObject
"""The JSON text of a `result`, not yet read, or the `error` that came instead of it."""


class BatchRefused(RpcRefused):
    """The node does not take this batch, or none; each of its requests may well be answered singly."""


class Connection:
    """One endpoint. Enter it before use; it may be shared by any number of tasks of one event loop."""

    def __init__(self, url: str, timeout_s: float) -> None:
        parts = _split(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InvalidEndpoint(displayed(url))
        self.endpoint = displayed(url)
        self._url = url
        self._timeout_s = timeout_s
        self._ids = count(1)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=self._timeout_s)
        self._session = aiohttp.ClientSession(timeout=timeout, headers={"Content-Type": "application/json"})
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def request(self, method: str, params: Sequence[object]) -> Outcome:
        """Send one request. Raises NodeUnavailable or RpcRefused."""
        request_id = next(self._ids)
        body = await self._post(method, _encoder.encode(_request(request_id, method, params)))
        answer = self._parsed(method, _decoder, body)
        if answer.id != request_id and not (answer.id is None and answer.error is not None):
            raise self._unusable(f"{method}: the answer belongs to another request (id {answer.id!r})")
        return self._outcome(method, answer)

    async def batch(self, requests: Sequence[Request]) -> list[Outcome]:
        """Send one batch; the outcomes come in the order of the requests, whatever the node's order was.

        Raises BatchRefused for a node that will not take it.
        """
        if not requests:
            return []
        method = f"batch of {len(requests)}"
        numbered = {next(self._ids): request for request in requests}
        encoded = _encoder.encode([_request(number, *request) for number, request in numbered.items()])
        body = await self._post(method, encoded)
        if body.lstrip()[:1] == b"{":
            raise self._batch_refused(method, self._parsed(method, _decoder, body))
        listed = self._parsed(method, _batch_decoder, body)
        answers = {answer.id: answer for answer in listed}
        if answers.keys() != numbered.keys():
            # geth tells of a batch that is too large in the place of its first answer alone.
            if len(listed) == 1 and listed[0].error and kind_of(method, listed[0].error) is Kind.BATCH:
                raise self._batch_refused(method, listed[0])
            raise self._unusable(f"{method}: {len(answers)} answers, or answers to other requests")
        return [self._outcome(request[0], answers[number]) for number, request in numbered.items()]

    def _batch_refused(self, method: str, answer: _Answer) -> Exception:
        """Return what one answer to a whole batch means: the node is busy, or takes no such batch."""
        if answer.error is None:
            return self._unusable(f"{method}: one answer to many requests")
        if isinstance(meant := error_of(self.endpoint, method, answer.error), NodeUnavailable):
            return meant
        return BatchRefused(method, answer.error.code, answer.error.message or "no reason given")

    async def _post(self, method: str, body: bytes) -> bytes:
        if self._session is None:
            raise RuntimeError("the node is not open: use it inside `async with`")
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                self._session.post(self._url, data=body, allow_redirects=False) as response,
            ):
                return await self._body(method, response)
        except TimeoutError as error:
            raise self._unusable(f"{method}: no answer within {self._timeout_s:g} s") from error
        except aiohttp.ClientConnectorError as error:
            reason = f"{method}: {error}: check the RPC URL and that the node runs"
            raise NodeUnavailable(self.endpoint, reason, unsent=True) from error
        except (aiohttp.ClientError, OSError) as error:
            # Only the kind: the text of some of these errors repeats the whole URL.
            raise self._unusable(f"{method}: {type(error).__name__}") from error

    async def _body(self, method: str, response: aiohttp.ClientResponse) -> bytes:
        status = response.status
        if status >= 500 or status in (_HTTP_TOO_MANY, _HTTP_TIMEOUT):
            raise NodeUnavailable(
                self.endpoint,
                f"{method}: HTTP {status}",
                retry_after_s=_retry_after(response),
                limited=status == _HTTP_TOO_MANY,
                unsent=status == _HTTP_TOO_MANY,
            )
        chunks: list[bytes] = []
        size = 0
        async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
            chunks.append(chunk)
            size += len(chunk)
            if size > ANSWER_BYTES_MAX:
                raise RpcRefused(method, status, f"the answer is larger than {ANSWER_BYTES_MAX} bytes")
        body = b"".join(chunks)
        if status >= 300 and body.lstrip()[:1] not in (b"{", b"["):
            reason = f"HTTP {status} from {self.endpoint}: check the RPC URL and its key"
            if status == _HTTP_TOO_LARGE:
                raise BatchRefused(
                    method, status, f"HTTP {status} from {self.endpoint}: the request is too large"
                )
            raise RpcRefused(method, status, reason, elsewhere=True)
        return body

    def _parsed(self, method: str, decoder: msgspec.json.Decoder[_AnswerT], body: bytes) -> _AnswerT:
        try:
            return decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self._unusable(f"{method}: the answer is not JSON-RPC ({error})") from error

    def _outcome(self, method: str, answer: _Answer) -> Outcome:
        if answer.error is not None:
            return answer.error
        if not bytes(answer.result):
            raise self._unusable(f"{method}: the answer has neither result nor error")
        return answer.result

    def _unusable(self, reason: str) -> NodeUnavailable:
        return NodeUnavailable(self.endpoint, reason)


def displayed(url: str) -> str:
    """Return scheme, host and port of a URL: the rest may hold a key."""
    parts = _split(url)
    port = parts.port
    host = parts.hostname or ""
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}:{port}" if port else f"{parts.scheme}://{shown}"


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return SplitResult("", "", "", "", "")
    return parts


def _request(request_id: int, method: str, params: Sequence[object]) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}


def _retry_after(response: aiohttp.ClientResponse) -> float | None:
    """Return the seconds of a Retry-After header, which names a pause or a date; None without one."""
    text = response.headers.get("Retry-After", "")
    try:
        pause = float(text)
    except ValueError:
        try:
            pause = parsedate_to_datetime(text).timestamp() - time.time()
        except ValueError:
            return None
        pause = max(pause, 0.0)
    return min(pause, RETRY_AFTER_S_MAX) if pause >= 0 else None
