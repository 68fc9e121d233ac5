"""eth_subscribe: pushing new heads and logs to WebSocket connections.

S1 the answer that carries a subscription's id leaves before its first notification.
S2 notifications follow the order of the blocks; within a block, logs follow the order of the log index.
   Logs that a reorganisation takes are told first, newest first, as `removed`.
S3 a connection's outbox is bounded; one that does not read is closed, and nobody else waits for it.

All of it lives on the event loop; only what observes the chain is called from the chain's thread.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from hardhat_free_chain import formats
from hardhat_free_chain.chain import ChainObserver
from hardhat_free_chain.errors import InvalidParams, LimitExceeded
from hardhat_free_chain.faults.weather import Weather
from hardhat_free_chain.ledger import Block
from hardhat_free_chain.logs import LogFilter
from hardhat_free_chain.rpc import parameters

Wanted = LogFilter | Literal["newHeads", "newPendingTransactions"]

OUTBOX_MAX = 10_000
SUBSCRIPTIONS_MAX = 1_000
RECENT_MAX = 1_024


class Connection:
    """One WebSocket client: its outbox and its subscriptions.

    A None in the outbox asks the writer to close the connection. `weather` may change what is told.
    """

    def __init__(self, weather: Weather) -> None:
        self.weather = weather
        self.outbox: asyncio.Queue[bytes | None] = asyncio.Queue(OUTBOX_MAX)
        self.subscriptions: dict[str, Wanted] = {}

    def push(self, identity: str, payload: dict[str, Any] | str) -> None:
        """Queue a notification, or have the connection closed if it does not read (S3)."""
        told = self.weather.notification(payload)
        if told is None:
            return
        if self.outbox.full():
            self._give_up()
            return
        message = {
            "jsonrpc": "2.0",
            "method": "eth_subscription",
            "params": {"subscription": identity, "result": told},
        }
        self.outbox.put_nowait(msgspec.json.encode(message))

    def _give_up(self) -> None:
        self.subscriptions.clear()
        while not self.outbox.empty():
            self.outbox.get_nowait()
        self.outbox.put_nowait(None)


class SubscriptionHub(ChainObserver):
    """All connections of a server; observes the chain."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        # The latest canonical blocks, for connections that are told of them late.
        self._recent: deque[Block] = deque(maxlen=RECENT_MAX)
        self._connections: set[Connection] = set()
        self._last = 0

    def connect(self, connection: Connection) -> None:
        """Serve a connection from now on."""
        self._connections.add(connection)

    def disconnect(self, connection: Connection) -> None:
        """Forget a connection with its subscriptions."""
        self._connections.discard(connection)

    def prepare(self, connection: Connection, arguments: list[Any]) -> tuple[str, Wanted]:
        """Check an eth_subscribe; the caller activates it once the answer is queued (S1)."""
        kind = parameters.argument(arguments, 0)
        if len(connection.subscriptions) >= SUBSCRIPTIONS_MAX:
            raise LimitExceeded(f"too many subscriptions: {SUBSCRIPTIONS_MAX} are open on this connection")
        wanted: Wanted
        if kind in ("newHeads", "newPendingTransactions"):
            wanted = kind
        elif kind == "logs":
            wanted = parameters.log_filter(
                parameters.mapping(parameters.argument(arguments, 1, {}), "filter")
            )
        else:
            raise InvalidParams(
                f"no {kind!r} subscription in eth namespace: give newHeads, logs or newPendingTransactions"
            )
        self._last += 1
        return formats.quantity(self._last), wanted

    def block_added(self, block: Block) -> None:
        """Called in the chain's thread: hand the block to the loop."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._publish, block)

    def rewound(self, height: int, removed: Sequence[Block]) -> None:
        """Called in the chain's thread: tell of the logs that a reorganisation took."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._retract, height, removed)

    def transaction_added(self, transaction_hash: bytes) -> None:
        """Called in the chain's thread: tell of a transaction in the mempool."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._announce, formats.data(transaction_hash))

    def _announce(self, transaction_hash: str) -> None:
        for connection in tuple(self._connections):
            for identity, wanted in tuple(connection.subscriptions.items()):
                if wanted == "newPendingTransactions":
                    connection.push(identity, transaction_hash)

    def _retract(self, height: int, removed: Sequence[Block]) -> None:
        while self._recent and self._recent[-1].number > height:
            self._recent.pop()
        for connection in tuple(self._connections):
            # A node that lags has not told of the newest ones yet.
            told = removed[: max(0, len(removed) - connection.weather.blocks_behind)]
            for identity, wanted in tuple(connection.subscriptions.items()):
                if isinstance(wanted, LogFilter):
                    for log in formats.removed_logs(told, wanted):
                        connection.push(identity, log)

    def _publish(self, newest: Block) -> None:
        self._recent.append(newest)
        for connection in tuple(self._connections):
            behind = connection.weather.blocks_behind
            if behind >= len(self._recent) or not connection.subscriptions:
                continue
            block = self._recent[-1 - behind]
            # A snapshot's blocks come back without having been told of.
            if block.number != newest.number - behind:
                continue
            head, logs = formats.header(block.header), block.logs
            for identity, wanted in tuple(connection.subscriptions.items()):
                if identity not in connection.subscriptions:
                    break
                if wanted == "newHeads":
                    connection.push(identity, head)
                elif isinstance(wanted, LogFilter):
                    for log in logs:
                        if wanted.matches(log):
                            connection.push(identity, log)
