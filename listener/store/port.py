"""The port of the listener's own store: one cursor a source, and the proposals whose voting is open.

It is a memory, not a truth: everything in it can be rebuilt by a scan from the start block. It must never run
ahead of the orchestrator (C2), so its users write to it last. Two listeners may share one store: a cursor
never moves backwards, and a proposal noted twice is noted once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from listener.settings import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """The last finalised block whose logs, and those of all blocks from `first_block` on, are dispatched."""

    block_number: int
    block_hash: bytes
    first_block: int = 0


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


class CursorStore(Protocol):
    """Where a listener keeps its place. Every method raises CursorStoreError when it cannot be used."""

    async def cursor(self, source: Source) -> Cursor | None:
        """Return a source's cursor, None before its first range."""
        ...

    async def advance(
        self, source: Source, cursor: Cursor, created: Sequence[str], canceled: Sequence[str]
    ) -> None:
        """Move the cursor, open the created proposals and mark the canceled ones due, all or nothing.

        A cursor that is already further stays. The caller has made the dispatch durable before (C2).
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

    async def close(self) -> None:
        """Let go of the store."""
        ...
