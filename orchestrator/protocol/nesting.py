"""A bound on how deep a JSON text may nest, checked before any decoder sees it.

A decoder recurses on its C stack. Python's recursion limit stops it in time only while that limit is low, and
any imported package may have raised it for the whole process.
"""

from __future__ import annotations

import re

DEPTH_MAX = 64
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
_STEP = {b"[": 1, b"{": 1, b"]": -1, b"}": -1}


def too_deep(text: bytes) -> bool:
    """Tell whether a JSON text nests deeper than `DEPTH_MAX` levels; brackets in strings do not count."""
    if text.count(b"[") + text.count(b"{") <= DEPTH_MAX:
        return False
    depth = 0
    for token in _TOKEN.finditer(text):
        depth += _STEP.get(token.group(), 0)
        if depth > DEPTH_MAX:
            return True
    return False
