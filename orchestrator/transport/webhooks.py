"""Webhooks that go out: a delivery is a leaf function, durable by the workflow that calls it.

The id of its promise is the event's id (`webhook-id`): the same for all attempts, so that the receiver can
tell a repetition. Signed by the Standard Webhooks specification; secrets are never arguments.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Mapping

import aiohttp
import msgspec
from yarl import URL

from orchestrator.client.codec import encode
from orchestrator.client.info import Info

ID_HEADER, TIME_HEADER, SIGNATURE_HEADER = "webhook-id", "webhook-timestamp", "webhook-signature"
TIMEOUT_S = 30.0
_GONE = 410
_TRY_AGAIN = frozenset({408, 425, 429})


def sign(secret: bytes, event_id: str, timestamp: str, body: bytes) -> str:
    """Return the `webhook-signature` of a message (Standard Webhooks, version 1)."""
    signed = b".".join((event_id.encode(), timestamp.encode(), body))
    return "v1," + base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode("ascii")


class WebhookRefused(Exception):
    """The receiver will not take this event, however often it is sent."""

    retryable = False


class WebhookFailed(Exception):
    """The receiver did not take the event; another attempt may help."""


class WebhookSender:
    """Delivers events: `app.register(sender.deliver)`, then `await ctx.run(sender.deliver, url, payload)`.

    `secrets` maps origins (`https://shop.example`) to the secret that is shared with them; nothing is sent
    elsewhere, so that no workflow can be talked into calling an address of its caller's choice.
    """

    def __init__(self, secrets: Mapping[str, bytes], *, timeout_s: float = TIMEOUT_S) -> None:
        self._secrets = {URL(origin).origin(): secret for origin, secret in secrets.items()}
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)

    async def deliver(self, info: Info, url: str, payload: object) -> int:
        """Post an event and return the receiver's status. Raises WebhookRefused or WebhookFailed."""
        target = URL(url)
        secret = self._secrets.get(target.origin()) if target.is_absolute() else None
        if secret is None:
            raise WebhookRefused(f"no secret is configured for {target.with_query(None)}")
        body, sent = msgspec.json.encode(encode(payload, "the payload")), str(int(time.time()))
        headers = {
            "Content-Type": "application/json",
            ID_HEADER: info.promise_id,
            TIME_HEADER: sent,
            SIGNATURE_HEADER: sign(secret, info.promise_id, sent, body),
        }
        try:
            async with (
                aiohttp.ClientSession(timeout=self._timeout, cookie_jar=aiohttp.DummyCookieJar()) as session,
                session.post(target, data=body, headers=headers, allow_redirects=False) as response,
            ):
                return _taken(response.status, target)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise WebhookFailed(f"{target.with_query(None)}: {str(error) or type(error).__name__}") from error


def _taken(status: int, target: URL) -> int:
    if 200 <= status < 300:
        return status
    where = target.with_query(None)
    if status == _GONE or (400 <= status < 500 and status not in _TRY_AGAIN):
        raise WebhookRefused(f"{where} answered {status}: it does not take this event")
    raise WebhookFailed(f"{where} answered {status}")
