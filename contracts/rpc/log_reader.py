"""Reading logs of a pool: ranges, pages of whatever width an endpoint gives at once, and single blocks.

A single block's logs can be complete: taken from all logs of the block, which account for its bloom filter.
An endpoint that does not give as many is passed over.
"""

from __future__ import annotations

from contracts.bindings import Log
from contracts.rpc import bloom
from contracts.rpc.blocks import header_judge, header_request
from contracts.rpc.connection import Outcome
from contracts.rpc.endpoint import Endpoint, now_s
from contracts.rpc.errors import (
    BlockMissing,
    HistoryPruned,
    LogsIncomplete,
    NodeUnavailable,
    RangeRefused,
    RpcError,
    RpcRefused,
)
from contracts.rpc.log_query import METHOD, LogPage, LogQuery, digest, read_whole, request_of_whole
from contracts.rpc.pool import Pool
from contracts.rpc.quantities import encode_data
from contracts.rpc.quorum import agreed
from contracts.rpc.reading import Judge, answered, senseless
from contracts.rpc.records import BlockHeader, parse_block_logs
from contracts.rpc.refusals import ErrorObject

RECEIPTS = "eth_getBlockReceipts"


async def read_range(pool: Pool, query: LogQuery, first: int, last: int) -> list[Log]:
    """Return the logs of the blocks `first` to `last`, of an endpoint that has the last one."""

    async def ask(endpoint: Endpoint) -> list[Log]:
        return await _ask(pool, endpoint, query, first, last, bounded=pool.several)

    return await agreed(pool, ask, f"the logs of blocks {first} to {last}", digest)


async def read_page(pool: Pool, query: LogQuery, first: int, last: int) -> LogPage:
    """Return the logs from `first` on, of as many blocks up to `last` as an endpoint gives at once.

    With a quorum all are asked for what the narrowest gives, since their answers are compared.
    """
    if pool.settings.quorum == 1:
        return await pool.visit(lambda endpoint: _page(pool, endpoint, query, first, last))
    while True:
        blocks = min(endpoint.span.blocks for endpoint in pool.endpoints)
        end = min(last, first + blocks - 1)

        async def ask(endpoint: Endpoint, end: int = end) -> list[Log]:
            return await _taught(pool, endpoint, query, first, end)

        try:
            logs = await agreed(pool, ask, f"the logs of blocks {first} to {end}", digest)
        except RangeRefused:
            if first == end:
                raise
        else:
            return LogPage(first=first, last=end, logs=tuple(logs), endpoint=pool.endpoint)


async def read_block(pool: Pool, query: LogQuery, block_hash: bytes) -> list[Log]:
    """Return the logs of one block. Raises BlockMissing."""

    def judge(name: str, outcomes: list[Outcome]) -> list[Log]:
        if isinstance(outcomes[0], ErrorObject):
            answered(name, METHOD, list, outcomes[0], block_hash)
        return query.read_block(name, outcomes[0], block_hash)

    async def ask(endpoint: Endpoint) -> list[Log]:
        return await endpoint.ask([query.request_of_block(block_hash)], judge)

    return await agreed(pool, ask, f"the logs of block {encode_data(block_hash)}", digest)


async def read_complete(pool: Pool, query: LogQuery, header: BlockHeader) -> list[Log]:
    """Return the logs of a block that are asked for, out of logs that account for its filter.

    Raises LogsIncomplete where no endpoint gives so many, BlockMissing, and RpcRefused where none can be
    asked for all logs of a block, nor for its receipts.
    """

    async def ask(endpoint: Endpoint) -> list[Log]:
        try:
            logs = await endpoint.ask([request_of_whole(header.hash)], _whole_judge(header.hash))
        except HistoryPruned:
            raise
        except RpcRefused as refusal:
            logs = await _of_receipts(endpoint, header, refusal)
        if not bloom.accounts_for(header.logs_bloom or b"", logs):
            # Receipts are kept apart from what nodes look logs up in, which may be damaged.
            logs = await _of_receipts(endpoint, header, None)
        return [log for log in logs if query.fits(log)]

    return await agreed(pool, ask, f"all logs of block {encode_data(header.hash)}", digest)


async def _of_receipts(endpoint: Endpoint, header: BlockHeader, refusal: RpcRefused | None) -> list[Log]:
    """Return the logs in a block's receipts. Raises `refusal` where there are none, LogsIncomplete."""
    incomplete = LogsIncomplete(endpoint.name, header.number, header.hash)
    request = (RECEIPTS, [encode_data(header.hash)])
    try:
        logs = await endpoint.ask([request], _receipts_judge(header.hash))
    except RpcRefused as error:
        raise refusal or incomplete from error
    if not bloom.accounts_for(header.logs_bloom or b"", logs):
        raise incomplete
    return logs


def _whole_judge(block_hash: bytes) -> Judge[list[Log]]:
    def judge(name: str, outcomes: list[Outcome]) -> list[Log]:
        if isinstance(outcomes[0], ErrorObject):
            answered(name, METHOD, list, outcomes[0], block_hash)
        return read_whole(name, outcomes[0], block_hash)

    return judge


def _receipts_judge(block_hash: bytes) -> Judge[list[Log]]:
    def judge(name: str, outcomes: list[Outcome]) -> list[Log]:
        logs = answered(name, RECEIPTS, parse_block_logs, outcomes[0], block_hash)
        if logs is None:
            raise BlockMissing(encode_data(block_hash))
        if any(log.block_hash != block_hash for log in logs):
            raise senseless(name, RECEIPTS, "the receipts of another block")
        return logs

    return judge


async def _page(pool: Pool, endpoint: Endpoint, query: LogQuery, first: int, last: int) -> LogPage:
    while True:
        end = min(last, first + endpoint.span.blocks - 1)
        try:
            logs = await _taught(pool, endpoint, query, first, end)
        except (RangeRefused, NodeUnavailable) as error:
            if first == end or not _is_too_much(error):
                raise
        else:
            return LogPage(first=first, last=end, logs=tuple(logs), endpoint=endpoint.name)


async def _taught(pool: Pool, endpoint: Endpoint, query: LogQuery, first: int, last: int) -> list[Log]:
    """Ask for a range, and let the endpoint's span learn from what comes of it."""
    began = now_s()
    try:
        logs = await _ask(pool, endpoint, query, first, last, bounded=True)
    except (RangeRefused, NodeUnavailable) as error:
        if _is_too_much(error):
            endpoint.span.refused(first, last, error)
        raise
    endpoint.span.answered(last - first + 1, now_s() - began)
    return logs


def _is_too_much(error: RpcError) -> bool:
    return isinstance(error, RangeRefused) or isinstance(error.__cause__, TimeoutError)


async def _ask(
    pool: Pool, endpoint: Endpoint, query: LogQuery, first: int, last: int, *, bounded: bool
) -> list[Log]:
    """Ask one endpoint for a range.

    If it is `bounded`, the endpoint has to show the last block in the same batch, after the logs: one that
    stands behind a balancer may have had the block a moment ago, and would answer an empty list without it.
    """

    def judge(name: str, outcomes: list[Outcome]) -> list[Log]:
        if isinstance(outcomes[0], ErrorObject):
            answered(name, METHOD, list, outcomes[0], last)
        return query.read(name, outcomes[0], first, last)

    request = query.request(first, last)
    if not bounded:
        return await endpoint.ask([request], judge)
    if pool.several:
        await pool.require_height(endpoint, last)
    boundary = header_judge(last)

    def judge_both(name: str, outcomes: list[Outcome]) -> tuple[list[Log], BlockHeader]:
        return judge(name, outcomes[:1]), boundary(name, outcomes[1:])

    logs, header = await endpoint.ask([request, header_request(last)], judge_both)
    endpoint.remember(header.number, header.hash)
    if pool.several:
        pool.check_shown(endpoint, header)
    if any(log.block_number == last and log.block_hash != header.hash for log in logs):
        raise senseless(endpoint.name, METHOD, f"its logs and its header of block {last} disagree")
    return logs
