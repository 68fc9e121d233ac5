"""What a listener tells about itself after each cycle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a listener stands. Heights are block numbers, `cursor` is None before the first range.

    `dispatched` and `ended` count since the start of this listener; a repeat after a lost cursor counts too,
    so do `reorgs` (with `reverted_blocks`, none of them final), `implementation_changes`, and `hidden_logs`
    that the node left out of its answers and their blocks have. `head_time` and `finalized_time` are the
    blocks' own, in Unix seconds. `caught_up` is false while finalised blocks are
    left to read; `behind` is true while the node is behind the cursor and therefore waited for.
    `clock_ahead_s` is how far the head's time is ahead of this machine's, if by too much.
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
    head_time: int = 0
    finalized_time: int = 0
    unfinalised: int = 0
    reorgs: int = 0
    reverted_blocks: int = 0
    deepest_reorg: int = 0
    finality_stalled: bool = False
    clock_ahead_s: float = 0.0
    implementation_changes: int = 0
    range_blocks: int = 0
    hidden_logs: int = 0


ProgressCallback = Callable[[Progress], None]
"""Takes a progress; must not block and must not raise."""
