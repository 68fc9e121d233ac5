"""One address of a chain: JSON-RPC over HTTP and WebSocket, with a weather of its own.

POST / takes JSON-RPC, GET / upgrades to a WebSocket; text and binary frames are taken alike. Bodies and
batches are bounded. The event loop parses and writes; the chain's own thread runs every method.

E1 the weather stands before every method but those of CONTROL_PREFIX, by which it is changed.
"""

import asyncio
import contextlib
import socket as sockets
import struct
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import msgspec
import structlog
from aiohttp import WSMsgType, web

from hardhat_free_chain.errors import ListenError, MethodNotFound, RpcError
from hardhat_free_chain.faults.rule import Delivery, Ending, Rule
from hardhat_free_chain.faults.weather import Weather, joined
from hardhat_free_chain.owner import Owner
from hardhat_free_chain.rpc import dispatch
from hardhat_free_chain.rpc.node import Node
from hardhat_free_chain.settings import ChainSettings
from hardhat_free_chain.subscriptions import Connection, SubscriptionHub, Wanted

Activations = list[tuple[str, Wanted]]
Struck = tuple[dispatch.Envelope, Sequence[Rule]]

CONTROL_PREFIX = "hardhatfree_"
CLOSE_TIMEOUT_S = 2.0
SEND_TIMEOUT_S = 30.0
BODY_TIMEOUT_S = 60.0
HEARTBEAT_S = 30.0
log = structlog.get_logger()


@dataclass(slots=True, kw_only=True)
class Reply:
    """What is sent for one body: its bytes (none for notifications), and how it travels."""

    body: bytes = b""
    status: int = 200
    delivery: Delivery = field(default_factory=Delivery)
    activations: Activations = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What all addresses of a chain share; `control` runs the methods of CONTROL_PREFIX."""

    settings: ChainSettings
    node: Node
    owner: Owner
    hub: SubscriptionHub
    control: Callable[["Endpoint", dispatch.Request], Awaitable[object]]


class Endpoint:
    """An address of a chain, open as long as the context is; `weather` may be changed at any time."""

    def __init__(self, served: Served, weather: Weather, host: str = "127.0.0.1", port: int = 0) -> None:
        self.weather = weather
        self.host = host
        self._port = port
        self._served = served
        self._sockets: set[web.WebSocketResponse] = set()
        self._closing = asyncio.Event()
        self._stack = contextlib.AsyncExitStack()

    @property
    def port(self) -> int:
        """The port that is listened on; the real one once it is open."""
        return self._port

    @property
    def url(self) -> str:
        """The HTTP address."""
        return f"http://{self.host}:{self._port}"

    @property
    def ws_url(self) -> str:
        """The WebSocket address."""
        return f"ws://{self.host}:{self._port}"

    async def open(self) -> None:
        """Listen. Raises ListenError if the address cannot be had."""
        async with contextlib.AsyncExitStack() as stack:
            app = web.Application(client_max_size=self._served.settings.body_bytes_max)
            app.router.add_post("/", self._serve_http)
            app.router.add_get("/", self._serve_websocket)
            app.on_shutdown.append(self._shut_down)
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=CLOSE_TIMEOUT_S)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            try:
                await web.TCPSite(runner, self.host, self._port).start()
            except OSError as error:
                raise ListenError(self.host, self._port, error.strerror or str(error)) from error
            self._port = runner.addresses[0][1]
            self._stack = stack.pop_all()

    async def close(self) -> None:
        """Stop listening and close all connections; once closed, it does nothing."""
        await self._stack.aclose()

    async def close_sockets(self, code: int = 1001, reason: str = "server shutdown") -> int:
        """Close the WebSocket connections of now; returns how many there were."""
        open_now = tuple(self._sockets)
        for socket in open_now:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(socket.close(code=code, message=reason.encode()), CLOSE_TIMEOUT_S)
        return len(open_now)

    async def _shut_down(self, _: web.Application) -> None:
        self._closing.set()
        await self.close_sockets()

    # -- requests --------------------------------------------------------------------------------------

    async def _answer(self, body: bytes | str, connection: Connection | None) -> Reply:
        try:
            parsed = dispatch.parse(body, self._served.settings.batch_max)
        except RpcError as error:
            return Reply(body=msgspec.json.encode(dispatch.failure(None, error)))
        is_batch = isinstance(parsed, list)
        struck = [(each, self._strikes(each)) for each in (parsed if isinstance(parsed, list) else [parsed])]
        delivery = joined(self.weather.delivery(rules) for _, rules in struck)
        reply = Reply(delivery=delivery)
        await self._pause(delivery.wait_before_s)
        if delivery.executed:
            await self._fill(reply, struck, is_batch, connection)
        elif delivery.error is not None:
            first = struck[0][0]
            reply.body = msgspec.json.encode(dispatch.failure(first.id, delivery.error))
            reply.status = delivery.error.status
        await self._pause(delivery.wait_after_s)
        return reply

    def _strikes(self, envelope: dispatch.Envelope) -> Sequence[Rule]:
        if isinstance(envelope, dispatch.Malformed) or envelope.method.startswith(CONTROL_PREFIX):
            return ()
        return self.weather.strikes(envelope.method)

    async def _fill(
        self, reply: Reply, struck: Sequence[Struck], is_batch: bool, connection: Connection | None
    ) -> None:
        """Carry the requests out and write their answers into the reply."""
        written = []
        for envelope, rules in struck:
            answer = await self._answer_one(envelope, rules, connection, reply)
            if answer is not None:
                written.append(answer)
        if is_batch:
            reply.status = 200
            written = self.weather.batch(written, reply.delivery)
            reply.body = b"[" + b",".join(written) + b"]" if written else b""
        else:
            reply.body = written[0] if written else b""

    async def _answer_one(
        self,
        envelope: dispatch.Envelope,
        rules: Sequence[Rule],
        connection: Connection | None,
        reply: Reply,
    ) -> bytes | None:
        if isinstance(envelope, dispatch.Malformed):
            return msgspec.json.encode(dispatch.failure(envelope.id, envelope.error))
        try:
            answer = await self._run(envelope, rules, connection, reply)
        except RpcError as error:
            reply.status = error.status
            answer = msgspec.json.encode(dispatch.failure(envelope.id, error))
        except Exception:
            log.exception("chain_request_failed", method=envelope.method)
            unexpected = RpcError(f"internal error in {envelope.method}; the server's log has the details")
            answer = msgspec.json.encode(dispatch.failure(envelope.id, unexpected))
        return answer if envelope.answered else None

    async def _run(
        self,
        request: dispatch.Request,
        rules: Sequence[Rule],
        connection: Connection | None,
        reply: Reply,
    ) -> bytes:
        served = self._served
        if request.method.startswith(CONTROL_PREFIX):
            value = await served.control(self, request)
        elif request.method in ("eth_subscribe", "eth_unsubscribe"):

            def subscribe(asked: dispatch.Request) -> object:
                return self._subscription(asked, connection, reply.activations)

            value = self.weather.layered(served.node.chain, rules, subscribe)(request)
        else:
            return await served.owner.run(self._execute, request, rules)
        return msgspec.json.encode(dispatch.result(request.id, value))

    def _execute(self, request: dispatch.Request, rules: Sequence[Rule]) -> bytes:
        """In the chain's thread: the method with the faults around it, in one piece."""
        node = self._served.node
        if not rules:
            value = dispatch.execute(node, request.method, request.arguments)
        else:
            with node.chain.lock:
                run = self.weather.layered(
                    node.chain, rules, lambda asked: dispatch.execute(node, asked.method, asked.arguments)
                )
                value = run(request)
        return msgspec.json.encode(dispatch.result(request.id, value))

    def _subscription(
        self, request: dispatch.Request, connection: Connection | None, activations: Activations
    ) -> object:
        if connection is None:
            raise MethodNotFound("notifications not supported over HTTP: connect by WebSocket")
        if request.method == "eth_subscribe":
            activations.append(self._served.hub.prepare(connection, request.arguments))
            return activations[-1][0]
        identity = str(request.arguments[0]) if request.arguments else ""
        return connection.subscriptions.pop(identity, False) is not False

    async def _pause(self, seconds: float) -> None:
        """Let time pass, but no longer than the endpoint is open."""
        if seconds > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), seconds)

    # -- HTTP ------------------------------------------------------------------------------------------

    async def _serve_http(self, request: web.Request) -> web.StreamResponse:
        # Anything but JSON is refused, so that no web page can post to a chain with unlocked accounts
        # without asking first.
        if request.content_type != "application/json":
            raise web.HTTPUnsupportedMediaType(text="post JSON-RPC as application/json")
        async with asyncio.timeout(BODY_TIMEOUT_S):
            body = await request.read()
        reply = await self._answer(body, None)
        delivery = reply.delivery
        if delivery.ending is not Ending.ANSWERED:
            return await self._break_off(request, reply)
        if delivery.answer is not None:
            page = delivery.answer
            return web.Response(
                body=page.body,
                status=page.status,
                content_type=page.content_type,
                headers=_retry_after(page.retry_after_s),
            )
        return web.Response(
            body=reply.body,
            status=reply.status,
            content_type="application/json",
            headers=_retry_after(delivery.retry_after_s),
        )

    async def _break_off(self, request: web.Request, reply: Reply) -> web.StreamResponse:
        """End the connection without a whole reply."""
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        if reply.delivery.ending is Ending.LOST:
            await self._pause(reply.delivery.hold_s)
        if reply.delivery.ending is Ending.CUT:
            response.content_length = len(reply.body)
            await response.prepare(request)
            await response.write(reply.body[: len(reply.body) // 2])
        _end_connection(request, is_reset=reply.delivery.ending is Ending.RESET)
        return response

    # -- WebSocket -------------------------------------------------------------------------------------

    async def _serve_websocket(self, request: web.Request) -> web.StreamResponse:
        settings = self._served.settings
        socket = web.WebSocketResponse(max_msg_size=settings.body_bytes_max, heartbeat=HEARTBEAT_S)
        if not socket.can_prepare(request).ok:
            return web.Response(status=405, text="post JSON-RPC here, or upgrade to a WebSocket")
        await socket.prepare(request)
        self._sockets.add(socket)
        connection = Connection(self.weather)
        self._served.hub.connect(connection)
        writer = asyncio.create_task(_write(request, socket, connection))
        try:
            await self._read(request, socket, connection)
        finally:
            self._served.hub.disconnect(connection)
            self._sockets.discard(socket)
            await end(writer)
        return socket

    async def _read(
        self, request: web.Request, socket: web.WebSocketResponse, connection: Connection
    ) -> None:
        async for message in socket:
            if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                break
            reply = await self._answer(message.data, connection)
            delivery = reply.delivery
            if delivery.ending in (Ending.RESET, Ending.CUT) or delivery.answer is not None:
                _end_connection(request, is_reset=True)
                break
            if reply.body and delivery.ending is Ending.ANSWERED:
                await connection.outbox.put(reply.body)
            connection.subscriptions.update(reply.activations)


def _retry_after(seconds: float | None) -> dict[str, str]:
    # The header knows whole seconds only; a pause below one is told as it is, as some gateways do.
    return {} if seconds is None else {"Retry-After": f"{seconds:g}"}


def _end_connection(request: web.Request, *, is_reset: bool) -> None:
    """Close the connection now; as a reset, so that the client sees an error and no end of stream."""
    transport = request.transport
    if transport is None:
        return
    raw = transport.get_extra_info("socket")
    if is_reset and raw is not None:
        raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


async def _write(request: web.Request, socket: web.WebSocketResponse, connection: Connection) -> None:
    """Send what is queued; a client that falls behind, or takes nothing for SEND_TIMEOUT_S, is cut off."""
    try:
        while (message := await connection.outbox.get()) is not None:
            await asyncio.wait_for(socket.send_str(message.decode()), SEND_TIMEOUT_S)
        await asyncio.wait_for(socket.close(code=1008, message=b"too slow"), CLOSE_TIMEOUT_S)
    except (ConnectionError, TimeoutError):
        log.warning("chain_client_cut_off", remote=request.remote)
    connection.subscriptions.clear()
    if request.transport is not None:
        request.transport.abort()


async def end(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait for its end."""
    task.cancel()
    # Unlike awaiting the task itself, this lets our own cancellation through.
    await asyncio.wait([task])
