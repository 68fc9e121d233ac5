"""A chain served from a thread of its own, for tests and programs that are not async.

R1 what happens between entering and leaving `isolated` is undone: blocks, accounts, mempool, clock, tags,
   controls, faults and opened endpoints.
"""

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

from hardhat_free_chain.accounts import DevelopmentAccount, deterministic_accounts
from hardhat_free_chain.chain import LocalChain
from hardhat_free_chain.endpoint import Endpoint
from hardhat_free_chain.faults.rule import Rule
from hardhat_free_chain.faults.weather import Weather
from hardhat_free_chain.server import ChainServer
from hardhat_free_chain.settings import ChainSettings

Result = TypeVar("Result")
START_TIMEOUT_S = 60.0
CALL_TIMEOUT_S = 60.0


class RunningChain:
    """A served chain, used from any thread but the server's own."""

    def __init__(self, server: ChainServer, loop: asyncio.AbstractEventLoop) -> None:
        self._server = server
        self._loop = loop

    @property
    def url(self) -> str:
        """The main HTTP address."""
        return self._server.url

    @property
    def ws_url(self) -> str:
        """The main WebSocket address."""
        return self._server.ws_url

    @property
    def chain(self) -> LocalChain:
        """The chain itself, for what has no method: `chain.reorg`, `chain.mine`, `chain.alter_state`."""
        return self._server.chain

    @property
    def weather(self) -> Weather:
        """The faults of the main address."""
        return self._server.weather

    @property
    def accounts(self) -> list[DevelopmentAccount]:
        """The funded accounts with their keys."""
        settings = self._server.settings
        return deterministic_accounts(settings.accounts, settings.mnemonic)

    def request(self, method: str, *arguments: Any) -> Any:
        """Run a JSON-RPC method without network and faults; returns its `result`, raises RpcError."""
        return self._run(self._server.request(method, *arguments))

    def open_endpoint(self, *rules: Rule, seed: int = 0) -> Endpoint:
        """Serve the chain at one more address, under these faults; its `weather` may be changed later."""
        return self._run(self._server.open_endpoint(*rules, seed=seed))

    def close_endpoint(self, endpoint: Endpoint) -> None:
        """Close an address that was opened; once closed, it does nothing."""
        self._run(self._server.close_endpoint(endpoint))

    @contextmanager
    def isolated(self) -> Iterator[None]:
        """Undo at the end what was done within (R1)."""
        chain = self.chain
        number = chain.snapshot()
        controls = replace(chain.controls)
        known = set(self._server.endpoints)
        rules = [record.rule for record in self.weather.records().values()]
        try:
            yield
        finally:
            for endpoint in set(self._server.endpoints) - known:
                self.close_endpoint(endpoint)
            self.weather.replace(*rules, seed=self.weather.seed)
            chain.restore_controls(controls)
            if not chain.revert(number):
                raise RuntimeError(
                    "the snapshot of this test is gone: an earlier one was reverted to within the test; "
                    "revert only to snapshots that the test itself has taken"
                )

    def _run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(CALL_TIMEOUT_S)


@contextmanager
def running_chain(
    settings: ChainSettings | None = None, *, host: str = "127.0.0.1", port: int = 0
) -> Iterator[RunningChain]:
    """Serve a chain for as long as the context is open. Raises ListenError if the address cannot be had."""
    started = threading.Event()
    made: list[tuple[RunningChain, asyncio.Event]] = []
    failed: list[BaseException] = []

    async def serve() -> None:
        stopped = asyncio.Event()
        async with ChainServer(settings or ChainSettings(), host, port) as server:
            made.append((RunningChain(server, asyncio.get_running_loop()), stopped))
            started.set()
            await stopped.wait()

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:
            failed.append(error)
        finally:
            started.set()

    thread = threading.Thread(target=run, name="local-chain-server", daemon=True)
    thread.start()
    if not started.wait(START_TIMEOUT_S):
        raise TimeoutError(f"the local chain did not start within {START_TIMEOUT_S:g} s")
    if not made:
        raise failed[0]
    chain, stopped = made[0]
    try:
        yield chain
    finally:
        chain._loop.call_soon_threadsafe(stopped.set)
        thread.join(CALL_TIMEOUT_S)
