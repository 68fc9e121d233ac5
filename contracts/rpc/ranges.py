"""Logs of a span of blocks that may be wider than what a node answers at once.

Nodes limit a request by blocks, by results or by time, each in its own words. So a refused range is halved
until it is taken, an answered one grows; nothing of the span is left out or read twice.
"""

from __future__ import annotations

from collections.abc import Sequence

from contracts.bindings import Log
from contracts.rpc.errors import RpcRefused
from contracts.rpc.node import Node, Topic

RANGE_BLOCKS = 10_000
RANGE_BLOCKS_MAX = 1_000_000


async def logs_between(
    node: Node, address: str, topics: Sequence[Topic | Sequence[Topic]], first: int, last: int
) -> list[Log]:
    """Return the logs of the blocks `first` to `last`, both included, in the order of the chain.

    Raises RpcRefused where the node will not answer for a single block. Other failures are as `Node.logs`.
    """
    found: list[Log] = []
    blocks, growth = RANGE_BLOCKS, 2.0
    while first <= last:
        end = min(last, first + blocks - 1)
        try:
            found += await node.logs(address, topics, first, end)
        except RpcRefused:
            if first == end:
                raise
            # From here on the range grows slowly: most of the next answers fit, and a dense stretch is left.
            blocks, growth = (end - first + 1) // 2, 1.25
            continue
        first, blocks = end + 1, min(int(growth * blocks) + 1, RANGE_BLOCKS_MAX)
    return found
