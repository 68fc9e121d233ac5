"""The chain with all its addresses: the main one, and those opened besides, each with its own faults."""

import asyncio
import contextlib
import signal
from collections.abc import Callable
from typing import Any, ParamSpec, Self, TypeVar

import structlog

from hardhat_free_chain import fault_control
from hardhat_free_chain.chain import ChainObserver, LocalChain
from hardhat_free_chain.endpoint import CONTROL_PREFIX, Endpoint, Served, end
from hardhat_free_chain.errors import RpcError
from hardhat_free_chain.faults.rule import Rule
from hardhat_free_chain.faults.weather import Weather
from hardhat_free_chain.filters import FilterRegistry
from hardhat_free_chain.owner import Owner
from hardhat_free_chain.rpc import dispatch
from hardhat_free_chain.rpc.node import Node
from hardhat_free_chain.settings import ChainSettings
from hardhat_free_chain.subscriptions import SubscriptionHub

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

ENDPOINTS_MAX = 100
log = structlog.get_logger()


class ChainServer:
    """A local chain served for as long as the context is open.

    `chain` may be used directly while serving: its methods serialise themselves with the requests. They
    block, so on the event loop use `run`, which runs a function in the chain's thread. `weather` holds the
    faults of the main address; `open_endpoint` adds addresses with weathers of their own.
    """

    def __init__(self, settings: ChainSettings, host: str = "127.0.0.1", port: int = 0) -> None:
        self.settings = settings
        self.host = host
        self.weather = Weather()
        self._port = port
        self._owner = Owner(settings.waiting_requests_max)
        self._endpoints: list[Endpoint] = []
        self._stack = contextlib.AsyncExitStack()

    @property
    def port(self) -> int:
        """The port of the main address; the real one once the server has started."""
        return self._endpoints[0].port if self._endpoints else self._port

    @property
    def url(self) -> str:
        """The main HTTP address."""
        return f"http://{self.host}:{self.port}"

    @property
    def ws_url(self) -> str:
        """The main WebSocket address."""
        return f"ws://{self.host}:{self.port}"

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """All open addresses, the main one first."""
        return tuple(self._endpoints)

    async def __aenter__(self) -> Self:
        """Start the chain and listen. Raises ListenError if the address cannot be had."""
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(asyncio.to_thread, self._owner.stop)
            # Key derivation and genesis take a tenth of a second: not on the loop.
            self.chain = await self._owner.run(LocalChain, self.settings)
            hub = SubscriptionHub(asyncio.get_running_loop())
            self.chain.observe(hub)
            self._served = Served(
                settings=self.settings,
                node=Node(chain=self.chain, filters=FilterRegistry(self.chain)),
                owner=self._owner,
                hub=hub,
                control=self._control,
            )
            stack.push_async_callback(self._close_endpoints)
            await self._open(self.weather, self._port)
            miner = asyncio.create_task(self._mine_at_intervals())
            stack.push_async_callback(end, miner)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def open_endpoint(self, *rules: Rule, seed: int = 0, port: int = 0) -> Endpoint:
        """Serve the chain at one more address, under these faults. Raises ListenError."""
        if len(self._endpoints) >= ENDPOINTS_MAX:
            raise RpcError(f"{ENDPOINTS_MAX} endpoints are open: close one first")
        return await self._open(Weather(rules, seed=seed), port)

    async def close_endpoint(self, endpoint: Endpoint) -> None:
        """Close an address; the main one stays open as long as the server."""
        if endpoint is self._endpoints[0]:
            raise RpcError("the main endpoint stays open: stop the server instead")
        if endpoint in self._endpoints:
            self._endpoints.remove(endpoint)
            await endpoint.close()

    async def run(
        self, function: Callable[Parameters, Result], *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Result:
        """Run a function, for instance a method of `chain`, in the chain's thread."""
        return await self._owner.run(function, *args, **kwargs)

    async def request(self, method: str, *arguments: Any) -> Any:
        """Run a JSON-RPC method without network and faults; returns its `result`, raises RpcError."""
        if method.startswith(CONTROL_PREFIX):
            asked = dispatch.Request(id=None, method=method, arguments=list(arguments), answered=True)
            return await self._control(self._endpoints[0], asked)
        return await self._owner.run(dispatch.execute, self._served.node, method, list(arguments))

    async def _open(self, weather: Weather, port: int) -> Endpoint:
        endpoint = Endpoint(self._served, weather, self.host, port)
        await endpoint.open()
        self._endpoints.append(endpoint)
        return endpoint

    async def _close_endpoints(self) -> None:
        async with asyncio.TaskGroup() as closing:
            for endpoint in self._endpoints:
                closing.create_task(endpoint.close())

    async def _control(self, endpoint: Endpoint, request: dispatch.Request) -> object:
        """A method of CONTROL_PREFIX: about endpoints here, about the chain in its thread."""
        method = fault_control.METHODS.get(request.method)
        if method is not None:
            return await method(self, endpoint, request.arguments)
        return await self._owner.run(dispatch.execute, self._served.node, request.method, request.arguments)

    async def _mine_at_intervals(self) -> None:
        loop = asyncio.get_running_loop()
        pace = PaceObserver(loop)
        self.chain.observe(pace)
        due = loop.time()
        while True:
            interval_s = self.chain.controls.block_interval_s
            wait_s = None
            if interval_s is not None:
                due = max(due + interval_s, loop.time())
                wait_s = due - loop.time()
            if await pace.changed_within(wait_s):
                due = loop.time()
                continue
            try:
                await self._owner.run(self.chain.mine)
            except RpcError as error:
                log.warning("chain_block_skipped", reason=error.message)
            except Exception:
                log.exception("chain_block_failed")


class PaceObserver(ChainObserver):
    """Wakes the miner when the interval between blocks is changed."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._changed = asyncio.Event()

    def pace_changed(self) -> None:
        """Called in the chain's thread."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._changed.set)

    async def changed_within(self, wait_s: float | None) -> bool:
        """Wait so many seconds, for ever if None; whether the interval was changed meanwhile."""
        try:
            await asyncio.wait_for(self._changed.wait(), wait_s)
        except TimeoutError:
            return False
        self._changed.clear()
        return True


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
