"""Logs of single blocks as completely as the nodes at hand tell them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from contracts.bindings import Log
from contracts.rpc.errors import HistoryPruned, RpcRefused
from contracts.rpc.log_query import Topic
from contracts.rpc.node import Node
from contracts.rpc.records import BlockHeader

ASKED_MAX = 5
"""So often in a row a block is refused before it is believed that nobody tells it whole."""
PAUSE_S = 0.1
"""Before a block is asked for the second time; longer each time."""
_log = structlog.get_logger("contracts.rpc")


async def fullest_logs(
    node: Node, address: str, topics: Sequence[Topic | Sequence[Topic]], header: BlockHeader
) -> list[Log]:
    """Return the complete logs of a block, or what is told of it alone where no node tells all logs of one.

    A single refusal may be about the moment and not the block, and what is told alone may leave logs out.
    Raises LogsIncomplete, HistoryPruned and BlockMissing.
    """
    for attempt in range(1, ASKED_MAX + 1):
        try:
            return await node.complete_logs(address, topics, header)
        except HistoryPruned:
            raise
        except RpcRefused as refusal:
            if attempt == ASKED_MAX:
                _log.info("block_not_told_whole", block_number=header.number, reason=str(refusal))
                break
        await asyncio.sleep(PAUSE_S * attempt)
    return await node.logs(address, topics, header.number, header.number)
