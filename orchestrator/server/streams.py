"""One delivery stream: messages in from the engine, server-sent events out to a member.

Invariant: `receive` neither blocks nor raises, and a stream never holds more than its bounds and the one
message that reached them. One that finds the buffer full is refused and counted; the engine offers it to
another connection, or again shortly.
"""

from __future__ import annotations

import asyncio
from collections import deque

from orchestrator.protocol.envelope import encode_message
from orchestrator.protocol.messages import Message

KEEP_ALIVE = b":\n\n"


def event_of(message: Message) -> bytes:
    """Encode a message as one event: a single data line, LF only (a published parser splits on LF LF)."""
    return b"data: " + encode_message(message) + b"\n\n"


class DeliveryStream:
    """The bounded buffer between an engine and one connection."""

    def __init__(self, *, buffer_messages: int, buffer_bytes: int, keep_alive_s: float) -> None:
        self.dropped = 0
        self.received = 0
        self._events: deque[bytes] = deque()
        self._bytes = 0
        self._buffer_messages = buffer_messages
        self._buffer_bytes = buffer_bytes
        self._keep_alive_s = keep_alive_s
        self._wake = asyncio.Event()
        self._closed = False

    def receive(self, message: Message) -> bool:
        """Take a message; return False, without taking it, when the reader is too far behind."""
        if self._closed or len(self._events) >= self._buffer_messages or self._bytes >= self._buffer_bytes:
            self.dropped += 1
            return False
        event = event_of(message)
        self.received += 1
        self._bytes += len(event)
        self._events.append(event)
        self._wake.set()
        return True

    def close(self) -> None:
        """Let the reader have what is buffered, then end the stream."""
        self._closed = True
        self._wake.set()

    async def next_bytes(self) -> bytes | None:
        """Return the next bytes to send, a keep-alive comment after silence, None at the end."""
        if not self._events and not self._closed:
            self._wake.clear()
            try:
                async with asyncio.timeout(self._keep_alive_s):
                    await self._wake.wait()
            except TimeoutError:
                return KEEP_ALIVE
        if not self._events:
            return None
        # All that waits goes out in one write: one event a write costs a packet each.
        waiting = b"".join(self._events)
        self._events.clear()
        self._bytes = 0
        return waiting
