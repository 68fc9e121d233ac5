"""One endpoint of a pool: what it may be asked now, what it has shown, and how well it does.

Owns the circuit, the rate, the bound on requests in flight, the size of batches that the endpoint takes, and
the check of its chain id: before its first answer is believed, after each failure, and now and then. An
endpoint that has come to serve another chain is out until it serves the right one again.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import TypeVar

import structlog

from contracts.rpc.circuit import Circuit, TokenBucket
from contracts.rpc.connection import BatchRefused, Connection, Outcome, Request
from contracts.rpc.errors import NodeUnavailable, RpcError, RpcRefused, WrongChain
from contracts.rpc.numbers import Numbers, error_class
from contracts.rpc.quantities import decode_quantity
from contracts.rpc.reading import Judge, answered
from contracts.rpc.refusals import ErrorObject, Kind, kind_of
from contracts.rpc.settings import PoolSettings
from contracts.rpc.spans import Span
from contracts.rpc.together import gathered

_T = TypeVar("_T")
BLOCKS_REMEMBERED = 4096
REST_S_MIN = 0.25
REST_S_MAX = 30.0
_LATENCY_SHARE = 0.2
_SINGLES_AT_ONCE = 8
_log = structlog.get_logger("rpc")


def now_s() -> float:
    """Return the time of the running loop in seconds, which only goes forward."""
    return asyncio.get_running_loop().time()


class Endpoint:
    """One endpoint. `chain_id` is what it has to serve, None for any; `head` its newest block.

    `level` is its head when those of all endpoints were last compared.
    """

    def __init__(self, url: str, *, chain_id: int | None, timeout_s: float, settings: PoolSettings) -> None:
        self.connection = Connection(url, timeout_s)
        self.chain_id = chain_id
        self.head: int | None = None
        self.level: int | None = None
        self.circuit = Circuit(settings)
        self.numbers = Numbers()
        self.span = Span()
        self.latency_s: float | None = None
        self.batch_calls = settings.batch_calls_max
        self._batch_calls_refused = settings.batch_calls_max + 1
        self._settings = settings
        self._timeout_s = timeout_s
        self._bucket = TokenBucket(settings.requests_per_s)
        self._slots = asyncio.Semaphore(settings.concurrency)
        self._in_flight = 0
        self._rest_until = 0.0
        self._limited_in_row = 0
        self._chain_checked: float | None = None
        self._checking = asyncio.Lock()
        self._wrong_chain: WrongChain | None = None
        self._last: str = "it has not been asked yet"
        self._blocks: OrderedDict[int, tuple[bytes, float]] = OrderedDict()

    # -- what it is worth

    @property
    def name(self) -> str:
        """The endpoint's address without what may be secret in it."""
        return self.connection.endpoint

    def wait_s(self) -> float:
        """Return how long it must not be asked: it asked for a pause, or its circuit is open."""
        now = now_s()
        return max(self.circuit.wait_s(now), self._rest_until - now, 0.0)

    def cost_s(self) -> float:
        """Return how long an answer is expected to take; 0 while nothing is known."""
        busy = 1 + self._in_flight / self._settings.concurrency
        return (self.latency_s or 0.0) * busy + self._bucket.wait_s(now_s())

    def remember(self, number: int, block_hash: bytes) -> None:
        """Note that it has shown this block under this number."""
        self._blocks[number] = (block_hash, now_s())
        self._blocks.move_to_end(number)
        if len(self._blocks) > BLOCKS_REMEMBERED:
            self._blocks.popitem(last=False)
        self.head = max(self.head or 0, number)

    def has_shown(self, number: int, block_hash: bytes, age_s_max: float) -> bool:
        """Tell whether it has shown this very block under this number, not longer ago than that."""
        known = self._blocks.get(number)
        return known is not None and known[0] == block_hash and now_s() - known[1] <= age_s_max

    # -- asking

    async def ask(self, requests: Sequence[Request], judge: Judge[_T]) -> _T:
        """Ask once and judge what comes. Raises RpcError; NodeUnavailable is `unsent` while it rests.

        What the judge takes for no answer counts as a failure like any other.
        """
        if self.wait_s() > 0:
            raise self._resting()
        async with self._turn(len(requests)):
            if self.wait_s() > 0:
                raise self._resting()  # While it was waited for a turn.
            self.circuit.enter()
            try:
                await self._check_chain_if_due()
                answer = judge(self.name, await self._outcomes(requests))
            except RpcError as error:
                self._failed(error)
                raise
            except BaseException:
                self.circuit.abandoned()
                raise
        self._succeeded()
        return answer

    async def check_chain(self) -> int:
        """Ask for the chain id and return it. Raises WrongChain, and takes the endpoint out."""
        outcome = await self._timed("eth_chainId", self.connection.request("eth_chainId", []))
        actual = answered(self.name, "eth_chainId", decode_quantity, outcome)
        if self.chain_id is not None and actual != self.chain_id:
            raise WrongChain(self.chain_id, actual, self.name)
        self._chain_checked = now_s()
        return actual

    async def _check_chain_if_due(self) -> None:
        if not self._chain_is_due():
            return
        async with self._checking:  # Whoever comes meanwhile waits for the one answer.
            if self._chain_is_due():
                await self.check_chain()

    def _chain_is_due(self) -> bool:
        checked = self._chain_checked
        return self.chain_id is not None and (
            checked is None or now_s() - checked >= self._settings.chain_check_s
        )

    @asynccontextmanager
    async def _turn(self, count: int) -> AsyncIterator[None]:
        """Wait for the rate of requests and for a free place, no longer than a request may take."""
        pause_s = self._bucket.take(now_s(), count)
        if pause_s > self._timeout_s:
            self._bucket.take(now_s(), -count)
            raise NodeUnavailable(
                self.name, "its rate of requests is used up", retry_after_s=pause_s, limited=True, unsent=True
            )
        if pause_s > 0:
            self.numbers.rested_s += pause_s
            await asyncio.sleep(pause_s)
        self._in_flight += 1  # Whoever waits for a place counts: another endpoint may have one.
        try:
            async with self._place():
                yield
        finally:
            self._in_flight -= 1

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._slots.acquire()
        except TimeoutError as error:
            raise NodeUnavailable(self.name, "too many requests in flight", unsent=True) from error
        try:
            yield
        finally:
            self._slots.release()

    async def _timed(self, method: str, request: Awaitable[Outcome]) -> Outcome:
        with self._measuring():
            outcome = await request
        self.numbers.requests[method] += 1
        return outcome

    @contextmanager
    def _measuring(self) -> Iterator[None]:
        """Measure an answer, and what was given up: whoever lets others wait for nothing is slow."""
        began = now_s()
        try:
            yield
        except NodeUnavailable as error:
            if isinstance(error.__cause__, TimeoutError):
                self._measured(now_s() - began)
            raise
        self._measured(now_s() - began)

    def _measured(self, seconds: float) -> None:
        self.numbers.observe(seconds)
        known = self.latency_s
        self.latency_s = seconds if known is None else known + _LATENCY_SHARE * (seconds - known)

    # -- batches

    async def _outcomes(self, requests: Sequence[Request]) -> list[Outcome]:
        """Ask in batches of the size that the endpoint takes, singly where it takes none."""
        if len(requests) == 1:
            return [await self._single(requests[0])]
        if self.batch_calls == 1:
            return await self._singly(requests)
        outcomes: list[Outcome] = []
        while len(outcomes) < len(requests):
            chunk = requests[len(outcomes) : len(outcomes) + self.batch_calls]
            if len(chunk) == 1 or self.batch_calls == 1:
                outcomes += await self._singly(requests[len(outcomes) :])
                break
            try:
                outcomes += await self._batch(chunk)
            except BatchRefused as error:
                self._shrink(len(chunk), error)
        return outcomes

    async def _single(self, request: Request) -> Outcome:
        return await self._timed(request[0], self.connection.request(*request))

    async def _singly(self, requests: Sequence[Request]) -> list[Outcome]:
        places = asyncio.Semaphore(_SINGLES_AT_ONCE)

        async def one(request: Request) -> Outcome:
            async with places:
                return await self._single(request)

        return await gathered([one(request) for request in requests])

    async def _batch(self, chunk: Sequence[Request]) -> list[Outcome]:
        with self._measuring():
            outcomes = await self.connection.batch(chunk)
        self.numbers.requests.update(["batch", *(method for method, _ in chunk)])
        for (method, _), outcome in zip(chunk, outcomes, strict=True):
            if isinstance(outcome, ErrorObject) and kind_of(method, outcome) is Kind.BATCH:
                raise BatchRefused(method, outcome.code, outcome.message)
        if len(chunk) == self.batch_calls:
            self.batch_calls = min(
                self.batch_calls + self.batch_calls // 4 + 1, self._batch_calls_refused - 1
            )
        return outcomes

    def _shrink(self, size: int, error: BatchRefused) -> None:
        """Take half, or none at all of what the endpoint says it takes none of."""
        self._batch_calls_refused = min(self._batch_calls_refused, size)
        none = any(word in error.message.lower() for word in ("support", "allowed", "disabled", "no batch"))
        self.batch_calls = 1 if none else max(1, size // 2)
        _log.info("batch_refused", endpoint=self.name, size=size, next_size=self.batch_calls)

    # -- what came of it

    def _succeeded(self) -> None:
        if self._wrong_chain is not None:
            _log.info("endpoint_right_chain", endpoint=self.name, chain_id=self.chain_id)
        self._wrong_chain = None
        self._limited_in_row = 0
        self.circuit.succeeded()

    def _failed(self, error: RpcError) -> None:
        self.numbers.errors[error_class(error)] += 1
        self._last = str(error)
        if isinstance(error, WrongChain):
            self._out(error)
        elif isinstance(error, NodeUnavailable):
            self._unavailable(error)
        elif isinstance(error, RpcRefused) and error.elsewhere and 400 <= error.code < 500:
            self.circuit.failed(now_s())  # A key or a path that the provider does not take.
        else:
            self._succeeded()  # It is there, and has told what it will not do.

    def _out(self, error: WrongChain) -> None:
        if self._wrong_chain is None:
            _log.error(
                "endpoint_wrong_chain", endpoint=self.name, expected=error.expected, actual=error.actual
            )
        self._wrong_chain, self._chain_checked = error, None
        self.head = self.level = None
        self._blocks.clear()
        self.circuit.trip(now_s())

    def _unavailable(self, error: NodeUnavailable) -> None:
        if error.limited or error.retry_after_s is not None:
            self.circuit.abandoned()
            pause_s = error.retry_after_s
            if pause_s is None:
                pause_s = min(REST_S_MIN * 2**self._limited_in_row, REST_S_MAX)
            self._limited_in_row = min(self._limited_in_row + 1, 16)
            self._rest_until = max(self._rest_until, now_s() + pause_s)
            self.numbers.rested_s += pause_s
            return
        self._chain_checked = None
        self.circuit.failed(now_s())

    def _resting(self) -> RpcError:
        if self._wrong_chain is not None:
            return self._wrong_chain
        wait_s = self.wait_s()
        return NodeUnavailable(
            self.name, f"not asked for {wait_s:.1f} s: {self._last}", retry_after_s=wait_s, unsent=True
        )
