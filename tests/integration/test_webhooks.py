"""Webhooks: each event that comes in invokes once, each that goes out is delivered until it is taken."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from orchestrator import ApplicationError, Constant, Context, Orchestrator, Refused
from orchestrator.server import Gateway, hub_signature, secret_of, standard_signature, webhook
from orchestrator.transport.webhooks import WebhookSender, sign

SECRET = b"a secret of 24 bytes ..."
TIMEOUT_S = 20


def signed(
    event_id: str, body: bytes, *, secret: bytes = SECRET, at_s: float | None = None
) -> dict[str, str]:
    sent = str(int(time.time() if at_s is None else at_s))
    return {
        "webhook-id": event_id,
        "webhook-timestamp": sent,
        "webhook-signature": f"v1,bm90IHRoaXMgb25l {sign(secret, event_id, sent, body)}",
    }


@asynccontextmanager
async def receiving(handled: list[object]) -> AsyncIterator[str]:
    """Serve a gateway with a webhook for payments, without a token: the signature is what counts."""

    def payment(event: dict[str, Any]) -> str:
        handled.append(event)
        return "booked"

    app = Orchestrator.local(":memory:")
    app.register(payment)
    gateway = Gateway(app, {})
    site = web.Application()
    verify = standard_signature(SECRET)
    site.router.add_post("/hooks/payments", webhook(gateway, "payment", app, verify, source="payment"))
    async with app, asyncio.timeout(TIMEOUT_S), TestServer(site) as server:
        yield str(server.make_url("/hooks/payments"))
        for page in (await app.promises.search()).promises:
            await (await app.get(page.id)).result()


async def test_an_event_invokes_once_however_often_it_comes() -> None:
    handled: list[object] = []
    body = json.dumps({"amount": 7}).encode()
    async with receiving(handled) as url, aiohttp.ClientSession() as session:

        async def send() -> tuple[int, Any]:
            async with session.post(url, data=body, headers=signed("evt_1", body)) as response:
                return response.status, await response.json()

        answers = await asyncio.gather(*(send() for _ in range(5)))
        assert {status for status, _ in answers} <= {200, 202}
        assert {answer["id"] for _, answer in answers} == {"payment-evt_1"}
        odd = "evt:1 with what an id cannot hold"
        async with session.post(url, data=body, headers=signed(odd, body)) as response:
            assert (await response.json())["id"] == f"payment-{hashlib.sha256(odd.encode()).hexdigest()}"
    assert handled == [{"amount": 7}] * 2


async def test_nothing_is_done_for_a_signature_that_is_wrong() -> None:
    handled: list[object] = []
    body = b'{"amount": 7}'
    wrong: list[Mapping[str, str]] = [
        {},
        signed("evt_1", b'{"amount": 8}'),
        signed("evt_1", body, secret=b"another secret of 24 ..."),
        signed("evt_1", body) | {"webhook-id": "evt_2"},
        signed("evt_1", body) | {"webhook-timestamp": "1"},
        signed("", body),
        signed("evt_1", body, at_s=time.time() - 3_600),
        signed("evt_1", body, at_s=time.time() + 3_600),
        signed("evt_1", body) | {"webhook-timestamp": "x"},
    ]
    async with receiving(handled) as url, aiohttp.ClientSession() as session:
        for headers in wrong:
            async with session.post(url, data=body, headers=headers) as response:
                assert response.status == 401, headers
                assert "Unauthorized" in (await response.json())["error"]
        async with session.post(url, data=b"{", headers=signed("evt_1", b"{")) as response:
            assert response.status == 400
    assert not handled


def test_the_signature_of_a_hub_is_checked() -> None:
    verify = hub_signature(SECRET)
    good = "sha256=" + hmac.new(SECRET, b"{}", hashlib.sha256).hexdigest()
    assert verify({"X-Hub-Signature-256": good, "X-GitHub-Delivery": "72d3162e"}, b"{}") == "72d3162e"
    for headers, status in (
        ({"X-Hub-Signature-256": good[:-1] + "x", "X-GitHub-Delivery": "1"}, 401),
        ({"X-GitHub-Delivery": "1"}, 401),
        ({"X-Hub-Signature-256": good}, 400),
    ):
        with pytest.raises(Refused) as refused:
            verify(headers, b"{}")
        assert refused.value.status == status


def test_a_secret_is_read_as_it_is_shown() -> None:
    # The example of the Standard Webhooks specification's own libraries.
    secret = secret_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}') == expected
    with pytest.raises(ValueError, match="base64"):
        secret_of("whsec_***")
    with pytest.raises(ValueError, match="at least 16"):
        standard_signature(b"short")


class Receiver:
    """Takes events at the end of a list of statuses; notes what came."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.ids: list[str] = []
        self.verify = standard_signature(SECRET)

    async def take(self, request: web.Request) -> web.Response:
        self.ids.append(self.verify(request.headers, await request.read()))
        return web.Response(status=self.statuses.pop(0), headers={"Location": "/elsewhere"})


async def delivered(receiver: Receiver, *, known: bool = True) -> int:
    site = web.Application()
    site.router.add_post("/hook", receiver.take)
    async with TestServer(site) as server:
        origin = str(server.make_url("/").origin()) if known else "https://elsewhere.example"
        sender = WebhookSender({origin: SECRET})

        async def notify(ctx: Context, url: str) -> int:
            return await ctx.run(sender.deliver, url, {"order": 7})

        app = Orchestrator.local(":memory:")
        app.register(sender.deliver, retry=Constant(delay_s=0.01))
        app.register(notify)
        async with app, asyncio.timeout(TIMEOUT_S):
            return await app.run("n-1", notify, str(server.make_url("/hook")))


async def test_an_event_is_delivered_again_until_it_is_taken() -> None:
    receiver = Receiver(500, 429, 302, 204)
    assert await delivered(receiver) == 204
    # The same id each time, by which the receiver knows a repetition.
    assert receiver.ids == ["n-1:1"] * 4


@pytest.mark.parametrize("status", [400, 404, 410])
async def test_an_event_that_is_not_wanted_is_not_sent_again(status: int) -> None:
    receiver = Receiver(status)
    with pytest.raises(ApplicationError, match="does not take this event"):
        await delivered(receiver)
    assert len(receiver.ids) == 1


async def test_nothing_is_sent_where_no_secret_is_shared() -> None:
    receiver = Receiver()
    with pytest.raises(ApplicationError, match="no secret is configured"):
        await delivered(receiver, known=False)
    assert not receiver.ids
