"""Addresses as parameters: one spelling and one order, so that equal policies have equal hashes."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable

_ADDRESS = re.compile(r"0x[0-9a-f]{40}")


def address(name: str, text: str) -> str:
    """Return an address in lower case. Raises ValueError that names the parameter."""
    lower = text.lower()
    if not _ADDRESS.fullmatch(lower):
        raise ValueError(f"{name}: {text[:60]!r} is no address: 0x and 40 hexadecimal digits are needed")
    return lower


def addresses(name: str, texts: Iterable[str]) -> tuple[str, ...]:
    """Return addresses in order, each once. Raises ValueError that names the parameter."""
    return tuple(sorted({address(name, text) for text in texts}))


def listed(ordered: tuple[str, ...], voter: str) -> bool:
    """Tell whether a voter is among addresses that are in order."""
    place = bisect_left(ordered, voter)
    return place < len(ordered) and ordered[place] == voter
