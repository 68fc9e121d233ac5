"""keccak-256 by the quickest implementation that is installed; all of them are eth_hash's backends.

The C implementation takes a microsecond for a pair of hashes where the other takes nine, most of it for
setting up; a tree of ten thousand leaves is thirty thousand hashes. Platforms without a wheel of it use the
other.
"""

from __future__ import annotations

try:
    from eth_hash.backends.pysha3 import keccak256 as keccak
except ImportError:  # pragma: no cover - depends on the platform's wheels
    from eth_hash.auto import keccak

__all__ = ["keccak"]
