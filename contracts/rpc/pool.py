"""Several endpoints as one: who is asked, who is asked next when the first fails, and what that comes to.

Routing prefers endpoints that may be asked now, keep up with the best head and answer fast. A read goes on to
the next endpoint when the failure is the endpoint's; a revert, or a refusal of the request itself, is an
answer. A read at a block goes only to an endpoint that has that block, by its hash where one was shown to the
reader. Writes are sent once, and go on only where they have surely not been carried out.

With one endpoint there is nobody to compare with: it is asked as it is.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from copy import copy
from dataclasses import replace
from types import TracebackType
from typing import Self, TypeVar

import structlog

from contracts.rpc.blocks import ask_header, ask_height
from contracts.rpc.connection import Request
from contracts.rpc.endpoint import Endpoint
from contracts.rpc.errors import (
    BlockMissing,
    BlockReplaced,
    LogsIncomplete,
    NodeUnavailable,
    RpcError,
    RpcRefused,
    WrongChain,
)
from contracts.rpc.quantities import BlockReference, describe_block
from contracts.rpc.reading import Judge
from contracts.rpc.records import BlockHeader
from contracts.rpc.settings import Broadcast, PoolSettings
from contracts.rpc.sight import MOVING_TAGS, Sight
from contracts.rpc.together import attempted

READ_PAUSES_S = (0.1, 0.4)
"""After these pauses a read that no endpoint has answered is tried again; then it is given up."""
_FAVOUR = 0.7
_T = TypeVar("_T")
Ask = Callable[[Endpoint], Awaitable[_T]]
_log = structlog.get_logger("rpc")


class NobodyAnswered(Exception):
    """Every endpoint failed in a way of its own; never leaves this package."""

    def __init__(self, errors: Sequence[RpcError]) -> None:
        super().__init__(*errors)
        self.errors = list(errors)


class Pool:
    """Endpoints of one chain. Enter it before use; share it freely within one event loop.

    `sight` is what this pool's reader has been shown: blocks by hash, and how far each tag had come.
    `calls_together` counts the calls that were read many at once, by the way in which.
    """

    def __init__(
        self, urls: Sequence[str], *, chain_id: int | None, timeout_s: float, settings: PoolSettings
    ) -> None:
        if not urls:
            raise ValueError("a node needs at least one URL")
        _check_quorum(settings.quorum, len(urls))
        self.settings = settings
        self._chain_id = chain_id
        self.sight = Sight()
        self.endpoints = tuple(
            Endpoint(url, chain_id=chain_id, timeout_s=timeout_s, settings=settings) for url in urls
        )
        _tell_apart(self.endpoints)
        self._favourite: Endpoint | None = None
        self.calls_together: Counter[str] = Counter()
        self._open = AsyncExitStack()

    @property
    def endpoint(self) -> str:
        """The endpoints' names for messages."""
        return ", ".join(each.name for each in self.endpoints)

    @property
    def several(self) -> bool:
        """Whether there is anybody to compare with."""
        return len(self.endpoints) > 1

    async def __aenter__(self) -> Self:
        """Open the connections. Raises WrongChain; NodeUnavailable or RpcRefused where nobody answers."""
        async with AsyncExitStack() as stack:
            for endpoint in self.endpoints:
                await stack.enter_async_context(endpoint.connection)
            if self._chain_id is not None or self.several:
                await self.patiently(self._meet)
            if self.several:
                await self.probe()
                stack.push_async_callback(_ended, asyncio.create_task(self._watch()))
            self._open = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open.aclose()

    def with_quorum(self, quorum: int) -> Pool:
        """Return these very endpoints under another quorum; this pool goes on to own them.

        Raises ValueError for a quorum that they cannot be.
        """
        _check_quorum(quorum, len(self.endpoints))
        twin = copy(self)
        twin.settings = replace(self.settings, quorum=quorum)
        return twin

    # -- reading

    async def read(
        self, requests: Sequence[Request], judge: Judge[_T], *, block: BlockReference | None = None
    ) -> _T:
        """Return what the first endpoint answers that has `block`. Raises as `visit`."""

        async def ask(endpoint: Endpoint) -> _T:
            await self.require(endpoint, block)
            return await endpoint.ask(requests, judge)

        return await self.visit(ask)

    async def visit(self, ask: Ask[_T]) -> _T:
        """Return what `ask` makes of the first endpoint that does not fail; a few rounds while all do.

        Raises at once what concerns the request, else what the endpoints' failures come to.
        """
        return await self.patiently(lambda: self._round(ask))

    async def patiently(self, attempt: Callable[[], Awaitable[_T]]) -> _T:
        """Make an attempt again, after a pause, while everybody is unavailable for a moment only."""
        for pause_s in READ_PAUSES_S:
            try:
                return await attempt()
            except NobodyAnswered as failed:
                if not self._went_back(failed.errors) and not await self._rested(failed.errors, pause_s):
                    meant = verdict(self.endpoint, failed.errors)
                    raise meant from meant.__cause__
        try:
            return await attempt()
        except NobodyAnswered as failed:
            meant = verdict(self.endpoint, failed.errors)
            raise meant from meant.__cause__

    async def _round(self, ask: Ask[_T]) -> _T:
        errors: list[RpcError] = []
        for endpoint in self.ranked():
            try:
                answer = await ask(endpoint)
            except RpcError as error:
                if not passes_on(error):
                    raise
                endpoint.numbers.passed_on += 1
                errors.append(error)
            else:
                self._favourite = endpoint
                return answer
        raise NobodyAnswered(errors)

    def ranked(self) -> list[Endpoint]:
        """Return the endpoints, the one to ask first at the front."""
        best = self._best_level()

        def rank(endpoint: Endpoint) -> tuple[bool, bool, float]:
            favour = _FAVOUR if endpoint is self._favourite else 1.0
            return endpoint.wait_s() > 0, self.lags(endpoint, best), endpoint.cost_s() * favour

        return sorted(self.endpoints, key=rank) if self.several else list(self.endpoints)

    def lags(self, endpoint: Endpoint, best: int | None = None) -> bool:
        """Tell whether an endpoint's head lay too far behind the best one's when they were compared."""
        best = self._best_level() if best is None else best
        return endpoint.level is None or endpoint.level < best - self.settings.lag_blocks

    def _best_level(self) -> int:
        return max((each.level or 0 for each in self.endpoints if each.wait_s() == 0), default=0)

    def _best_head(self) -> int:
        return max((each.head or 0 for each in self.endpoints if each.wait_s() == 0), default=0)

    async def require(self, endpoint: Endpoint, block: BlockReference | None) -> None:
        """See to it that an endpoint has a block before it is asked about it. Raises BlockMissing.

        A number that the reader has been shown stands for the hash that it was shown with; a tag that moves
        needs an endpoint that has come as far as the reader.
        """
        if not self.several or block is None or isinstance(block, bytes):
            return
        if isinstance(block, str):
            if block in MOVING_TAGS or block == "pending":
                await self.require_height(endpoint, self.sight.floor, block)
            return
        await self.require_height(endpoint, block)
        shown = self.sight.hash_at(block)
        age_s = float("inf") if self.sight.is_final(block) else self.settings.probe_interval_s
        if shown is None or endpoint.has_shown(block, shown, age_s):
            return
        self.check_shown(endpoint, await ask_header(endpoint, block))

    def check_shown(self, endpoint: Endpoint, header: BlockHeader) -> None:
        """Compare an endpoint's block with what the reader has been shown. Raises BlockReplaced."""
        shown = self.sight.hash_at(header.number)
        if shown is not None and shown != header.hash:
            block, answer, said = f"block {header.number}", f"0x{header.hash.hex()}", f"0x{shown.hex()}"
            self.contradicted(endpoint, block, answer, said)
            raise BlockReplaced(header.number, shown)

    async def require_height(
        self, endpoint: Endpoint, number: int, block: BlockReference | None = None
    ) -> None:
        """See to it that an endpoint's head is no lower. Raises BlockMissing of `block`, or of the number."""
        if endpoint.head is None or endpoint.head < number:
            await ask_height(endpoint)
        if endpoint.head is None or endpoint.head < number:
            raise BlockMissing(describe_block(number if block is None else block))

    def contradicted(self, endpoint: Endpoint, question: str, answer: str, others: str) -> None:
        """Note that an endpoint stands against what others say."""
        endpoint.numbers.contradictions += 1
        _log.warning(
            "endpoint_contradicted", endpoint=endpoint.name, about=question, answer=answer, others=others
        )

    def _went_back(self, errors: Sequence[RpcError]) -> bool:
        """Believe that the chain was reorganised once every endpoint says so: nobody has the reader's block.

        Where finality has passed a block since it was shown, those that answer are enough. A block that was
        final is not given up here: `header` tells what is to be made of it.
        """
        answers = [error for error in errors if not isinstance(error, NodeUnavailable)]
        if not self.several or not all(isinstance(error, BlockMissing) for error in answers):
            return False
        everybody = len(answers) == len(errors)
        replaced = {error.number for error in answers if isinstance(error, BlockReplaced)}
        if len(replaced) == 1 and all(isinstance(error, BlockReplaced) for error in answers):
            number = replaced.pop()
            return (everybody or self.sight.is_overtaken(number)) and self.sight.forget(number)
        return everybody and self.sight.lower(self._best_head())

    async def _rested(self, errors: Sequence[RpcError], pause_s: float) -> bool:
        """Wait for another round, if one may help soon."""
        passing = [error for error in errors if isinstance(error, NodeUnavailable)]
        # A node that has used up its time is the caller's to wait for, and so is a longer pause.
        if not any(not isinstance(error.__cause__, TimeoutError) for error in passing):
            return False
        wait_s = max(pause_s, min(each.wait_s() for each in self.endpoints))
        if wait_s > max(pause_s, self.settings.patience_s):
            return False
        await asyncio.sleep(wait_s)
        return True

    # -- writing

    async def send(self, request: Request, judge: Judge[_T]) -> _T:
        """Send one request once. It goes to another endpoint only where it was surely not carried out."""

        async def attempt() -> _T:
            errors: list[RpcError] = []
            for endpoint in self.ranked():
                try:
                    return await endpoint.ask([request], judge)
                except (NodeUnavailable, WrongChain) as error:
                    if isinstance(error, NodeUnavailable) and not error.unsent:
                        raise
                    errors.append(error)
            raise NobodyAnswered(errors)

        return await self.patiently(attempt)

    async def broadcast(self, request: Request, judge: Judge[_T]) -> _T:
        """Send a signed transaction as the settings say; with `all`, one endpoint that takes it is enough."""
        if self.settings.broadcast is Broadcast.ONE or not self.several:
            return await self.send(request, judge)
        answers = await attempted([endpoint.ask([request], judge) for endpoint in self.endpoints])
        errors = [answer for answer in answers if isinstance(answer, RpcError)]
        for answer in answers:
            if not isinstance(answer, RpcError):
                return answer
        # Whoever did not answer may have taken it: no refusal of the others says that it is not sent.
        open_ones = [each for each in errors if isinstance(each, NodeUnavailable) and not each.unsent]
        raise verdict(self.endpoint, open_ones or [e for e in errors if not _unsent(e)] or errors)

    # -- health

    async def _meet(self) -> None:
        """Ask every endpoint who it is. One wrong chain is an operator's mistake and told at once.

        Endpoints that may serve any chain must serve the same: that of the first that answers.
        """
        answers = await attempted([each.check_chain() for each in self.endpoints])
        for answer in answers:
            if isinstance(answer, WrongChain):
                raise answer
        chains = [answer for answer in answers if not isinstance(answer, RpcError)]
        if not chains and self._chain_id is not None:
            raise NobodyAnswered([answer for answer in answers if isinstance(answer, RpcError)])
        if not chains or not self.several:
            return
        for endpoint, answer in zip(self.endpoints, answers, strict=True):
            endpoint.chain_id = chains[0]
            if not isinstance(answer, RpcError) and answer != chains[0]:
                raise WrongChain(chains[0], answer, endpoint.name)

    async def probe(self) -> None:
        """Ask every endpoint that may be asked for its head, all at once; failures are noted, not raised."""
        asked = [each for each in self.endpoints if each.wait_s() == 0]
        heights = await attempted([ask_height(each) for each in asked])
        for endpoint, height in zip(asked, heights, strict=True):
            if not isinstance(height, RpcError):
                endpoint.level = height

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self.settings.probe_interval_s)
            if self.endpoints[0].chain_id is None:
                await attempted([self._meet()])
            await self.probe()


def passes_on(error: RpcError) -> bool:
    """Tell whether a read that failed so is worth asking another endpoint."""
    if isinstance(error, RpcRefused):
        return error.elsewhere
    return isinstance(error, (NodeUnavailable, BlockMissing, WrongChain))


def verdict(pool: str, errors: Sequence[RpcError]) -> RpcError:
    """Return what the failures of all endpoints come to: what may heal by itself before what will not."""
    if len(errors) == 1:
        return errors[0]
    incomplete = [error for error in errors if isinstance(error, LogsIncomplete)]
    if incomplete and len(incomplete) == len(errors):
        first = incomplete[0]
        return LogsIncomplete(pool, first.block_number, first.block_hash)
    away = [error for error in errors if isinstance(error, NodeUnavailable)]
    if not away:
        kinds = (BlockMissing, RpcRefused, WrongChain)
        return next(error for kind in kinds for error in errors if isinstance(error, kind))
    # Each cause by itself tells which endpoint: the names of the pool would tell it twice.
    reasons = "; ".join(f"{each.endpoint}: {each.reason}" for each in away)
    pauses = [each.retry_after_s for each in away if each.retry_after_s is not None]
    made = NodeUnavailable(
        pool,
        reasons,
        retry_after_s=min(pauses) if len(pauses) == len(away) else None,
        limited=all(each.limited for each in away),
        unsent=all(each.unsent for each in away),
    )
    if all(isinstance(each.__cause__, TimeoutError) for each in away):
        made.__cause__ = away[0].__cause__  # Whoever asked for too much learns it by the time it took.
    return made


def _unsent(error: RpcError) -> bool:
    return isinstance(error, WrongChain) or (isinstance(error, NodeUnavailable) and error.unsent)


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


def _check_quorum(quorum: int, endpoints: int) -> None:
    if quorum > endpoints:
        raise ValueError(f"a quorum of {quorum} needs as many endpoints: there are {endpoints}")


def _tell_apart(endpoints: Sequence[Endpoint]) -> None:
    """Number endpoints of one host, whose names would else be the same: keys are not shown."""
    names = [each.name for each in endpoints]
    for place, endpoint in enumerate(endpoints):
        if names.count(endpoint.name) > 1:
            endpoint.connection.endpoint = f"{names[place]}#{1 + names[:place].count(names[place])}"
