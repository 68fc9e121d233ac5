from itertools import product

import pytest

from orchestrator.domain.promise import PromiseRecord, PromiseState, Value
from orchestrator.domain.task import Task, TaskState
from orchestrator.domain.transitions import (
    FENCED,
    PROMISE_TRANSITIONS,
    TASK_TRANSITIONS,
    Dispatch,
    Lease,
    PromiseEvent,
    TaskEvent,
    Timer,
    advance,
    expire,
    settle,
)


def test_every_promise_pair_stands_in_the_table() -> None:
    assert set(PROMISE_TRANSITIONS) == set(product(PromiseState, PromiseEvent))


def test_every_task_pair_stands_in_the_table() -> None:
    assert set(TASK_TRANSITIONS) == set(product(TaskState, TaskEvent))


def test_p1_settled_promises_lead_to_themselves() -> None:
    for (state, _), after in PROMISE_TRANSITIONS.items():
        assert (after is state) == (state is not PromiseState.PENDING)


def test_t1_only_claims_raise_the_version_and_only_from_pending() -> None:
    claims = {pair for pair, outcome in TASK_TRANSITIONS.items() if outcome.claims}
    assert claims == {(TaskState.PENDING, TaskEvent.CLAIM), (TaskState.PENDING, TaskEvent.ACQUIRE)}


def test_t3_a_settled_promise_fulfils_every_task() -> None:
    for state in TaskState:
        assert TASK_TRANSITIONS[state, TaskEvent.PROMISE_SETTLED].state is TaskState.FULFILLED


def test_t5_whoever_may_not_rest_has_a_timer_and_whoever_rests_has_none() -> None:
    timed = {TaskState.PENDING, TaskState.ACQUIRED}
    for (state, event), outcome in TASK_TRANSITIONS.items():
        if outcome.state is None or outcome.state is state:
            continue
        assert (outcome.timer in (Timer.LEASE, Timer.DISPATCH)) == (outcome.state in timed), (state, event)


def test_a_fulfilled_task_never_leaves() -> None:
    for event in TaskEvent:
        assert TASK_TRANSITIONS[TaskState.FULFILLED, event].state in (None, TaskState.FULFILLED)


def test_events_of_a_worker_are_refused_unless_the_task_is_held() -> None:
    for event in FENCED - {TaskEvent.ACQUIRE}:
        for state in set(TaskState) - {TaskState.ACQUIRED}:
            assert TASK_TRANSITIONS[state, event].state is None


def _promise(**changes: object) -> PromiseRecord:
    fields: dict[str, object] = {
        "id": "p",
        "state": PromiseState.PENDING,
        "param": Value(),
        "value": Value(),
        "tags": {},
        "timeout_at": 100,
        "created_at": 1,
    }
    return PromiseRecord(**{**fields, **changes})  # type: ignore[arg-type]


def test_a_deadline_settles_at_the_deadline() -> None:
    late = expire(_promise())
    assert (late.state, late.settled_at) == (PromiseState.REJECTED_TIMEDOUT, 100)
    timer = expire(_promise(tags={"resonate:timer": "true"}))
    assert (timer.state, timer.settled_at, timer.value) == (PromiseState.RESOLVED, 100, Value())


def test_settling_twice_changes_nothing() -> None:
    once = settle(_promise(), PromiseState.RESOLVED, Value(data="a"), 7)
    assert once.settled_at == 7
    assert settle(once, PromiseState.REJECTED, Value(data="b"), 8) is once
    assert expire(once) is once


def test_claiming_takes_the_lease_and_leaving_forgets_it() -> None:
    waiting = Task(id="t", state=TaskState.PENDING, version=3, target="poll://any@g", resumes=2, timer_at=9)
    lease = Lease(pid="w", ttl_ms=10, embedded=True)
    held = advance(waiting, TASK_TRANSITIONS[waiting.state, TaskEvent.ACQUIRE], 5, lease=lease)
    assert (held.version, held.pid, held.ttl_ms, held.timer_at) == (4, "w", 10, 15)
    assert (held.resumes, held.embedded) == (0, True)
    outcome = TASK_TRANSITIONS[held.state, TaskEvent.RELEASE]
    back = advance(held, outcome, 6, dispatch=Dispatch(timer_at=36, send=True))
    assert (back.version, back.pid, back.ttl_ms, back.embedded) == (4, None, None, False)
    assert (back.releases, back.timer_at) == (1, 36)


def test_a_lease_never_ends_beyond_what_a_store_can_hold() -> None:
    waiting = Task(id="t", state=TaskState.PENDING, version=0, target="poll://any@g")
    lease = Lease(pid="w", ttl_ms=2**53)
    held = advance(waiting, TASK_TRANSITIONS[waiting.state, TaskEvent.ACQUIRE], 2**63 - 2, lease=lease)
    assert held.timer_at == 2**63 - 1


def test_a_refusal_and_a_dispatch_without_a_moment_are_faults_of_the_caller() -> None:
    task = Task(id="t", state=TaskState.HALTED, version=0, target="poll://any@g")
    with pytest.raises(ValueError, match="refusal"):
        advance(task, TASK_TRANSITIONS[task.state, TaskEvent.ACQUIRE], 1)
    with pytest.raises(ValueError, match="moment"):
        advance(task, TASK_TRANSITIONS[task.state, TaskEvent.CONTINUE], 1)
