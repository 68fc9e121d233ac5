"""Thousands of calls at one block by few requests, with the same outcomes as single calls.

Multicall3 is used where it is deployed, else a call without an address whose code does the same, else a batch
of single calls. How many calls fit is learnt: halved where a node refuses, doubled where it answers fast. A
call that failed without a reason is asked by itself, since a lack of gas within the many looks the same.

What differs from a single call: the contract sees another sender.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import structlog

from contracts.rpc import quantities as q
from contracts.rpc.aggregation import MULTICALL3, aggregate3_data, decode_results, read_many_data
from contracts.rpc.call_reader import METHOD, Call, read_calls
from contracts.rpc.connection import Outcome, Request
from contracts.rpc.endpoint import now_s
from contracts.rpc.errors import CallReverted, NodeUnavailable, RpcError, RpcRefused
from contracts.rpc.pool import Pool
from contracts.rpc.reading import answered, senseless
from contracts.rpc.refusals import ErrorObject, error_of_call
from contracts.rpc.together import gathered

CALLS_MAX = 4000
LOOK_AGAIN_BLOCKS = 1000
FAST_S = 1.0
REVERTED = "execution reverted"
_log = structlog.get_logger("rpc")


class Way(StrEnum):
    """How many calls are put into one, in the order in which the ways are tried."""

    MULTICALL3 = "multicall3"
    READ_MANY = "read_many"
    SINGLY = "singly"


CALLS_FIRST = {Way.MULTICALL3: 500, Way.READ_MANY: 100, Way.SINGLY: 100}


class Multicall:
    """Reads many calls of one pool, and remembers which way goes and how many calls fit."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._way = Way.MULTICALL3
        self._sizes = dict(CALLS_FIRST)
        self._refused = dict.fromkeys(Way, CALLS_MAX + 1)
        self._missing_at = -1 - LOOK_AGAIN_BLOCKS

    async def read(self, calls: Sequence[Call], block: q.BlockReference) -> list[bytes | RpcError]:
        """Return the outcome of each call, in their order: its answer, CallReverted or RpcRefused.

        An answer may be empty where no contract is. What concerns the node and not one call is raised.
        """
        return await self._by(self._way_at(block), calls, block)

    async def _by(self, way: Way, calls: Sequence[Call], block: q.BlockReference) -> list[bytes | RpcError]:
        if way is Way.SINGLY or len(calls) < 2:
            self._pool.calls_together[Way.SINGLY] += len(calls)
            return await read_calls(self._pool, calls, block)
        size = self._sizes[way]
        chunks = [calls[start : start + size] for start in range(0, len(calls), size)]
        outcomes = await gathered([self._chunk(chunk, block, way) for chunk in chunks])
        return [outcome for chunk in outcomes for outcome in chunk]

    def _way_at(self, block: q.BlockReference) -> Way:
        """Multicall3 may be younger than the block, or come later: it is looked for again now and then."""
        early = isinstance(block, int) and block <= self._missing_at + LOOK_AGAIN_BLOCKS
        return Way.READ_MANY if early and self._way is Way.MULTICALL3 else self._way

    async def _chunk(
        self, calls: Sequence[Call], block: q.BlockReference, way: Way
    ) -> list[bytes | RpcError]:
        """Read some calls at once; by halves where that is refused, otherwise where there is no such way."""
        if len(calls) == 1:
            return await read_calls(self._pool, calls, block)
        began = now_s()
        try:
            results = await self._together(calls, block, way)
        except (CallReverted, RpcRefused, NodeUnavailable) as error:
            too_slow = isinstance(error.__cause__, TimeoutError)
            if isinstance(error, NodeUnavailable) and not too_slow:
                raise
            return await self._halved(calls, block, way, error)
        if results is None:
            return await self._by(self._without(way, block), calls, block)
        self._answered(way, len(calls), now_s() - began)
        self._pool.calls_together[way] += len(calls)
        return await self._judged(calls, results, block)

    async def _halved(
        self, calls: Sequence[Call], block: q.BlockReference, way: Way, error: RpcError
    ) -> list[bytes | RpcError]:
        half = max(1, len(calls) // 2)
        self._refused[way] = min(self._refused[way], len(calls))
        self._sizes[way] = max(1, min(self._sizes[way], half))
        _log.info("multicall_refused", way=way, calls=len(calls), next_calls=half, reason=str(error))
        if len(calls) <= 4 and self._way is way:
            # Not too many: this way is not taken here at all.
            self._way = Way.SINGLY
        first = await self._chunk(calls[:half], block, way)
        return [*first, *await self._chunk(calls[half:], block, way)]

    def _without(self, way: Way, block: q.BlockReference) -> Way:
        """Note that there is nothing at Multicall3's address, or that no call goes without an address."""
        if way is Way.READ_MANY:
            self._way = Way.SINGLY
            return Way.SINGLY
        if isinstance(block, int):
            self._missing_at = max(self._missing_at, block)
        return Way.READ_MANY

    def _answered(self, way: Way, calls: int, seconds: float) -> None:
        if calls == self._sizes[way] and seconds < FAST_S:
            self._sizes[way] = min(2 * calls, CALLS_MAX, self._refused[way] - 1)

    async def _together(
        self, calls: Sequence[Call], block: q.BlockReference, way: Way
    ) -> list[tuple[bool, bytes]] | None:
        """Return success and answer of each call; None where this way does not exist."""

        def judge(name: str, outcomes: list[Outcome]) -> list[tuple[bool, bytes]] | None:
            if isinstance(outcomes[0], ErrorObject):
                error = error_of_call(MULTICALL3, name, METHOD, outcomes[0])
                if isinstance(error, CallReverted):
                    raise error
            answer = answered(name, METHOD, q.decode_data, outcomes[0], block)
            if not answer:
                return None
            try:
                return decode_results(answer, len(calls))
            except ValueError as error:
                raise senseless(name, METHOD, str(error)) from error

        return await self._pool.read([_request(calls, block, way)], judge, block=block)

    async def _judged(
        self, calls: Sequence[Call], results: Sequence[tuple[bool, bytes]], block: q.BlockReference
    ) -> list[bytes | RpcError]:
        outcomes: list[bytes | RpcError] = []
        unexplained: list[int] = []
        for place, ((to, _), (success, answer)) in enumerate(zip(calls, results, strict=True)):
            outcomes.append(answer if success else CallReverted(to, answer, REVERTED))
            if not success and not answer:
                unexplained.append(place)
        if unexplained:
            again = await read_calls(self._pool, [calls[place] for place in unexplained], block)
            for place, outcome in zip(unexplained, again, strict=True):
                outcomes[place] = outcome
        return outcomes


def _request(calls: Sequence[Call], block: q.BlockReference, way: Way) -> Request:
    if way is Way.MULTICALL3:
        transaction = {"to": MULTICALL3, "data": q.encode_data(aggregate3_data(calls))}
    else:
        transaction = {"data": q.encode_data(read_many_data(calls))}
    return METHOD, [transaction, q.encode_block(block)]
