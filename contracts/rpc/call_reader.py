"""Reading contracts of a pool: many calls at one block, each with an outcome of its own."""

from __future__ import annotations

from collections.abc import Sequence

from contracts.rpc import quantities as q
from contracts.rpc.connection import Outcome, Request
from contracts.rpc.errors import BlockMissing, NodeUnavailable, RpcError, RpcRefused
from contracts.rpc.pool import Pool
from contracts.rpc.reading import parsed
from contracts.rpc.refusals import ErrorObject, Kind, error_of_call, kind_of

METHOD = "eth_call"
Call = tuple[str, bytes]
"""An address and the call data for it."""


async def read_calls(pool: Pool, calls: Sequence[Call], block: q.BlockReference) -> list[bytes | RpcError]:
    """Return the outcome of each call: its answer, which may be empty, or CallReverted or RpcRefused.

    What concerns the node and not one call (NodeUnavailable, BlockMissing) is raised. All come from one
    endpoint; one that refuses a call for a reason of its own is left for another while there is any.
    """
    if not calls:
        return []
    seen: list[bytes | RpcError] = []

    def judge(name: str, outcomes: list[Outcome]) -> list[bytes | RpcError]:
        pairs = zip(calls, outcomes, strict=True)
        seen[:] = [_outcome(name, to, outcome, block) for (to, _), outcome in pairs]
        for each in seen:
            if isinstance(each, RpcRefused) and each.elsewhere:
                raise each
        return list(seen)

    try:
        return await pool.read([_request(to, data, block) for to, data in calls], judge, block=block)
    except RpcRefused as refused:
        if not any(refused is each for each in seen):
            raise
        return seen


def answers_of(outcomes: Sequence[bytes | RpcError]) -> list[bytes]:
    """Return the answers of calls, in their order; the first failure is raised."""
    answers = []
    for outcome in outcomes:
        if isinstance(outcome, RpcError):
            raise outcome
        answers.append(outcome)
    return answers


def _request(to: str, data: bytes, block: q.BlockReference) -> Request:
    return METHOD, [{"to": q.encode_address(to), "data": q.encode_data(data)}, q.encode_block(block)]


def _outcome(endpoint: str, to: str, outcome: Outcome, block: q.BlockReference) -> bytes | RpcError:
    if not isinstance(outcome, ErrorObject):
        return parsed(endpoint, METHOD, q.decode_data, outcome)
    if kind_of(METHOD, outcome) is Kind.UNKNOWN_BLOCK:
        raise BlockMissing(q.describe_block(block))
    error = error_of_call(to, endpoint, METHOD, outcome)
    if isinstance(error, NodeUnavailable):
        raise error
    return error
