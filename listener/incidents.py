"""Incidents: what stops a source until an operator has decided. Pure values.

Whatever heals by itself is waited for and is none. An incident is about what was already called final and
dispatched, or about a log that can be neither read nor left out without somebody's word.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from listener.errors import ContentMismatch, IncidentError, ListenerError, ReorgBeyondFinality, UnreadableLog
from listener.settings import Source


class IncidentKind(StrEnum):
    """What has happened."""

    REORG_BEYOND_FINALITY = "reorg_beyond_finality"
    CONTENT_MISMATCH = "content_mismatch"
    UNREADABLE_LOG = "unreadable_log"


class Decision(StrEnum):
    """What an operator may decide."""

    RETRY = "retry"
    """Look again: node or store were wrong and have been put right."""
    REWIND = "rewind"
    """Take the node's chain: go back to the last block that both share, and read on from there."""
    SKIP = "skip"
    """Pass over this one log for ever."""


DECISIONS: dict[IncidentKind, tuple[Decision, ...]] = {
    IncidentKind.REORG_BEYOND_FINALITY: (Decision.RETRY, Decision.REWIND),
    IncidentKind.CONTENT_MISMATCH: (Decision.RETRY, Decision.SKIP),
    IncidentKind.UNREADABLE_LOG: (Decision.RETRY, Decision.SKIP),
}
"""Which decisions fit which kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What is known about an incident.

    Where a log is concerned, its block and index are given. `ancestor_number` is where a rewind goes back to;
    None means back to the start block. `vanished` are the ids of the promises whose logs the chain no longer
    has.
    """

    kind: IncidentKind
    detail: str
    block_number: int | None = None
    block_hash: bytes | None = None
    log_index: int | None = None
    ancestor_number: int | None = None
    ancestor_hash: bytes | None = None
    vanished: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """A recorded incident; times are Unix milliseconds. It is open while nothing is decided."""

    id: int
    source: Source
    report: Report
    opened_at_ms: int
    resolved_at_ms: int | None = None
    decision: Decision | None = None

    @property
    def choices(self) -> tuple[Decision, ...]:
        """What may be decided."""
        return DECISIONS[self.report.kind]

    def check(self, decision: Decision) -> None:
        """Raise IncidentError unless the incident is open and the decision fits."""
        if self.resolved_at_ms is not None:
            raise IncidentError(self.id, f"is decided already: {self.decision}")
        if decision not in self.choices:
            raise IncidentError(
                self.id, f"cannot be decided by {decision}: choose {' or '.join(self.choices)}"
            )


def report_of(error: ListenerError) -> Report | None:
    """Return the incident that an error is, None for an error that an operator mends without deciding."""
    match error:
        case ReorgBeyondFinality():
            return Report(
                kind=IncidentKind.REORG_BEYOND_FINALITY,
                detail=str(error),
                block_number=error.block_number,
                block_hash=error.recorded_hash,
                ancestor_number=error.ancestor_number,
                ancestor_hash=error.ancestor_hash,
                vanished=error.vanished,
            )
        case ContentMismatch() | UnreadableLog() if error.block_hash is not None:
            unreadable = isinstance(error, UnreadableLog)
            return Report(
                kind=IncidentKind.UNREADABLE_LOG if unreadable else IncidentKind.CONTENT_MISMATCH,
                detail=str(error),
                block_number=error.block_number,
                block_hash=error.block_hash,
                log_index=error.log_index,
            )
    return None
