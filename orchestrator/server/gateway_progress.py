"""Progress as server-sent events: what of a call tree has settled, as it settles, and how far the rest is.

The tree is looked at every so often: the store is the truth, and a viewer may come late or twice. Each
promise is told once for each state, what its function notes by heartbeats (extension `progress`: the value of
an open promise) whenever it has changed; the stream ends when the promise itself has settled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec
from aiohttp import hdrs, web

from orchestrator.client import codec
from orchestrator.client.encryption import DecryptionError
from orchestrator.client.invocation import label_of
from orchestrator.client.sealing import readable
from orchestrator.domain.errors import OrchestratorError, Refused
from orchestrator.domain.promise import PromiseRecord

if TYPE_CHECKING:
    from orchestrator.server.gateway import Gateway

_HEADERS = {hdrs.CONTENT_TYPE: "text/event-stream", hdrs.CACHE_CONTROL: "no-store", "X-Accel-Buffering": "no"}


class Progress:
    """The route `GET /{id}/events`."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._streams = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Send an event for every promise below the id and every state of it, until the end."""
        promise_id = self._gateway.checked_id(request.match_info["id"])
        root = await self._gateway.app.promises.get(promise_id)
        if self._streams >= self._gateway.settings.waiting_max:
            raise Refused(429, "too many streams are open here: poll the id instead")
        self._streams += 1
        try:
            response = web.StreamResponse(headers=_HEADERS)
            await response.prepare(request)
            await self._follow(response, root)
        finally:
            self._streams -= 1
        return response

    async def _follow(self, response: web.StreamResponse, root: PromiseRecord) -> None:
        told: dict[str, tuple[str, int | None]] = {}
        settings, quiet_s = self._gateway.settings, 0.0
        while not self._gateway.closing.is_set():
            try:
                # It is read before its descendants, so that its end is told after theirs.
                root, *_ = tree = await self._gateway.app.promises.tree(root.id)
            except OrchestratorError as error:
                await response.write(_event("error", {"message": str(error)}))
                return
            news = [event for record in tree for event in self._news(record, told)]
            for event in news:
                await response.write(event)
            if not root.pending:
                await response.write(_event("end", _shown(root)))
                return
            quiet_s = 0.0 if news else quiet_s + settings.look_s
            if quiet_s >= settings.keep_alive_s:
                quiet_s = 0.0
                await response.write(b": alive\n\n")
            await asyncio.sleep(settings.look_s)  # a stop waits no longer than this

    def _news(self, record: PromiseRecord, told: dict[str, tuple[str, int | None]]) -> Iterator[bytes]:
        """Yield what is new about a promise; `told` is its state and a hash of its progress."""
        data = record.value.data if record.pending else None
        now = (record.state, None if data is None else hash(data))
        before = told.get(record.id, ("", None))
        told[record.id] = now
        if now[0] != before[0]:
            yield _event("promise", _shown(record))
        if data is not None and now[1] != before[1]:
            yield _event("progress", self._noted(record, data))

    def _noted(self, record: PromiseRecord, data: str) -> dict[str, object]:
        shown: dict[str, object] = {"id": record.id, "what": _what(record)}
        bytes_max, what = self._gateway.settings.progress_bytes_max, f"the progress of {record.id}"
        # Four characters of base64 stand for three bytes.
        if len(data) * 3 // 4 > bytes_max:
            return shown | {"withheld": f"it has more than {bytes_max} bytes"}
        try:
            return shown | {"progress": codec.from_data(readable(record.value, what), what)}
        except OrchestratorError as error:
            return shown | {"withheld": str(error)}


def _what(record: PromiseRecord) -> str | None:
    try:
        return label_of(record)
    except DecryptionError:
        return None  # the names of what is invoked are encrypted with its arguments


def _shown(record: PromiseRecord) -> dict[str, object]:
    return {
        "id": record.id,
        "what": _what(record),
        "state": record.state,
        "created_at": record.created_at,
        "settled_at": record.settled_at,
    }


def _event(name: str, data: dict[str, object]) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + msgspec.json.encode(data) + b"\n\n"
