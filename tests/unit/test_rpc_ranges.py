"""Logs of wide spans: bounded requests, nothing left out, nothing read twice."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.bindings import Log
from contracts.rpc import LogPage, Node, RangeRefused, RpcRefused, logs_between
from contracts.rpc.spans import SPAN_BLOCKS as RANGE_BLOCKS
from contracts.rpc.spans import SPAN_BLOCKS_MAX as RANGE_BLOCKS_MAX
from contracts.rpc.spans import Span


class LimitedNode:
    """Answers at most so many blocks and so many logs at once; a log is its block's number here.

    It learns as an endpoint does, from words that name no limit.
    """

    def __init__(self, blocks_max: int, results_max: int, blocks_with_logs: set[int]) -> None:
        self.blocks_max = blocks_max
        self.results_max = results_max
        self.blocks_with_logs = blocks_with_logs
        self.answered: list[tuple[int, int]] = []
        self.refused = 0
        self._span = Span()

    async def logs_from(self, address: str, topics: object, first: int, last: int) -> LogPage:
        while True:
            end = min(last, first + self._span.blocks - 1)
            try:
                found = self._logs(first, end)
            except RangeRefused as error:
                if first == end:
                    raise
                self._span.refused(first, end, error)
            else:
                self._span.answered(end - first + 1, 0.01)
                return LogPage(first=first, last=end, logs=cast("tuple[Log, ...]", tuple(found)), endpoint="")

    def _logs(self, first: int, last: int) -> list[int]:
        found = [block for block in sorted(self.blocks_with_logs) if first <= block <= last]
        if last - first + 1 > self.blocks_max or len(found) > self.results_max:
            self.refused += 1
            raise RangeRefused("eth_getLogs", -32005, "query returned more than 10000 results")
        self.answered.append((first, last))
        return found


async def read(node: LimitedNode, first: int, last: int) -> list[Any]:
    return cast("list[Any]", await logs_between(cast("Node", node), "0xda", [], first, last))


@given(
    st.integers(1, 3 * RANGE_BLOCKS),
    st.integers(1, 5),
    st.sets(st.integers(0, 200_000), max_size=40),
    st.integers(0, 100_000),
    st.integers(0, 100_000),
)
async def test_a_span_is_tiled_whatever_the_node_takes(
    blocks_max: int, results_max: int, with_logs: set[int], first: int, length: int
) -> None:
    node = LimitedNode(max(blocks_max, 50), results_max, with_logs)
    last = first + length
    assert await read(node, first, last) == [block for block in sorted(with_logs) if first <= block <= last]
    assert node.answered[0][0] == first
    assert node.answered[-1][1] == last
    assert all(end + 1 == begin for (_, end), (begin, _) in pairwise(node.answered))
    assert node.refused <= 20 + len(node.answered)


async def test_a_node_without_limits_is_asked_a_few_times_for_a_whole_chain() -> None:
    node = LimitedNode(10**9, 10**9, {5, 20_000_000})
    assert await read(node, 0, 20_000_000) == [5, 20_000_000]
    assert len(node.answered) < 30
    assert max(last - first + 1 for first, last in node.answered) <= RANGE_BLOCKS_MAX


async def test_a_refusal_of_one_block_is_handed_on() -> None:
    with pytest.raises(RpcRefused):
        await read(LimitedNode(0, 0, set()), 0, 100_000)


async def test_an_empty_span_asks_nothing() -> None:
    node = LimitedNode(1, 1, set())
    assert await read(node, 5, 4) == []
    assert node.answered == []
