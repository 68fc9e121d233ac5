"""The task: the right to advance a promise, leased to one worker at a time.

Invariants: T1 one acquired lease a task and version at a time. T2 a stale version writes nothing.
T3 the task of a settled promise is fulfilled. T4 a suspended task has an unsettled awaited promise, or is
already queued. T5 no task rests for ever: pending, acquired and delayed ones each have a timer.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


class TaskState(StrEnum):
    """Where a task stands; `FULFILLED` is final."""

    PENDING = "pending"
    ACQUIRED = "acquired"
    SUSPENDED = "suspended"
    HALTED = "halted"
    FULFILLED = "fulfilled"

    __hash__ = str.__hash__  # an enum's own runs in Python, and tables are asked for every command


class Task(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A task as the engine keeps it. Its id is its promise's id. Times are Unix milliseconds.

    `timer_at` is the next moment at which the engine must look at it: the lease's end while acquired, the
    next dispatch while pending; None otherwise (T5). `resumes` counts the awaited promises that have settled
    since it was last acquired or suspended, `releases` how often it was given back in a row without progress.
    `attempts` counts the acquisitions in a row that ended without progress, by release or the lease's end.
    `embedded` marks a lease held by a worker inside the engine's own process: it ends with that process.
    `cancelled` tells that its promise was asked to end. `touched_at` is when its holder last wrote for it, to
    within a share of the time for which that counts; None while nobody holds it. `left_behind` are the calls
    before which its holder has forgotten all others of the same workflow: what comes late from there is not
    created again (T2 keeps out what an earlier holder has sent).
    """

    id: str
    state: TaskState
    version: int
    target: str
    resumes: int = 0
    releases: int = 0
    attempts: int = 0
    pid: str | None = None
    ttl_ms: int | None = None
    embedded: bool = False
    timer_at: int | None = None
    cancelled: bool = False
    touched_at: int | None = None
    left_behind: tuple[str, ...] = ()
