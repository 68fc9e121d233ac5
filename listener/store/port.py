"""The face of the listener's own store: cursors, open proposals, and incidents that wait for an operator.

It is a memory, not a truth: all but the incidents can be rebuilt by a scan from the start block. It must
never run ahead of the orchestrator (C2), so its users write to it last. Two listeners may share one store: a
cursor moves backwards only where an operator says so, and a proposal noted twice is noted once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from listener.incidents import Decision, Incident, Report
from listener.settings import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """The last finalised block whose logs, and those of all blocks from `first_block` on, are dispatched."""

    block_number: int
    block_hash: bytes
    first_block: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A place at which a cursor stood."""

    block_number: int
    block_hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatched:
    """An invocation that was made for a log of this block; `proposal_id` where it is a proposal's."""

    promise_id: str
    block_number: int
    block_hash: bytes
    proposal_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenProposal:
    """A proposal whose voting has not ended; `failures` counts its reads that failed in a row."""

    proposal_id: str
    failures: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Parked:
    """A proposal that cannot be read now: try again at `retry_at_ms` (Unix milliseconds)."""

    proposal_id: str
    retry_at_ms: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one look at some open proposals brought.

    `ended` are settled and forgotten; `deadlines` are timepoints of the DAO's clock, by proposal.
    """

    ended: Sequence[str] = ()
    deadlines: Sequence[tuple[str, int]] = ()
    parked: Sequence[Parked] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenCounts:
    """How many proposals are open, and how many of them are parked."""

    open: int
    parked: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Implementation:
    """What stands at an address: a hash of its code, and what it points at if it is a proxy (ERC-1967)."""

    code_hash: bytes
    implementation: str | None


class CursorStore(Protocol):
    """Where a listener keeps its place. Every method raises CursorStoreError when it cannot be used."""

    async def cursor(self, source: Source) -> Cursor | None:
        """Return a source's cursor, None before its first range."""
        ...

    async def cursors(self) -> list[tuple[Source, Cursor]]:
        """Return all sources that have a cursor, with it."""
        ...

    async def advance(
        self,
        source: Source,
        cursor: Cursor,
        created: Sequence[str],
        canceled: Sequence[str],
        *,
        after: int | None = None,
        dispatched: Sequence[Dispatched] = (),
    ) -> None:
        """Move the cursor, open the created proposals and mark the canceled ones due, all or nothing.

        A cursor that is already further stays, and so does one that stands before `after`, the last block
        before the range: somebody has rewound it. The caller has made the dispatch durable before (C2).
        """
        ...

    async def due(self, source: Source, clock: int, now_ms: int, limit: int) -> list[OpenProposal]:
        """Return open proposals to look at: never read, or past their deadline, or parked until now."""
        ...

    async def record(self, source: Source, outcome: Outcome) -> None:
        """Note what a look at open proposals brought, all or nothing."""
        ...

    async def counts(self, source: Source) -> OpenCounts:
        """Count the open proposals."""
        ...

    async def checkpoints(self, source: Source) -> list[Checkpoint]:
        """Return where the cursor stood lately, the newest first; a bounded number."""
        ...

    async def dispatched_after(self, source: Source, block_number: int) -> list[Dispatched]:
        """Return what was dispatched lately for blocks after this one, in the order of the chain."""
        ...

    async def rewind(self, source: Source, cursor: Cursor | None) -> None:
        """Set the cursor back, or forget it; what was found after it is found again. For operators only."""
        ...

    async def open_incident(self, source: Source, report: Report, now_ms: int) -> Incident:
        """Record what stops a source; where such an incident is open already, that one is returned."""
        ...

    async def incidents(self, source: Source | None = None, *, open_only: bool = True) -> list[Incident]:
        """Return the incidents of a source, or of all, the oldest first."""
        ...

    async def decide(self, incident_id: int, decision: Decision, now_ms: int) -> Incident:
        """Carry out an operator's decision and close the incident, all or nothing.

        Raises IncidentError where there is no such open incident, or the decision does not fit its kind.
        """
        ...

    async def skipped(self, source: Source) -> frozenset[tuple[bytes, int]]:
        """Return the logs to pass over, as block hash and log index."""
        ...

    async def implementation(self, source: Source) -> Implementation | None:
        """Return what stood at the source's address at the last look."""
        ...

    async def note_implementation(self, source: Source, seen: Implementation) -> None:
        """Note what stands at the source's address now."""
        ...

    async def close(self) -> None:
        """Let go of the store."""
        ...
