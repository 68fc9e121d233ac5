"""A token with a prefix reaches nothing outside of it, wherever in an operation the id stands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from orchestrator.domain.errors import Refused
from orchestrator.domain.promise import PromiseState
from orchestrator.protocol import commands as c
from orchestrator.protocol import groups as g
from orchestrator.protocol import schedules as s
from orchestrator.server.auth_identity import EVERYBODY, Identity
from orchestrator.server.auth_scope import TOUCHED, authorize

PREFIX = "team-a-"
TEAM = Identity(prefix=PREFIX)
LINEAGE = {f"resonate:{name}": f"{PREFIX}1" for name in ("origin", "branch", "parent", "prefix")}
CREATE = c.PromiseCreate(id=f"{PREFIX}1:1", timeout_at=1, tags={"resonate:target": "poll://any@g"} | LINEAGE)
SETTLE = c.PromiseSettle(id=f"{PREFIX}1:2", state=PromiseState.RESOLVED)
RECORD = c.PromiseRecordStep(
    id=f"{PREFIX}1:3", timeout_at=1, created_at=1, state=PromiseState.RESOLVED, tags=LINEAGE
)
CALLBACK = c.PromiseRegisterCallback(awaited=f"{PREFIX}2", awaiter=f"{PREFIX}1")
REFERENCES = [c.TaskReference(id=f"{PREFIX}{number}", version=1) for number in range(3)]
SAMPLES: list[c.Command[Any]] = [
    c.PromiseGet(id=f"{PREFIX}1"),
    c.PromiseSearch(tags={"team-b-": "x", "resonate:origin": f"{PREFIX}1"}),
    c.PromiseSearch(tags=LINEAGE),
    CREATE,
    SETTLE,
    c.PromiseCancel(id=f"{PREFIX}1"),
    c.PromiseTerminate(id=f"{PREFIX}1"),
    CALLBACK,
    c.PromiseRegisterListener(awaited=f"{PREFIX}1", address="poll://any@g"),
    c.TaskGet(id=f"{PREFIX}1"),
    c.TaskCreate(pid="p", ttl=1, action=CREATE),
    c.TaskAcquire(id=f"{PREFIX}1", version=0, pid="p", ttl=1),
    c.TaskRelease(id=f"{PREFIX}1", version=1),
    c.TaskFulfill(id=f"{PREFIX}1:2", version=1, action=SETTLE),
    c.TaskSuspend(id=f"{PREFIX}1", version=1, actions=[CALLBACK, CALLBACK]),
    c.TaskFence(id=f"{PREFIX}1", version=1, action=CREATE),
    c.TaskFence(id=f"{PREFIX}1", version=1, action=c.PromiseProgress(id=f"{PREFIX}1:1")),
    c.TaskFence(id=f"{PREFIX}1", version=1, action=SETTLE),
    c.TaskFence(id=f"{PREFIX}1", version=1, action=RECORD),
    c.TaskHeartbeat(pid="p", tasks=REFERENCES),
    c.TaskHalt(id=f"{PREFIX}1"),
    c.TaskContinue(id=f"{PREFIX}1"),
    s.ScheduleGet(id=f"{PREFIX}1"),
    s.ScheduleCreate(
        id=f"{PREFIX}1", cron="* * * * *", promise_id=f"{PREFIX}1-{{{{.timestamp}}}}", promise_timeout=1
    ),
    s.ScheduleDelete(id=f"{PREFIX}1"),
    s.SchedulePause(id=f"{PREFIX}1"),
    s.ScheduleResume(id=f"{PREFIX}1"),
]
GROUPS: list[c.Command[Any]] = [
    g.GroupGet(id=f"{PREFIX}g"),
    g.GroupSet(id=f"{PREFIX}g", concurrency=1),
    g.GroupPause(id=f"{PREFIX}g"),
    g.GroupResume(id=f"{PREFIX}g"),
    g.GroupSearch(),
    g.TaskDead(group=f"{PREFIX}g"),
]
"""A group holds everybody's tasks, whatever its name."""
WITHOUT_IDS = (c.Describe,)


def strangers(value: Any, foreign: str) -> Iterator[Any]:
    """Yield copies of a value in which one id each belongs to somebody else."""
    if isinstance(value, str):
        if value.startswith(PREFIX):
            yield foreign
    elif isinstance(value, list):
        for index, item in enumerate(value):
            for changed in strangers(item, foreign):
                yield [*value[:index], changed, *value[index + 1 :]]
    elif isinstance(value, dict):
        for key, item in value.items():
            for changed in strangers(item, foreign):
                yield value | {key: changed}
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            for changed in strangers(getattr(value, name), foreign):
                yield msgspec.structs.replace(value, **{name: changed})


@pytest.mark.parametrize("command", SAMPLES, ids=lambda command: command.KIND)
@pytest.mark.parametrize("foreign", ["team-b-1", "team-a", "TEAM-A-1", "", " team-a-1", "x-team-a-1"])
def test_every_id_of_an_operation_is_held_against_the_prefix(command: c.Command[Any], foreign: str) -> None:
    authorize(TEAM, command)
    changed = list(strangers(command, foreign))
    assert changed
    for each in changed:
        with pytest.raises(Refused) as caught:
            authorize(TEAM, each)
        assert caught.value.status == 403
        authorize(EVERYBODY, each)


@pytest.mark.parametrize(
    "command",
    [
        c.PromiseSearch(),
        c.PromiseSearch(tags={"a": f"{PREFIX}1"}),
        c.TaskSearch(),
        s.ScheduleSearch(),
        *GROUPS,
    ],
)
def test_a_search_is_not_for_a_prefix(command: c.Command[Any]) -> None:
    with pytest.raises(Refused, match="prefix") as caught:
        authorize(TEAM, command)
    assert caught.value.status == 403
    authorize(EVERYBODY, command)


def test_every_operation_in_the_table_is_tried_above() -> None:
    tried = {type(command) for command in SAMPLES} | set(WITHOUT_IDS)
    assert set(TOUCHED) == tried, "add a sample of the operation to SAMPLES"


@pytest.mark.parametrize("template", ["{{.timestamp}}", "{{.timestamp}}-{{.id}}"])
def test_a_prefix_of_digits_opens_no_schedule_whose_runs_begin_with_their_time(template: str) -> None:
    command = s.ScheduleCreate(id="0-1", cron="* * * * *", promise_id=template, promise_timeout=1)
    for prefix in ("0", "1"):
        with pytest.raises(Refused):
            authorize(Identity(prefix=prefix), command)
