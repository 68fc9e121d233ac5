"""A payment provider that tells of a payment by a signed webhook, as often as it is told to: at least once.

The signature is that of the Standard Webhooks specification.
"""

import argparse
import asyncio
import base64
import hashlib
import hmac
import json
import time

import aiohttp

CALL_AGAIN_S = 0.3


def signed(secret: str, event: str, body: bytes) -> dict[str, str]:
    sent = str(int(time.time()))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, b".".join((event.encode(), sent.encode(), body)), hashlib.sha256).digest()
    signature = "v1," + base64.b64encode(digest).decode()
    return {"webhook-id": event, "webhook-timestamp": sent, "webhook-signature": signature}


async def deliver(hook: str, secret: str, event: str, body: bytes) -> int:
    """Deliver an event, again and again until somebody takes it."""
    timeout = aiohttp.ClientTimeout(total=10)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        while True:
            try:
                async with session.post(hook, data=body, headers=signed(secret, event, body)) as answer:
                    if answer.status < 500:
                        return answer.status
            except (aiohttp.ClientError, TimeoutError):
                pass
            await asyncio.sleep(CALL_AGAIN_S)


async def main(*, hook: str, secret: str, event: str, order: int, amount: int, times: int) -> None:
    body = json.dumps({"type": "payment.received", "data": {"order": order, "amount": amount}}).encode()
    answers = [await deliver(hook, secret, event, body) for _ in range(times)]
    taken = sum(200 <= status < 300 for status in answers)
    print(f"{event} sent {times} times, taken {taken} times")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("event", help="the event's id")
    parser.add_argument("order", type=int, help="the order that was paid")
    parser.add_argument("amount", type=int, help="what was paid")
    parser.add_argument("--hook", default="http://127.0.0.1:8080/hooks/payments", help="whom to tell")
    parser.add_argument("--secret", required=True, help="shared with the receiver: whsec_ and base64")
    parser.add_argument("--times", type=int, default=3, help="how often to tell it")
    asyncio.run(main(**vars(parser.parse_args())))
