"""Envelopes that travel together, one a line: in a bundle, and in each message of a channel."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from orchestrator.protocol.envelope import BUNDLE_MAX

LINE_BYTES_MAX = 64 * 1024
"""A larger request goes alone."""
TOGETHER_BYTES_MAX = 256 * 1024
ItemT = TypeVar("ItemT")


def portions(items: Iterable[ItemT], size: Callable[[ItemT], int]) -> Iterator[list[ItemT]]:
    """Yield lines in portions that may travel together; one that is too large for that is one by itself."""
    some: list[ItemT] = []
    total = 0
    for each in items:
        if some and (len(some) == BUNDLE_MAX or total + size(each) > TOGETHER_BYTES_MAX):
            yield some
            some, total = [], 0
        some.append(each)
        total += size(each) + 1
    if some:
        yield some
