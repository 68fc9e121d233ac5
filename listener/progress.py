"""What a listener tells about itself after each cycle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a listener stands. Heights are block numbers, `cursor` is None before the first range.

    `dispatched` and `ended` count since the start of this listener; a repeat after a lost cursor counts too.
    `caught_up` is false while finalised blocks are left to read; `behind` is true while the node is behind
    the cursor and therefore waited for.
    """

    head: int
    finalized: int
    cursor: int | None
    dispatched: int
    ended: int
    open_proposals: int
    parked_proposals: int
    caught_up: bool
    behind: bool = False


ProgressCallback = Callable[[Progress], None]
"""Takes a progress; must not block and must not raise."""
