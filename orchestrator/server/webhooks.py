"""Webhooks that come in: each event invokes a function exactly once, whoever sends it how often.

The event's id becomes the id of the promise (P2), so a repeated delivery attaches to what exists. A signature
is checked before anything is looked at, in constant time.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import time
from collections.abc import Callable, Mapping

from aiohttp import web

from orchestrator.client.invoking import Invoker
from orchestrator.domain.errors import Refused
from orchestrator.server.gateway import Gateway, Handler, described, parsed
from orchestrator.transport.webhooks import ID_HEADER, SIGNATURE_HEADER, TIME_HEADER, sign

Verifier = Callable[[Mapping[str, str], bytes], str]
"""Takes headers and body; returns the event's id, or raises Refused(401), Refused(400)."""
TOLERANCE_S = 300.0
_PLAIN_ID = re.compile(r"[A-Za-z0-9_.\-]{1,128}")
SECRET_BYTES_MIN = 16


def standard_signature(
    secret: bytes, *, tolerance_s: float = TOLERANCE_S, now_s: Callable[[], float] = time.time
) -> Verifier:
    """Return the check of the Standard Webhooks specification: HMAC-SHA256 over id, timestamp and body.

    A message whose timestamp is more than `tolerance_s` off is refused, so that it cannot be replayed later.
    """
    _check_secret(secret)

    def verify(headers: Mapping[str, str], body: bytes) -> str:
        event_id, sent, given = (headers.get(name, "") for name in (ID_HEADER, TIME_HEADER, SIGNATURE_HEADER))
        expected = sign(secret, event_id, sent, body)
        known = [hmac.compare_digest(one.encode(), expected.encode()) for one in given.split(" ")]
        if not (event_id and any(known)):
            raise Refused(401, "Unauthorized: the signature is missing or wrong")
        if not sent.isdecimal() or abs(now_s() - int(sent)) > tolerance_s:
            raise Refused(401, "Unauthorized: the message is too old, or a clock is wrong")
        return event_id

    return verify


def hub_signature(secret: bytes, *, id_header: str = "X-GitHub-Delivery") -> Verifier:
    """Return the check of `X-Hub-Signature-256`; the event's id is in `id_header`, as GitHub sends it."""
    _check_secret(secret)

    def verify(headers: Mapping[str, str], body: bytes) -> str:
        expected = "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(headers.get("X-Hub-Signature-256", "").encode(), expected.encode()):
            raise Refused(401, "Unauthorized: the signature is missing or wrong")
        event_id = headers.get(id_header, "")
        if not event_id:
            raise Refused(400, f"the header {id_header} with the event's id is missing")
        return event_id

    return verify


def secret_of(text: str) -> bytes:
    """Return a secret as senders show it, `whsec_` and base64. Raises ValueError."""
    try:
        return base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except binascii.Error as error:
        raise ValueError("the secret is no base64: copy it whole, with or without whsec_") from error


def webhook(gateway: Gateway, function: str, invoker: Invoker, verify: Verifier, *, source: str) -> Handler:
    """Return a handler for a POST route that invokes `function` with the event's JSON, once an event.

    The promise is `{prefix}{source}-{event id}`. Any answer but 2xx asks the sender to try again later.
    """

    async def handle(request: web.Request) -> web.StreamResponse:
        body = await gateway.body(request)
        event_id = verify(request.headers, body)
        promise_id = f"{gateway.settings.prefix}{source}-{_part_of_id(event_id)}"
        handle = await invoker.begin_rpc(promise_id, function, parsed(body))
        return described(handle.record)

    return gateway.answering(handle)


def _part_of_id(event_id: str) -> str:
    """Return what stands for an event in an id: itself, or its hash where an id cannot hold it."""
    return event_id if _PLAIN_ID.fullmatch(event_id) else hashlib.sha256(event_id.encode()).hexdigest()


def _check_secret(secret: bytes) -> None:
    if len(secret) < SECRET_BYTES_MIN:
        raise ValueError(f"the secret has {len(secret)} bytes: use at least {SECRET_BYTES_MIN} random ones")
