"""From chain to promises: finalised logs become durable invocations, exactly once.

The listener itself and its store are loaded when they are asked for: a worker needs only what they pass on.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from listener.errors import (
    ContentMismatch,
    CursorStoreError,
    DispatchRefused,
    FiltersContradicted,
    InvalidSettings,
    ListenerError,
    NotADao,
    ReorgBeyondFinality,
    StartBeforeCursor,
    StartBeyondHead,
    UnreadableLog,
)
from listener.invocation import (
    EndReason,
    ProposalRequest,
    VotingEnded,
    score_promise_id,
    voting_ended_id,
)
from listener.progress import Progress
from listener.settings import FilterCheck, ListenerSettings, Source

if TYPE_CHECKING:
    from listener.service import Listener
    from listener.store import CursorStore, SqliteCursorStore

__all__ = [
    "ContentMismatch",
    "CursorStore",
    "CursorStoreError",
    "DispatchRefused",
    "EndReason",
    "FilterCheck",
    "FiltersContradicted",
    "InvalidSettings",
    "Listener",
    "ListenerError",
    "ListenerSettings",
    "NotADao",
    "Progress",
    "ProposalRequest",
    "ReorgBeyondFinality",
    "Source",
    "SqliteCursorStore",
    "StartBeforeCursor",
    "StartBeyondHead",
    "UnreadableLog",
    "VotingEnded",
    "score_promise_id",
    "voting_ended_id",
]

_LATER = {
    "CursorStore": "listener.store",
    "Listener": "listener.service",
    "SqliteCursorStore": "listener.store",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LATER[name]), name)
