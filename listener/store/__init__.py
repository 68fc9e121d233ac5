"""The listener's own small store: its cursor and its open proposals."""

from listener.store.port import Cursor, CursorStore, OpenCounts, OpenProposal, Outcome, Parked
from listener.store.sqlite import SqliteCursorStore

__all__ = ["Cursor", "CursorStore", "OpenCounts", "OpenProposal", "Outcome", "Parked", "SqliteCursorStore"]
