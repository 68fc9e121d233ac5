"""A gateway: durable functions started, attached to, polled and settled by plain HTTP.

`POST /{function}` and `POST /{function}/{id}` invoke, `GET /{id}` tells the outcome, `POST /{id}/resolve` and
`/reject` settle a promise that waits for somebody outside, `GET /{id}/events` follows the call tree as it
settles. Only functions that are named may be invoked, only ids with the configured prefix are seen, and every
request passes the guard: without one of its own a gateway answers this machine alone.
"""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
from aiohttp import hdrs, web

from orchestrator.client import codec
from orchestrator.client.application import Application
from orchestrator.client.handle import Handle
from orchestrator.client.invocation import read_invocation
from orchestrator.client.invoking import Invoker
from orchestrator.client.sealing import readable
from orchestrator.domain import tags as tag
from orchestrator.domain.errors import OrchestratorError, Refused, Unavailable
from orchestrator.domain.ids import fault_of_root_id
from orchestrator.domain.promise import PromiseRecord, PromiseState
from orchestrator.protocol.nesting import too_deep
from orchestrator.server.gateway_access import Guard, guard_of
from orchestrator.server.proof_route import json_error

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
IDEMPOTENCY_KEY = "Idempotency-Key"
RETRY_AFTER_S = 1
SETTLINGS = ("resolve", "reject")


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """`prefix` begins every id that passes here. Requests have at most `body_bytes_max` bytes.

    A request waits at most `wait_s_max` seconds for an outcome, and at most `waiting_max` wait together. A
    progress stream looks every `look_s` seconds, and says that it lives after `keep_alive_s` of silence; what
    a function notes is told if it has at most `progress_bytes_max` bytes of JSON.
    """

    prefix: str = ""
    body_bytes_max: int = 1024 * 1024
    wait_s_max: float = 60.0
    waiting_max: int = 1_000
    look_s: float = 0.5
    keep_alive_s: float = 15.0
    progress_bytes_max: int = 64 * 1024


class Gateway:
    """The routes, for `web_application.add_subapp("/durable", gateway.application())`.

    `app` is running while requests are answered; `functions` maps the names that may be invoked to the
    invoker that does it: `app` itself, or `app.options(target="shop", timeout_s=60)`. `token` is the bearer
    token that requests must carry; `guard` takes its place where the application knows its users.
    """

    def __init__(
        self,
        app: Application,
        functions: Mapping[str, Invoker],
        *,
        token: str | None = None,
        guard: Guard | None = None,
        settings: GatewaySettings | None = None,
    ) -> None:
        self.app = app
        self.settings = settings or GatewaySettings()
        self._functions = dict(functions)
        self._guard = guard_of(token, guard)
        self._waiting = 0
        self.closing = asyncio.Event()

    def application(self) -> web.Application:
        """Return the routes as an application of their own, to be added to another."""
        # Imported here: the stream of events is one of a gateway's routes.
        from orchestrator.server.gateway_progress import Progress  # noqa: PLC0415

        made = web.Application()
        for settling in SETTLINGS:
            made.router.add_post(f"/{{id}}/{settling}", self.guarded(partial(self._settle, settling)))
        made.router.add_get("/{id}/events", self.guarded(Progress(self).handle))
        made.router.add_post("/{function}", self.guarded(self._invoke))
        made.router.add_post("/{function}/{id}", self.guarded(self._invoke))
        made.router.add_get("/{id}", self.guarded(self._outcome), name="outcome")
        made.on_shutdown.append(self._close)
        return made

    async def _close(self, _: web.Application) -> None:
        """Answer those who wait, so that the web application need not wait for them."""
        self.closing.set()

    def guarded(self, handler: Handler) -> Handler:
        """Return the handler behind the guard."""

        async def handle(request: web.Request) -> web.StreamResponse:
            await self._guard(request)
            return await handler(request)

        return self.answering(handle)

    @staticmethod
    def answering(handler: Handler) -> Handler:
        """Return the handler with the errors of guard and engine as answers."""

        async def handle(request: web.Request) -> web.StreamResponse:
            try:
                return await handler(request)
            except Refused as refusal:
                # What the engine forbids the gateway is not the caller's fault.
                status = 502 if refusal.status == 421 or refusal.status >= 500 else refusal.status
                return json_error(status, refusal.message)
            except Unavailable as error:
                answer = json_error(503, str(error))
                answer.headers[hdrs.RETRY_AFTER] = str(RETRY_AFTER_S)
                return answer
            except OrchestratorError as error:
                return json_error(500, str(error))

        return handle

    # -- invoking

    async def _invoke(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["function"]
        invoker = self._functions.get(name)
        if invoker is None:
            known = ", ".join(sorted(self._functions))
            raise Refused(404, f"no function {name!r} may be invoked here; there are: {known}")
        promise_id = self._chosen_id(request)
        wait_s = self.wait_s(request)
        args, kwargs = _arguments(await self.body(request))
        try:
            handle = await invoker.begin_rpc(promise_id, name, *args, **kwargs)
        except (ValueError, codec.EncodingError) as error:
            raise Refused(400, str(error)) from error
        _check_same_call(handle.record, name, args, kwargs)
        record = await self._settled(handle.record, wait_s)
        answer = described(record)
        answer.headers[hdrs.LOCATION] = str(request.app.router["outcome"].url_for(id=promise_id))
        return answer

    def _chosen_id(self, request: web.Request) -> str:
        chosen = request.match_info.get("id") or request.headers.get(IDEMPOTENCY_KEY)
        return self.checked_id(chosen or f"{self.settings.prefix}{uuid.uuid4()}")

    def checked_id(self, promise_id: str) -> str:
        """Return an id that may pass. Raises Refused(403) without the prefix, Refused(400) if it is none."""
        if not promise_id.startswith(self.settings.prefix):
            raise Refused(403, f"Forbidden: ids begin with {self.settings.prefix!r} here")
        fault = fault_of_root_id(promise_id.split(":", maxsplit=1)[0])
        if fault is not None:
            raise Refused(400, fault)
        return promise_id

    # -- outcomes

    async def _outcome(self, request: web.Request) -> web.StreamResponse:
        promise_id = self.checked_id(request.match_info["id"])
        wait_s = self.wait_s(request)
        record = await self._settled(await self.app.promises.get(promise_id), wait_s)
        answer = described(record)
        known = request.headers.get(hdrs.IF_NONE_MATCH, "")
        if answer.headers[hdrs.ETAG] in (one.strip().removeprefix("W/") for one in known.split(",")):
            return web.Response(status=304, headers={hdrs.ETAG: answer.headers[hdrs.ETAG]})
        return answer

    async def _settled(self, record: PromiseRecord, wait_s: float) -> PromiseRecord:
        """Return the record as soon as it is settled, or as it is after `wait_s` seconds."""
        if not record.pending or wait_s <= 0:
            return record
        if self._waiting >= self.settings.waiting_max:
            raise Unavailable("too many requests wait here: ask again without waiting")
        self._waiting += 1
        try:
            return await self._awaited(await self.app.get(record.id), wait_s)
        finally:
            self._waiting -= 1

    async def _awaited(self, handle: Handle[Any], wait_s: float) -> PromiseRecord:
        waits = [asyncio.ensure_future(one) for one in (handle.exception(), self.closing.wait())]
        try:
            await asyncio.wait(waits, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waits:
                one.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
        return handle.record

    def wait_s(self, request: web.Request) -> float:
        """Return how long the caller would wait. Raises Refused(400)."""
        text = request.query.get("wait", "0")
        try:
            wanted = float(text)
        except ValueError:
            wanted = -1.0
        if not wanted >= 0:
            raise Refused(400, f"wait={text} is no number of seconds")
        return min(wanted, self.settings.wait_s_max)

    # -- settling

    async def _settle(self, settling: str, request: web.Request) -> web.StreamResponse:
        promise_id = self.checked_id(request.match_info["id"])
        record = await self.app.promises.get(promise_id)
        if record.target is not None or record.tags.get(tag.EXTERNAL) != tag.TRUE:
            raise Refused(403, f"Forbidden: {promise_id} is settled by the function that it stands for")
        value = parsed(await self.body(request))
        try:
            if settling == "resolve":
                wanted = PromiseState.RESOLVED
                settled = await self.app.promises.resolve(promise_id, value)
            else:
                wanted = PromiseState.REJECTED
                settled = await self.app.promises.reject(promise_id, _message(value))
        except codec.EncodingError as error:
            raise Refused(400, str(error)) from error
        if settled.state is not wanted or (
            settling == "resolve" and _value(settled) != codec.encode(value, "")
        ):
            raise Refused(409, f"{promise_id} was {settled.state} before, with another value or state")
        return described(settled)

    async def body(self, request: web.Request) -> bytes:
        """Read the body, within the bound. Raises Refused(413)."""
        whole = bytearray()
        async for chunk in request.content.iter_chunked(64 * 1024):
            whole += chunk
            if len(whole) > self.settings.body_bytes_max:
                raise Refused(413, f"a request has at most {self.settings.body_bytes_max} bytes here")
        return bytes(whole)


def parsed(body: bytes) -> object:
    """Return the JSON of a body, None for an empty one. Raises Refused(400)."""
    if not body.strip():
        return None
    if too_deep(body):
        raise Refused(400, "the body is nested too deeply")
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused(400, f"the body is no JSON: {error}") from error


def _arguments(body: bytes) -> tuple[list[object], dict[str, object]]:
    """Return arguments: those of an array by position, those of an object by name."""
    given = parsed(body)
    if given is None:
        return [], {}
    if isinstance(given, list):
        return given, {}
    if isinstance(given, dict):
        return [], given
    raise Refused(400, "the body must be an object of arguments by name, or an array by position")


def _message(value: object) -> str:
    message = value.get("message") if isinstance(value, dict) else value
    if not isinstance(message, str) or not message:
        raise Refused(400, 'say why: {"message": "out of stock"}')
    return message


def _check_same_call(record: PromiseRecord, name: str, args: list[object], kwargs: dict[str, object]) -> None:
    """Raise Refused(409) if the id belongs to another call than the one that is asked for now."""
    try:
        recorded = read_invocation(record)
    except codec.DecodingError:
        recorded = None
    wanted = (
        [codec.encode(one, "") for one in args],
        {key: codec.encode(one, "") for key, one in kwargs.items()},
    )
    if recorded is None or recorded.function != name or (recorded.args, recorded.kwargs) != wanted:
        raise Refused(409, f"{record.id} exists, and is another call: choose another id")


def _value(record: PromiseRecord) -> object:
    what = f"the value of {record.id}"
    return codec.from_data(readable(record.value, what), what)


def described(record: PromiseRecord) -> web.Response:
    """Return a promise as an answer: 200 with its outcome, 202 while it is open; with an ETag.

    `{"id", "state", "value"}`, or `"error"` in place of the value where it failed.
    """
    shown: dict[str, object] = {"id": record.id, "state": record.state}
    if not record.pending:
        shown["value" if record.state is PromiseState.RESOLVED else "error"] = _value(record)
    body = msgspec.json.encode(shown)
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {hdrs.ETAG: etag, hdrs.CACHE_CONTROL: "no-cache"}
    status = 202 if record.pending else 200
    return web.Response(status=status, body=body, content_type="application/json", headers=headers)
