"""The listener's own small store: cursors, open proposals, and incidents that wait for an operator."""

from listener.store.port import (
    Checkpoint,
    Cursor,
    CursorStore,
    Dispatched,
    Implementation,
    OpenCounts,
    OpenProposal,
    Outcome,
    Parked,
)
from listener.store.sqlite import SqliteCursorStore

__all__ = [
    "Checkpoint",
    "Cursor",
    "CursorStore",
    "Dispatched",
    "Implementation",
    "OpenCounts",
    "OpenProposal",
    "Outcome",
    "Parked",
    "SqliteCursorStore",
]
