"""From chain to promises: finalised logs become durable invocations, exactly once."""

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
from listener.service import Listener
from listener.settings import FilterCheck, ListenerSettings, Source
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
