"""Logs of a span of blocks that may be wider than what a node answers at once.

Nodes limit a request by blocks, by results or by time, each in its own words. How much each endpoint gives is
learnt while it is read (`contracts.rpc.spans`); nothing of the span is left out or read twice.
"""

from __future__ import annotations

from collections.abc import Sequence

from contracts.bindings import Log
from contracts.rpc.log_query import Topic
from contracts.rpc.node import Node


async def logs_between(
    node: Node, address: str | Sequence[str], topics: Sequence[Topic | Sequence[Topic]], first: int, last: int
) -> list[Log]:
    """Return the logs of the blocks `first` to `last`, both included, in the order of the chain.

    Raises RangeRefused where the node will not answer for a single block. Other failures are as `Node.logs`.
    """
    found: list[Log] = []
    while first <= last:
        page = await node.logs_from(address, topics, first, last)
        found += page.logs
        first = page.last + 1
    return found
