"""A broker, behind the little that the examples need of one: NATS JetStream (`nats-server --jetstream`).

To take Kafka or Redis streams instead, write `Broker` and `connected` again; no program knows more of it.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import nats
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

DEFAULT = "nats://127.0.0.1:4222"
STREAM = "examples"
ID_HEADER = "Nats-Msg-Id"
REDELIVER_S = 2.0
START_ONE = "start one: nats-server --jetstream --store_dir queue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What a queue delivers, until it is acknowledged. `id` is the one it was published with."""

    id: str
    body: Any
    acknowledge: Callable[[], Awaitable[None]]


class Broker:
    """Queues by name; each message goes to one of those who take from its queue."""

    def __init__(self, stream: JetStreamContext) -> None:
        self._stream = stream

    async def publish(self, queue: str, message_id: str, body: Any) -> None:
        """Add a message, durably. The broker drops one whose id it has seen lately."""
        headers = {ID_HEADER: f"{queue}/{message_id}"}
        await self._stream.publish(f"{STREAM}.{queue}", json.dumps(body).encode(), headers=headers)

    async def taken(self, queue: str) -> AsyncGenerator[Message, None]:
        """Yield messages as they come; those not acknowledged are delivered again, here or elsewhere."""
        config = ConsumerConfig(ack_wait=REDELIVER_S)
        subscription = await self._stream.subscribe(
            f"{STREAM}.{queue}", queue=queue, manual_ack=True, config=config
        )
        async for message in subscription.messages:
            message_id = (message.headers or {})[ID_HEADER].removeprefix(f"{queue}/")
            yield Message(id=message_id, body=json.loads(message.data), acknowledge=message.ack)

    async def read(self, queue: str) -> AsyncGenerator[Any, None]:
        """Yield the bodies of all messages of a queue from its beginning, taking none away."""
        config = ConsumerConfig(deliver_policy=DeliverPolicy.ALL, ack_policy=AckPolicy.NONE)
        subscription = await self._stream.subscribe(f"{STREAM}.{queue}", config=config)
        async for message in subscription.messages:
            yield json.loads(message.data)


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Broker]:
    """Hold a connection to the broker. One that is away is waited for, and told of."""

    async def told(error: Exception) -> None:
        print(f"the broker at {url} is away ({error}); {START_ONE}", flush=True)

    client = await nats.connect(url, error_cb=told, max_reconnect_attempts=-1)
    try:
        stream = client.jetstream()
        await stream.add_stream(name=STREAM, subjects=[f"{STREAM}.>"])
        yield Broker(stream)
    finally:
        await client.close()
