"""The envelope: every command and answer survives the wire, and bad requests are told why."""

import subprocess
import sys

import msgspec
import pytest

from orchestrator.domain.errors import Refused
from orchestrator.domain.group import DeadLetter, DeathReason
from orchestrator.domain.schedule import CatchUp, Schedule
from orchestrator.protocol import commands as c
from orchestrator.protocol import debugging as d
from orchestrator.protocol import envelope
from orchestrator.protocol import groups as g
from orchestrator.protocol import schedules as s
from orchestrator.protocol.messages import Execute, Unblock
from orchestrator.protocol.records import PromiseRecord, PromiseState, TaskRecord, TaskState, Value

PROMISE = PromiseRecord(
    id="a:1", state=PromiseState.PENDING, param=Value(data="e30="), value=Value(), tags={"k": "v"},
    timeout_at=2**53, created_at=1,
)  # fmt: skip
TASK = TaskRecord(id="a", state=TaskState.ACQUIRED, version=3, resumes=0, ttl=10_000, pid="p")
CREATE = c.PromiseCreate(id="a:1", timeout_at=5, param=Value(headers={"h": "1"}, data="x"), tags={"t": "u"})
SETTLE = c.PromiseSettle(id="a", state=PromiseState.RESOLVED, value=Value(data="v"))
STEP = c.PromiseRecordStep(id="a:2", timeout_at=9, created_at=3, state=PromiseState.REJECTED)

NIGHTLY = s.ScheduleCreate(
    id="s",
    cron="0 0 * * *",
    promise_id="{{.id}}-{{.timestamp}}",
    promise_timeout=5,
    time_zone="Europe/Vienna",
)
SCHEDULE = Schedule(
    id="s", cron="0 0 * * *", promise_id="{{.id}}-{{.timestamp}}", promise_timeout=5, promise_param=Value(),
    promise_tags={"k": "v"}, created_at=1, next_run_at=2, last_run_at=1, catch_up=CatchUp.LAST, paused=True,
)  # fmt: skip
SNAPSHOT = d.DebugSnapAnswer(
    promises=[PROMISE],
    promise_timeouts=[d.DebugTimeout(id="a:1", timeout=2**53)],
    callbacks=[d.DebugCallback(awaiter="a", awaited="a:1")],
    listeners=[d.DebugListener(id="a:1", address="poll://any@g")],
    tasks=[TASK],
    task_timeouts=[d.DebugTaskTimeout(id="a", type=1, timeout=9)],
    messages=[d.DebugMessage(address="poll://any@g", message={"kind": "execute", "head": {}, "data": {}})],
)

LIMITED = g.GroupRecord(id="g", concurrency=1, paused=True, acquired=1, waiting=0)
DEAD = DeadLetter(id="a", group="g", version=3, attempts=2, reason=DeathReason.RELEASED, died_at=5)
EXCHANGES: list[tuple[c.Command, c.Answer]] = [
    (c.PromiseGet(id="a"), c.PromiseAnswer(promise=PROMISE)),
    (CREATE, c.PromiseAnswer(promise=PROMISE)),
    (SETTLE, c.PromiseAnswer(promise=PROMISE)),
    (c.PromiseCancel(id="a"), c.PromiseAnswer(promise=PROMISE)),
    (c.PromiseTerminate(id="a"), c.PromiseAnswer(promise=PROMISE)),
    (c.PromiseRegisterCallback(awaited="b", awaiter="a"), c.PromiseAnswer(promise=PROMISE)),
    (c.PromiseRegisterListener(awaited="b", address="poll://uni@g/p"), c.PromiseAnswer(promise=PROMISE)),
    (c.PromiseSearch(tags={"a": "b"}), c.PromisePage(promises=[PROMISE], cursor="a:1")),
    (c.TaskGet(id="a"), c.TaskAnswer(task=TASK)),
    (c.TaskCreate(pid="p", ttl=10, action=CREATE), c.TaskClaim(task=TASK, promise=PROMISE, preload=[])),
    (
        c.TaskAcquire(id="a", version=2, pid="p", ttl=10),
        c.TaskClaim(task=TASK, promise=PROMISE, preload=[PROMISE]),
    ),
    (c.TaskRelease(id="a", version=2), c.Empty()),
    (c.TaskFulfill(id="a", version=2, action=SETTLE), c.PromiseAnswer(promise=PROMISE)),
    (
        c.TaskSuspend(id="a", version=2, actions=[c.PromiseRegisterCallback(awaited="b", awaiter="a")]),
        c.SuspendAnswer(suspended=True, preload=[]),
    ),
    (
        c.TaskSuspend(id="a", version=2, actions=[c.PromiseRegisterCallback(awaited="b", awaiter="a")]),
        c.SuspendAnswer(suspended=False, preload=[PROMISE]),
    ),
    (
        c.TaskSuspend(
            id="a", version=2, heeds=True, actions=[c.PromiseRegisterCallback(awaited="b", awaiter="a")]
        ),
        c.SuspendAnswer(suspended=False, preload=[], cancelled=True),
    ),
    (c.TaskFence(id="a", version=2, action=CREATE), c.FenceAnswer(promise=PROMISE, preload=[])),
    (
        c.TaskFence(id="a", version=2, action=CREATE),
        c.FenceAnswer(promise=PROMISE, preload=[], cancelled=True),
    ),
    (c.TaskFence(id="a", version=2, action=SETTLE), c.FenceAnswer(promise=None, preload=[])),
    (c.TaskFence(id="a", version=2, action=STEP), c.FenceAnswer(promise=PROMISE, preload=[])),
    (c.TaskHeartbeat(pid="p", tasks=[c.TaskReference(id="a", version=1)]), c.HeartbeatAnswer(lost=["a"])),
    (
        c.TaskHeartbeat(pid="p", tasks=[c.TaskReference(id="a", version=1)]),
        c.HeartbeatAnswer(cancelled=["a"]),
    ),
    (c.TaskHalt(id="a"), c.Empty()),
    (c.TaskContinue(id="a"), c.Empty()),
    (c.TaskSearch(state=TaskState.PENDING), c.TaskPage(tasks=[TASK])),
    (s.ScheduleGet(id="s"), s.ScheduleAnswer(schedule=SCHEDULE)),
    (NIGHTLY, s.ScheduleAnswer(schedule=SCHEDULE)),
    (s.ScheduleDelete(id="s"), c.Empty()),
    (s.ScheduleSearch(tags={"a": "b"}), s.SchedulePage(schedules=[SCHEDULE], cursor="s")),
    (s.SchedulePause(id="s"), s.ScheduleAnswer(schedule=SCHEDULE)),
    (s.ScheduleResume(id="s"), s.ScheduleAnswer(schedule=SCHEDULE)),
    (g.GroupGet(id="g"), g.GroupAnswer(group=g.GroupRecord(id="g"))),
    (g.GroupSet(id="g", concurrency=1, rate=None, period=None), g.GroupAnswer(group=LIMITED)),
    (g.GroupPause(id="g"), g.GroupAnswer(group=LIMITED)),
    (g.GroupResume(id="g"), g.GroupAnswer(group=LIMITED)),
    (g.GroupSearch(cursor="f"), g.GroupPage(groups=[LIMITED], cursor="g")),
    (g.TaskDead(group="g"), g.DeadPage(tasks=[DEAD])),
    (d.DebugStart(), c.Empty()),
    (d.DebugStop(), c.Empty()),
    (d.DebugReset(), c.Empty()),
    (d.DebugTick(time=5), d.DebugTickAnswer()),
    (d.DebugSnap(), SNAPSHOT),
    (c.Describe(), c.DescribeAnswer(extensions=["x"])),
]


@pytest.mark.parametrize(("command", "answer"), EXCHANGES, ids=lambda value: type(value).__name__)
def test_a_command_and_its_answer_survive_the_wire(command: c.Command, answer: c.Answer) -> None:
    request = envelope.decode_request(envelope.encode_request(command, "7", auth="token"))
    assert request.command == command
    assert (request.head.corr_id, request.head.auth) == ("7", "token")
    status, body = envelope.encode_answer(command, "7", answer)
    assert status == (300 if isinstance(answer, c.SuspendAnswer) and not answer.suspended else 200)
    assert envelope.decode_answer(command, body) == answer


def test_every_command_is_exchanged_here() -> None:
    assert {command.KIND for command, _ in EXCHANGES} == set(c.COMMANDS)


def test_absent_values_are_omitted_and_empty_lists_are_not() -> None:
    _, body = envelope.encode_answer(
        c.TaskAcquire(id="a", version=0, pid="p", ttl=1),
        "1",
        c.TaskClaim(task=TASK, promise=PROMISE, preload=[]),
    )
    data = msgspec.json.decode(body)["data"]
    assert data["preload"] == []
    assert data["promise"]["value"] == {}
    assert "settledAt" not in data["promise"]


def test_a_refusal_carries_status_and_text() -> None:
    body = envelope.encode_refusal("task.acquire", "9", Refused(409, "Task is not pending"))
    with pytest.raises(Refused, match="not pending") as caught:
        envelope.decode_answer(c.TaskAcquire(id="a", version=0, pid="p", ttl=1), body)
    assert caught.value.status == 409


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"not json", "Invalid request"),
        (b"[]", "Invalid request"),
        (b'{"kind":"","head":{"corrId":"1","version":"2026-04-01"},"data":{}}', "kind is empty"),
        (b'{"kind":"promise.get","head":{"corrId":"1","version":"1"},"data":{}}', "Unsupported version"),
        (b'{"kind":"no.such","head":{"corrId":"1","version":"2026-04-01"},"data":{}}', "Unknown operation"),
        (b'{"kind":"promise.get","head":{"corrId":"1","version":"2026-04-01"},"data":{"id":1}}', "id"),
        (b'{"kind":"promise.get","head":{"corrId":"1","version":"2026-04-01"},"data":[]}', "promise.get"),
        (
            b'{"kind":"task.fence","head":{"corrId":"1","version":"2026-04-01"},'
            b'"data":{"id":"a","version":1,"action":{"kind":"promise.get","data":{}}}}',
            "cannot be fenced",
        ),
        (b"\xff\xfe", "Invalid request"),
    ],
)  # fmt: skip
def test_a_bad_request_is_refused_with_its_reason(body: bytes, reason: str) -> None:
    with pytest.raises(Refused, match=reason) as caught:
        envelope.decode_request(body)
    assert caught.value.status == 400
    assert all(isinstance(part, str) for part in envelope.recover(body))


def test_messages_survive_the_wire_and_unknown_kinds_are_passed_over() -> None:
    for message in (Execute(task=c.TaskReference(id="a", version=4)), Unblock(promise=PROMISE)):
        assert envelope.decode_message(envelope.encode_message(message)) == message
    assert envelope.decode_message(b'{"kind":"news","head":{},"data":{}}') is None


@pytest.mark.parametrize("limit", [1_000, 100_000])
def test_a_deeply_nested_request_is_refused_whatever_the_recursion_limit(limit: int) -> None:
    before = sys.getrecursionlimit()
    body = b'{"kind":"promise.get","head":{"corrId":"1","version":"2026-04-01"},"data":' + b"[" * 200_000
    try:
        sys.setrecursionlimit(limit)
        with pytest.raises(Refused, match="nested deeper than 64"):
            envelope.decode_request(body)
        assert envelope.recover(body) == ("unknown", "0")
    finally:
        sys.setrecursionlimit(before)


def test_brackets_in_strings_do_not_nest() -> None:
    command = c.PromiseGet(id='"[{' * 100)
    assert envelope.decode_request(envelope.encode_request(command, "1")).command == command


def test_the_command_line_leaves_the_recursion_limit_alone() -> None:
    program = (
        "from sys import getrecursionlimit as now; was = now(); import scorers.cli.up; assert now() == was"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
