"""Logs of single blocks as completely as the nodes at hand tell them."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from contracts.bindings import Log
from contracts.rpc.errors import HistoryPruned, RpcRefused
from contracts.rpc.log_query import Topic
from contracts.rpc.node import Node
from contracts.rpc.records import BlockHeader

_log = structlog.get_logger("contracts.rpc")


async def fullest_logs(
    node: Node, address: str, topics: Sequence[Topic | Sequence[Topic]], header: BlockHeader
) -> list[Log]:
    """Return the complete logs of a block, or what is told of it alone where no node tells all logs of one.

    Raises LogsIncomplete, HistoryPruned and BlockMissing.
    """
    try:
        return await node.complete_logs(address, topics, header)
    except HistoryPruned:
        raise
    except RpcRefused as refusal:
        _log.info("block_not_told_whole", block_number=header.number, reason=str(refusal))
        return await node.logs(address, topics, header.number, header.number)
