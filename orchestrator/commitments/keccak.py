"""keccak-256 by the quickest implementation that is installed; all of them are eth_hash's backends.

The C implementation takes a microsecond for a pair of hashes where the other takes nine, most of it for
setting up; a tree of ten thousand leaves is thirty thousand hashes. Platforms without a wheel of it use the
other.
"""

from __future__ import annotations

from collections.abc import Callable

from eth_hash import auto


def _quickest() -> Callable[[bytes], bytes]:
    try:
        from eth_hash.backends import pysha3  # noqa: PLC0415 - it may be missing
    except ImportError:
        return auto.keccak
    return pysha3.keccak256


keccak = _quickest()
