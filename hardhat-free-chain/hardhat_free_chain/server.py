"""The chain behind HTTP and WebSocket at one address.

POST / takes JSON-RPC, GET / upgrades to a WebSocket; text and binary frames are taken alike. Bodies and
batches are bounded. The event loop parses and writes; the chain's own thread runs every method.
"""

import asyncio
import contextlib
import signal
from collections.abc import Callable
from typing import Any, ParamSpec, Self, TypeVar

import msgspec
import structlog
from aiohttp import WSMsgType, web

from hardhat_free_chain.chain import LocalChain
from hardhat_free_chain.errors import ListenError, MethodNotFound, RpcError
from hardhat_free_chain.filters import FilterRegistry
from hardhat_free_chain.logs import LogFilter
from hardhat_free_chain.owner import Owner
from hardhat_free_chain.rpc import dispatch
from hardhat_free_chain.rpc.node import Node
from hardhat_free_chain.settings import ChainSettings
from hardhat_free_chain.subscriptions import Connection, SubscriptionHub

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
Activations = list[tuple[str, LogFilter | None]]

CLOSE_TIMEOUT_S = 2.0
SEND_TIMEOUT_S = 30.0
BODY_TIMEOUT_S = 60.0
HEARTBEAT_S = 30.0
log = structlog.get_logger()


class ChainServer:
    """A local chain served for as long as the context is open.

    `chain` may be used directly while serving: its methods serialise themselves with the requests. They
    block, so on the event loop use `run`, which runs a function in the chain's thread.
    """

    def __init__(self, settings: ChainSettings, host: str = "127.0.0.1", port: int = 0) -> None:
        self.settings = settings
        self.host = host
        self._port = port
        self._owner = Owner(settings.waiting_requests_max)
        self._sockets: set[web.WebSocketResponse] = set()
        self._stack = contextlib.AsyncExitStack()

    @property
    def port(self) -> int:
        """The port that is listened on; the real one once the server has started."""
        return self._port

    @property
    def url(self) -> str:
        """The HTTP address."""
        return f"http://{self.host}:{self._port}"

    @property
    def ws_url(self) -> str:
        """The WebSocket address."""
        return f"ws://{self.host}:{self._port}"

    async def __aenter__(self) -> Self:
        """Start the chain and listen. Raises ListenError if the address cannot be had."""
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(asyncio.to_thread, self._owner.stop)
            # Key derivation and genesis take a tenth of a second: not on the loop.
            self.chain = await self._owner.run(LocalChain, self.settings)
            self._node = Node(chain=self.chain, filters=FilterRegistry(self.chain))
            self._hub = SubscriptionHub(asyncio.get_running_loop())
            self.chain.observe(self._hub)
            await self._listen(stack)
            if self.settings.block_interval_s is not None:
                miner = asyncio.create_task(self._mine_at_intervals(self.settings.block_interval_s))
                stack.push_async_callback(_end, miner)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def run(
        self, function: Callable[Parameters, Result], *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Result:
        """Run a function, for instance a method of `chain`, in the chain's thread."""
        return await self._owner.run(function, *args, **kwargs)

    async def request(self, method: str, *arguments: Any) -> Any:
        """Run a JSON-RPC method without a network; returns its `result`, raises RpcError."""
        return await self._owner.run(dispatch.execute, self._node, method, list(arguments))

    async def _listen(self, stack: contextlib.AsyncExitStack) -> None:
        app = web.Application(client_max_size=self.settings.body_bytes_max)
        app.router.add_post("/", self._serve_http)
        app.router.add_get("/", self._serve_websocket)
        app.on_shutdown.append(self._close_sockets)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=CLOSE_TIMEOUT_S)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        try:
            await web.TCPSite(runner, self.host, self._port).start()
        except OSError as error:
            raise ListenError(self.host, self._port, error.strerror or str(error)) from error
        self._port = runner.addresses[0][1]

    async def _close_sockets(self, _: web.Application) -> None:
        for socket in tuple(self._sockets):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(socket.close(code=1001, message=b"server shutdown"), CLOSE_TIMEOUT_S)

    async def _mine_at_intervals(self, interval_s: float) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due = max(due + interval_s, loop.time())
            await asyncio.sleep(due - loop.time())
            try:
                await self._owner.run(self.chain.mine)
            except RpcError as error:
                log.warning("chain_block_skipped", reason=error.message)
            except Exception:
                log.exception("chain_block_failed")

    # -- requests --------------------------------------------------------------------------------------

    async def _answer(self, body: bytes | str, connection: Connection | None) -> tuple[bytes, Activations]:
        """The answer's bytes (empty if there is none) and the subscriptions to start once it is queued."""
        activations: Activations = []
        try:
            parsed = dispatch.parse(body, self.settings.batch_max)
        except RpcError as error:
            return msgspec.json.encode(dispatch.failure(None, error)), activations
        if not isinstance(parsed, list):
            answer = await self._answer_one(parsed, connection, activations)
            return b"" if answer is None else answer, activations
        answers = [await self._answer_one(each, connection, activations) for each in parsed]
        written = [answer for answer in answers if answer is not None]
        return b"[" + b",".join(written) + b"]" if written else b"", activations

    async def _answer_one(
        self, envelope: dispatch.Envelope, connection: Connection | None, activations: Activations
    ) -> bytes | None:
        if isinstance(envelope, dispatch.Malformed):
            return msgspec.json.encode(dispatch.failure(envelope.id, envelope.error))
        try:
            if envelope.method in ("eth_subscribe", "eth_unsubscribe"):
                value = self._subscription(envelope, connection, activations)
                answer = msgspec.json.encode(dispatch.result(envelope.id, value))
            else:
                answer = await self._owner.run(self._execute, envelope)
        except RpcError as error:
            answer = msgspec.json.encode(dispatch.failure(envelope.id, error))
        except Exception:
            log.exception("chain_request_failed", method=envelope.method)
            unexpected = RpcError(f"internal error in {envelope.method}; the server's log has the details")
            answer = msgspec.json.encode(dispatch.failure(envelope.id, unexpected))
        return answer if envelope.answered else None

    def _execute(self, request: dispatch.Request) -> bytes:
        value = dispatch.execute(self._node, request.method, request.arguments)
        return msgspec.json.encode(dispatch.result(request.id, value))

    def _subscription(
        self, request: dispatch.Request, connection: Connection | None, activations: Activations
    ) -> object:
        if connection is None:
            raise MethodNotFound("notifications not supported over HTTP: connect by WebSocket")
        if request.method == "eth_subscribe":
            activations.append(self._hub.prepare(connection, request.arguments))
            return activations[-1][0]
        identity = str(request.arguments[0]) if request.arguments else ""
        return connection.subscriptions.pop(identity, False) is not False

    # -- HTTP ------------------------------------------------------------------------------------------

    async def _serve_http(self, request: web.Request) -> web.Response:
        # Anything but JSON is refused, so that no web page can post to a chain with unlocked accounts
        # without asking first.
        if request.content_type != "application/json":
            raise web.HTTPUnsupportedMediaType(text="post JSON-RPC as application/json")
        async with asyncio.timeout(BODY_TIMEOUT_S):
            body = await request.read()
        answer, _ = await self._answer(body, None)
        return web.Response(body=answer, content_type="application/json")

    # -- WebSocket -------------------------------------------------------------------------------------

    async def _serve_websocket(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(max_msg_size=self.settings.body_bytes_max, heartbeat=HEARTBEAT_S)
        if not socket.can_prepare(request).ok:
            return web.Response(status=405, text="post JSON-RPC here, or upgrade to a WebSocket")
        await socket.prepare(request)
        self._sockets.add(socket)
        connection = Connection()
        self._hub.connect(connection)
        writer = asyncio.create_task(_write(request, socket, connection))
        try:
            await self._read(socket, connection)
        finally:
            self._hub.disconnect(connection)
            self._sockets.discard(socket)
            await _end(writer)
        return socket

    async def _read(self, socket: web.WebSocketResponse, connection: Connection) -> None:
        async for message in socket:
            if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                break
            answer, activations = await self._answer(message.data, connection)
            if answer:
                await connection.outbox.put(answer)
            connection.subscriptions.update(activations)


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


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    # Unlike awaiting the task itself, this lets our own cancellation through.
    await asyncio.wait([task])


async def serve(
    settings: ChainSettings,
    host: str = "127.0.0.1",
    port: int = 8545,
    on_ready: Callable[[ChainServer], None] | None = None,
) -> None:
    """Serve a chain until cancelled, or until SIGTERM or SIGINT; `on_ready` is called once it listens."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    async with ChainServer(settings, host=host, port=port) as server:
        for number in (signal.SIGTERM, signal.SIGINT):
            # Signals reach only the main thread's loop; elsewhere cancellation is the way to stop.
            with contextlib.suppress(ValueError, RuntimeError, NotImplementedError):
                loop.add_signal_handler(number, stopped.set)
        try:
            if on_ready is not None:
                on_ready(server)
            await stopped.wait()
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                with contextlib.suppress(ValueError, RuntimeError, NotImplementedError):
                    loop.remove_signal_handler(number)
