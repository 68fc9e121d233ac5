"""The state machines of promises and tasks, as complete tables.

Rules for editing this file: every (state, event) pair stands in its table, also those where nothing
happens and those that are refused; a test fails for a missing one. A row says what happens, never how: the
engine supplies the moment, the lease and the dispatch. Nothing here reads a clock.
What stands in the queue of a limited group has a table of its own (`queueing`).

Invariants: P1 rows of settled promises lead to themselves. T1, T2 only ACQUIRE and CLAIM raise the version,
and only from `pending`. T3 PROMISE_SETTLED leads every task to `fulfilled`. T5 every row that ends in
`pending` or `acquired` sets or keeps a timer.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import msgspec

from orchestrator.domain.promise import EMPTY, PromiseRecord, PromiseState, Value
from orchestrator.domain.task import Task, TaskState

# -- promises


class PromiseEvent(StrEnum):
    """What can happen to a promise."""

    RESOLVE = "resolve"
    REJECT = "reject"
    CANCEL = "cancel"
    DEADLINE = "deadline"
    TIMER_DEADLINE = "timer_deadline"

    __hash__ = str.__hash__


_P, _E = PromiseState, PromiseEvent

PROMISE_TRANSITIONS: dict[tuple[PromiseState, PromiseEvent], PromiseState] = {
    (_P.PENDING, _E.RESOLVE): _P.RESOLVED,
    (_P.PENDING, _E.REJECT): _P.REJECTED,
    (_P.PENDING, _E.CANCEL): _P.REJECTED_CANCELED,
    (_P.PENDING, _E.DEADLINE): _P.REJECTED_TIMEDOUT,
    (_P.PENDING, _E.TIMER_DEADLINE): _P.RESOLVED,
    (_P.RESOLVED, _E.RESOLVE): _P.RESOLVED,
    (_P.RESOLVED, _E.REJECT): _P.RESOLVED,
    (_P.RESOLVED, _E.CANCEL): _P.RESOLVED,
    (_P.RESOLVED, _E.DEADLINE): _P.RESOLVED,
    (_P.RESOLVED, _E.TIMER_DEADLINE): _P.RESOLVED,
    (_P.REJECTED, _E.RESOLVE): _P.REJECTED,
    (_P.REJECTED, _E.REJECT): _P.REJECTED,
    (_P.REJECTED, _E.CANCEL): _P.REJECTED,
    (_P.REJECTED, _E.DEADLINE): _P.REJECTED,
    (_P.REJECTED, _E.TIMER_DEADLINE): _P.REJECTED,
    (_P.REJECTED_CANCELED, _E.RESOLVE): _P.REJECTED_CANCELED,
    (_P.REJECTED_CANCELED, _E.REJECT): _P.REJECTED_CANCELED,
    (_P.REJECTED_CANCELED, _E.CANCEL): _P.REJECTED_CANCELED,
    (_P.REJECTED_CANCELED, _E.DEADLINE): _P.REJECTED_CANCELED,
    (_P.REJECTED_CANCELED, _E.TIMER_DEADLINE): _P.REJECTED_CANCELED,
    (_P.REJECTED_TIMEDOUT, _E.RESOLVE): _P.REJECTED_TIMEDOUT,
    (_P.REJECTED_TIMEDOUT, _E.REJECT): _P.REJECTED_TIMEDOUT,
    (_P.REJECTED_TIMEDOUT, _E.CANCEL): _P.REJECTED_TIMEDOUT,
    (_P.REJECTED_TIMEDOUT, _E.DEADLINE): _P.REJECTED_TIMEDOUT,
    (_P.REJECTED_TIMEDOUT, _E.TIMER_DEADLINE): _P.REJECTED_TIMEDOUT,
}

SETTLING_EVENTS: dict[PromiseState, PromiseEvent] = {
    _P.RESOLVED: _E.RESOLVE,
    _P.REJECTED: _E.REJECT,
    _P.REJECTED_CANCELED: _E.CANCEL,
}
"""The states that a caller may ask for, and the event that asks."""


def settle(promise: PromiseRecord, state: PromiseState, value: Value, now_ms: int) -> PromiseRecord:
    """Return the promise after a caller asked for `state`, one of SETTLING_EVENTS; itself if settled (P1)."""
    after = PROMISE_TRANSITIONS[promise.state, SETTLING_EVENTS[state]]
    return promise if after is promise.state else promise.settled(after, value, now_ms)


def expire(promise: PromiseRecord) -> PromiseRecord:
    """Return the promise after its deadline, settled at the deadline whenever that is noticed (P3)."""
    event = _E.TIMER_DEADLINE if promise.is_timer else _E.DEADLINE
    after = PROMISE_TRANSITIONS[promise.state, event]
    return promise if after is promise.state else promise.settled(after, EMPTY, promise.timeout_at)


# -- tasks


class TaskEvent(StrEnum):
    """What can happen to a task. Those of a worker carry the version it holds (see FENCED)."""

    CLAIM = "claim"
    """task.create on a promise that exists already."""
    ACQUIRE = "acquire"
    RELEASE = "release"
    FULFILL = "fulfill"
    SUSPEND = "suspend"
    """task.suspend, and all that it awaits is pending."""
    STAY_AWAKE = "stay_awake"
    """task.suspend, and something it awaits has settled."""
    FENCE = "fence"
    PROGRESS = "progress"
    """Something that was fenced has changed a promise: a repetition that is sent again changes none."""
    RENEW = "renew"
    RENEW_UNNAMED = "renew_unnamed"
    """An empty heartbeat, which renews all that its pid holds."""
    CANCEL = "cancel"
    """The promise was asked to end, for the first time."""
    HALT = "halt"
    CONTINUE = "continue"
    AWAITED_SETTLED = "awaited_settled"
    LEASE_ENDED = "lease_ended"
    ATTEMPTS_SPENT = "attempts_spent"
    """In the place of RELEASE or LEASE_ENDED, when that was the last attempt."""
    DISPATCH_DUE = "dispatch_due"
    PROMISE_SETTLED = "promise_settled"

    __hash__ = str.__hash__


FENCED = frozenset(
    {
        TaskEvent.ACQUIRE,
        TaskEvent.RELEASE,
        TaskEvent.FULFILL,
        TaskEvent.SUSPEND,
        TaskEvent.STAY_AWAKE,
        TaskEvent.FENCE,
        TaskEvent.PROGRESS,
        TaskEvent.RENEW,
        TaskEvent.RENEW_UNNAMED,
    }
)
"""The events that a stale version may not cause (T2)."""


class Timer(StrEnum):
    """What a transition does to the task's timer."""

    KEEP = "keep"
    LEASE = "lease"
    DISPATCH = "dispatch"
    NONE = "none"


class Count(StrEnum):
    """What a transition does to a counter."""

    KEEP = "keep"
    ADD = "add"
    CLEAR = "clear"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One row of the table. `state` is None where the event is refused (409).

    `claims` raises the version and takes a new lease; `resumes` counts awaited promises that have settled
    since the task was last acquired or suspended; `releases` counts how often it was given back in a row
    without any progress, `attempts` leases that ended too. `touches` marks what only a holder that lives can
    cause; `cancels` is remembered.
    """

    state: TaskState | None
    claims: bool = False
    timer: Timer = Timer.KEEP
    resumes: Count = Count.KEEP
    releases: Count = Count.KEEP
    attempts: Count = Count.KEEP
    touches: bool = False
    cancels: bool = False


_S, _V = TaskState, TaskEvent
_REFUSED = Outcome(state=None)
_CLAIMED = Outcome(state=_S.ACQUIRED, claims=True, timer=Timer.LEASE, resumes=Count.CLEAR, touches=True)
_FULFILLED = Outcome(state=_S.FULFILLED, timer=Timer.NONE)
_HALTED = Outcome(state=_S.HALTED, timer=Timer.NONE)


def _same(state: TaskState, *, resumes: Count = Count.KEEP) -> Outcome:
    return Outcome(state=state, resumes=resumes)


TASK_TRANSITIONS: dict[tuple[TaskState, TaskEvent], Outcome] = {
    (_S.PENDING, _V.CLAIM): _CLAIMED,
    (_S.PENDING, _V.ACQUIRE): _CLAIMED,
    (_S.PENDING, _V.RELEASE): _REFUSED,
    (_S.PENDING, _V.FULFILL): _REFUSED,
    (_S.PENDING, _V.SUSPEND): _REFUSED,
    (_S.PENDING, _V.STAY_AWAKE): _REFUSED,
    (_S.PENDING, _V.FENCE): _REFUSED,
    (_S.PENDING, _V.PROGRESS): _REFUSED,
    (_S.PENDING, _V.RENEW): _REFUSED,
    (_S.PENDING, _V.RENEW_UNNAMED): _REFUSED,
    (_S.PENDING, _V.CANCEL): Outcome(state=_S.PENDING, timer=Timer.DISPATCH, cancels=True),
    (_S.PENDING, _V.HALT): _HALTED,
    (_S.PENDING, _V.CONTINUE): _REFUSED,
    (_S.PENDING, _V.AWAITED_SETTLED): _same(_S.PENDING, resumes=Count.ADD),
    (_S.PENDING, _V.LEASE_ENDED): _same(_S.PENDING),
    (_S.PENDING, _V.ATTEMPTS_SPENT): _REFUSED,
    (_S.PENDING, _V.DISPATCH_DUE): Outcome(state=_S.PENDING, timer=Timer.DISPATCH),
    (_S.PENDING, _V.PROMISE_SETTLED): _FULFILLED,
    (_S.ACQUIRED, _V.CLAIM): _REFUSED,
    (_S.ACQUIRED, _V.ACQUIRE): _REFUSED,
    (_S.ACQUIRED, _V.RELEASE): Outcome(
        state=_S.PENDING, timer=Timer.DISPATCH, releases=Count.ADD, attempts=Count.ADD
    ),
    (_S.ACQUIRED, _V.FULFILL): _FULFILLED,
    (_S.ACQUIRED, _V.SUSPEND): Outcome(
        state=_S.SUSPENDED,
        timer=Timer.NONE,
        resumes=Count.CLEAR,
        releases=Count.CLEAR,
        attempts=Count.CLEAR,
    ),
    (_S.ACQUIRED, _V.STAY_AWAKE): Outcome(
        state=_S.ACQUIRED, resumes=Count.CLEAR, releases=Count.CLEAR, attempts=Count.CLEAR, touches=True
    ),
    (_S.ACQUIRED, _V.FENCE): Outcome(state=_S.ACQUIRED, touches=True),
    (_S.ACQUIRED, _V.PROGRESS): Outcome(state=_S.ACQUIRED, releases=Count.CLEAR, attempts=Count.CLEAR),
    (_S.ACQUIRED, _V.RENEW): Outcome(state=_S.ACQUIRED, timer=Timer.LEASE, touches=True),
    (_S.ACQUIRED, _V.RENEW_UNNAMED): Outcome(state=_S.ACQUIRED, timer=Timer.LEASE),
    (_S.ACQUIRED, _V.CANCEL): Outcome(state=_S.ACQUIRED, cancels=True),
    (_S.ACQUIRED, _V.HALT): _HALTED,
    (_S.ACQUIRED, _V.CONTINUE): _REFUSED,
    (_S.ACQUIRED, _V.AWAITED_SETTLED): _same(_S.ACQUIRED, resumes=Count.ADD),
    (_S.ACQUIRED, _V.LEASE_ENDED): Outcome(state=_S.PENDING, timer=Timer.DISPATCH, attempts=Count.ADD),
    (_S.ACQUIRED, _V.ATTEMPTS_SPENT): Outcome(state=_S.HALTED, timer=Timer.NONE, attempts=Count.ADD),
    (_S.ACQUIRED, _V.DISPATCH_DUE): _same(_S.ACQUIRED),
    (_S.ACQUIRED, _V.PROMISE_SETTLED): _FULFILLED,
    (_S.SUSPENDED, _V.CLAIM): _REFUSED,
    (_S.SUSPENDED, _V.ACQUIRE): _REFUSED,
    (_S.SUSPENDED, _V.RELEASE): _REFUSED,
    (_S.SUSPENDED, _V.FULFILL): _REFUSED,
    (_S.SUSPENDED, _V.SUSPEND): _REFUSED,
    (_S.SUSPENDED, _V.STAY_AWAKE): _REFUSED,
    (_S.SUSPENDED, _V.FENCE): _REFUSED,
    (_S.SUSPENDED, _V.PROGRESS): _REFUSED,
    (_S.SUSPENDED, _V.RENEW): _REFUSED,
    (_S.SUSPENDED, _V.RENEW_UNNAMED): _REFUSED,
    (_S.SUSPENDED, _V.CANCEL): Outcome(state=_S.PENDING, timer=Timer.DISPATCH, cancels=True),
    (_S.SUSPENDED, _V.HALT): _HALTED,
    (_S.SUSPENDED, _V.CONTINUE): _REFUSED,
    (_S.SUSPENDED, _V.AWAITED_SETTLED): Outcome(state=_S.PENDING, timer=Timer.DISPATCH, resumes=Count.ADD),
    (_S.SUSPENDED, _V.LEASE_ENDED): _same(_S.SUSPENDED),
    (_S.SUSPENDED, _V.ATTEMPTS_SPENT): _REFUSED,
    (_S.SUSPENDED, _V.DISPATCH_DUE): _same(_S.SUSPENDED),
    (_S.SUSPENDED, _V.PROMISE_SETTLED): _FULFILLED,
    (_S.HALTED, _V.CLAIM): _REFUSED,
    (_S.HALTED, _V.ACQUIRE): _REFUSED,
    (_S.HALTED, _V.RELEASE): _REFUSED,
    (_S.HALTED, _V.FULFILL): _REFUSED,
    (_S.HALTED, _V.SUSPEND): _REFUSED,
    (_S.HALTED, _V.STAY_AWAKE): _REFUSED,
    (_S.HALTED, _V.FENCE): _REFUSED,
    (_S.HALTED, _V.PROGRESS): _REFUSED,
    (_S.HALTED, _V.RENEW): _REFUSED,
    (_S.HALTED, _V.RENEW_UNNAMED): _REFUSED,
    (_S.HALTED, _V.CANCEL): Outcome(state=_S.HALTED, cancels=True),
    (_S.HALTED, _V.HALT): _same(_S.HALTED),
    (_S.HALTED, _V.CONTINUE): Outcome(state=_S.PENDING, timer=Timer.DISPATCH, attempts=Count.CLEAR),
    (_S.HALTED, _V.AWAITED_SETTLED): _same(_S.HALTED, resumes=Count.ADD),
    (_S.HALTED, _V.LEASE_ENDED): _same(_S.HALTED),
    (_S.HALTED, _V.ATTEMPTS_SPENT): _REFUSED,
    (_S.HALTED, _V.DISPATCH_DUE): _same(_S.HALTED),
    (_S.HALTED, _V.PROMISE_SETTLED): _FULFILLED,
    (_S.FULFILLED, _V.CLAIM): _same(_S.FULFILLED),
    (_S.FULFILLED, _V.ACQUIRE): _REFUSED,
    (_S.FULFILLED, _V.RELEASE): _REFUSED,
    (_S.FULFILLED, _V.FULFILL): _REFUSED,
    (_S.FULFILLED, _V.SUSPEND): _REFUSED,
    (_S.FULFILLED, _V.STAY_AWAKE): _REFUSED,
    (_S.FULFILLED, _V.FENCE): _REFUSED,
    (_S.FULFILLED, _V.PROGRESS): _REFUSED,
    (_S.FULFILLED, _V.RENEW): _REFUSED,
    (_S.FULFILLED, _V.RENEW_UNNAMED): _REFUSED,
    (_S.FULFILLED, _V.CANCEL): _same(_S.FULFILLED),
    (_S.FULFILLED, _V.HALT): _REFUSED,
    (_S.FULFILLED, _V.CONTINUE): _REFUSED,
    (_S.FULFILLED, _V.AWAITED_SETTLED): _same(_S.FULFILLED),
    (_S.FULFILLED, _V.LEASE_ENDED): _same(_S.FULFILLED),
    (_S.FULFILLED, _V.ATTEMPTS_SPENT): _REFUSED,
    (_S.FULFILLED, _V.DISPATCH_DUE): _same(_S.FULFILLED),
    (_S.FULFILLED, _V.PROMISE_SETTLED): _same(_S.FULFILLED),
}


class Lease(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Who takes a task, and for how long. `embedded` tells a worker inside the engine's own process."""

    pid: str
    ttl_ms: int
    embedded: bool = False


class Dispatch(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """When the engine looks at a pending task next (Unix milliseconds), and whether it is announced now."""

    timer_at: int
    send: bool


# What is asked for with every command: a member of an enum takes ten times as long to find.
_ACQUIRED, _KEEP = TaskState.ACQUIRED, Count.KEEP
_KEEP_TIMER, _NO_TIMER, _LEASE_TIMER = Timer.KEEP, Timer.NONE, Timer.LEASE

TIME_MS_MAX = 2**63 - 1
"""The last moment that a store can hold, and the largest version."""


def advance(
    task: Task,
    outcome: Outcome,
    now_ms: int,
    *,
    dispatch: Dispatch | None = None,
    lease: Lease | None = None,
    touch_ms: int = 0,
) -> Task:
    """Return the task after an outcome that is not a refusal.

    `dispatch` is required by Timer.DISPATCH, `lease` by an outcome that claims. That the holder lives is
    noted at most once in `touch_ms` milliseconds: its steps would else each write the task as well.
    """
    state, claims = outcome.state, outcome.claims
    if state is None:
        raise ValueError(f"task {task.id}: a refusal moves nothing")
    held = state is _ACQUIRED
    pid, ttl_ms, embedded = (task.pid, task.ttl_ms, task.embedded) if held else (None, None, False)
    if claims and lease is not None:
        pid, ttl_ms, embedded = lease.pid, lease.ttl_ms, lease.embedded
    return Task(
        id=task.id,
        state=state,
        version=task.version + claims,
        target=task.target,
        resumes=_counted(task.resumes, outcome.resumes),
        releases=_counted(task.releases, outcome.releases),
        attempts=_counted(task.attempts, outcome.attempts),
        pid=pid,
        ttl_ms=ttl_ms,
        embedded=embedded,
        timer_at=_timer(task, outcome.timer, now_ms, ttl_ms, dispatch),
        cancelled=task.cancelled or outcome.cancels,
        touched_at=_touched(task, outcome, now_ms, touch_ms) if held or claims else None,
        left_behind=task.left_behind if held and not claims else (),
    )


def _touched(task: Task, outcome: Outcome, now_ms: int, touch_ms: int) -> int | None:
    before = task.touched_at
    due = outcome.claims or before is None or now_ms - before >= touch_ms
    return now_ms if outcome.touches and due else before


def _counted(count: int, change: Count) -> int:
    if change is _KEEP:
        return count
    return count + 1 if change is Count.ADD else 0


def _timer(
    task: Task, timer: Timer, now_ms: int, ttl_ms: int | None, dispatch: Dispatch | None
) -> int | None:
    if timer is _KEEP_TIMER:
        return task.timer_at
    if timer is _NO_TIMER:
        return None
    if timer is _LEASE_TIMER:
        return min(now_ms + (ttl_ms or 0), TIME_MS_MAX)
    if dispatch is None:
        raise ValueError(f"task {task.id}: a dispatch needs its moment")
    return dispatch.timer_at


def fresh_task(promise: PromiseRecord) -> Task:
    """Return the task that a new promise with a target starts with; the caller dispatches or claims it.

    One that is settled from the start gets a task that is fulfilled already (T3).
    """
    state = TaskState.PENDING if promise.pending else TaskState.FULFILLED
    return Task(id=promise.id, state=state, version=0, target=promise.target or "")


def with_timer(task: Task, timer_at: int) -> Task:
    """Return a pending task that waits until `timer_at` (Unix milliseconds)."""
    return msgspec.structs.replace(task, timer_at=timer_at)
