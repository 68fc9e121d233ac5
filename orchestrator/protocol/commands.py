"""Every operation of the protocol as a typed command, and what it answers.

`Transport.call(command)` returns the command's answer type or raises `Refused`. Field names are the
wire's in camelCase; times are Unix milliseconds. The extensions at the end are not part of the published
protocol: they are used only where `Describe` is answered and lists them.
"""

from __future__ import annotations

import msgspec

from orchestrator.protocol.debugging import DebugReset, DebugSnap, DebugStart, DebugStop, DebugTick
from orchestrator.protocol.groups import GROUP_COMMANDS
from orchestrator.protocol.operations import Answer, Command, Empty
from orchestrator.protocol.records import PromiseRecord, PromiseState, TaskRecord, TaskState, Value
from orchestrator.protocol.schedules import (
    ScheduleCreate,
    ScheduleDelete,
    ScheduleGet,
    SchedulePause,
    ScheduleResume,
    ScheduleSearch,
)

__all__ = ["Answer", "Command", "Empty"]  # besides what is defined here


class PromiseAnswer(Answer, frozen=True):
    """One promise."""

    promise: PromiseRecord


class PromisePage(Answer, frozen=True):
    """A page of promises in order of id; `cursor` is absent on the last one."""

    promises: list[PromiseRecord]
    cursor: str | None = None


class TaskAnswer(Answer, frozen=True):
    """One task."""

    task: TaskRecord


class TaskPage(Answer, frozen=True):
    """A page of tasks in order of id; `cursor` is absent on the last one."""

    tasks: list[TaskRecord]
    cursor: str | None = None


class TaskClaim(Answer, frozen=True):
    """An acquired task (or a fulfilled one), its promise, and the recorded children to start from."""

    task: TaskRecord
    promise: PromiseRecord
    preload: list[PromiseRecord]


class SuspendAnswer(Answer, frozen=True):
    """Whether the task rests now. If not (status 300), `preload` holds what has settled meanwhile.

    `cancelled` (extension) tells that it does not rest because its promise is to end.
    """

    suspended: bool
    preload: list[PromiseRecord]
    cancelled: bool = False


class FenceAnswer(Answer, frozen=True):
    """What the fenced action answered: a promise, or None where it was not found.

    `cancelled` (extension) tells that the task's own promise is to end.
    """

    promise: PromiseRecord | None
    preload: list[PromiseRecord]
    cancelled: bool = False


# -- promises


class PromiseGet(Command[PromiseAnswer], frozen=True):
    """Read a promise. 404 if there is none."""

    KIND = "promise.get"
    id: str


class PromiseCreate(Command[PromiseAnswer], frozen=True):
    """Create a promise unless its id exists; the existing record is answered untouched (P2)."""

    KIND = "promise.create"
    id: str
    timeout_at: int
    param: Value = Value()
    tags: dict[str, str] = msgspec.field(default_factory=dict)


class PromiseSettle(Command[PromiseAnswer], frozen=True):
    """Settle a promise; one already settled is answered as it is (P1). 404 if there is none."""

    KIND = "promise.settle"
    id: str
    state: PromiseState
    value: Value = Value()


class PromiseRegisterCallback(Command[PromiseAnswer], frozen=True):
    """Wake the task `awaiter` when `awaited` settles. Answers the awaited promise."""

    KIND = "promise.register_callback"
    awaited: str
    awaiter: str


class PromiseRegisterListener(Command[PromiseAnswer], frozen=True):
    """Send the settled record to `address` when `awaited` settles. Answers the awaited promise."""

    KIND = "promise.register_listener"
    awaited: str
    address: str


class PromiseCancel(Command[PromiseAnswer], frozen=True):
    """Ask the workflow of a promise, and all that it called, to end (extension `cancel`).

    One that is settled is answered as it is. 404 if there is none, 422 if it has no task to be told.
    """

    KIND = "promise.cancel"
    id: str


class PromiseTerminate(Command[PromiseAnswer], frozen=True):
    """Settle a promise and all that it called as canceled, at once (extension `cancel`).

    One that is settled is answered as it is. 404 if there is none.
    """

    KIND = "promise.terminate"
    id: str


class PromiseSearch(Command[PromisePage], frozen=True):
    """List promises by state and exact tags; `limit` 1 to 1000, `cursor` from the page before."""

    KIND = "promise.search"
    state: PromiseState | None = None
    tags: dict[str, str] = msgspec.field(default_factory=dict)
    limit: int = 100
    cursor: str | None = None


# -- tasks


class TaskGet(Command[TaskAnswer], frozen=True):
    """Read a task. 404 if there is none."""

    KIND = "task.get"
    id: str


class TaskCreate(Command[TaskClaim], frozen=True):
    """Create a promise with a target and acquire its task in one step. 409 if another holds it."""

    KIND = "task.create"
    pid: str
    ttl: int
    action: PromiseCreate


class TaskAcquire(Command[TaskClaim], frozen=True):
    """Acquire a pending task at exactly this version; the answer's version is one higher (T1).

    With `bare` (extension) the claim carries no preload: the workflow is still in its worker's memory.
    """

    KIND = "task.acquire"
    id: str
    version: int
    pid: str
    ttl: int
    bare: bool = False


class TaskRelease(Command[Empty], frozen=True):
    """Give an acquired task back; it is dispatched again."""

    KIND = "task.release"
    id: str
    version: int


class TaskFulfill(Command[PromiseAnswer], frozen=True):
    """Settle the task's own promise under its fencing version."""

    KIND = "task.fulfill"
    id: str
    version: int
    action: PromiseSettle


class TaskSuspend(Command[SuspendAnswer], frozen=True):
    """Rest until one of the awaited promises settles; 300 if one already has.

    With `heeds` (extension) also 300 if the promise is to end, of which the holder has not heard yet.
    With `bare` (extension) 300 brings what was awaited and nothing else.
    """

    KIND = "task.suspend"
    id: str
    version: int
    actions: list[PromiseRegisterCallback]
    heeds: bool = False
    bare: bool = False


class TaskFence(Command[FenceAnswer], frozen=True):
    """Create, settle or record another promise under this task's fencing version (T2)."""

    KIND = "task.fence"
    id: str
    version: int
    action: PromiseCreate | PromiseSettle | PromiseRecordStep | PromiseProgress


class TaskReference(msgspec.Struct, frozen=True, kw_only=True):
    """A task at a version."""

    id: str
    version: int


class TaskHeartbeat(Command["HeartbeatAnswer"], frozen=True):
    """Renew the leases of these tasks of `pid`; an empty list renews all of them."""

    KIND = "task.heartbeat"
    pid: str
    tasks: list[TaskReference] = msgspec.field(default_factory=list)


class HeartbeatAnswer(Answer, frozen=True):
    """`lost` (extension) names the tasks that this pid no longer holds at the version it named.

    `cancelled` (extension) names those that it holds and that are to end.
    """

    lost: list[str] = msgspec.field(default_factory=list)
    cancelled: list[str] = msgspec.field(default_factory=list)


class TaskHalt(Command[Empty], frozen=True):
    """Stop a task until it is continued."""

    KIND = "task.halt"
    id: str


class TaskContinue(Command[Empty], frozen=True):
    """Dispatch a halted task again."""

    KIND = "task.continue"
    id: str


class TaskSearch(Command[TaskPage], frozen=True):
    """List tasks by state; `limit` 1 to 1000, `cursor` from the page before."""

    KIND = "task.search"
    state: TaskState | None = None
    limit: int = 100
    cursor: str | None = None


# -- extensions

EXTENSION_RECORD_STEP = "record-step"
"""`task.fence` accepts `promise.record`: a step created and settled in one write."""
EXTENSION_EXTERNAL_AWAIT = "external-await"
"""A task may await a promise of another origin that is tagged `resonate:external=true`."""
EXTENSION_CHILDREN_PRELOAD = "children-preload"
"""The preload of a claim holds all direct children, remote ones too, and 300 what was awaited."""
EXTENSION_SCHEDULE_OPTIONS = "schedule-options"
"""`schedule.create` accepts `timeZone` and `catchUp`; `schedule.pause` and `schedule.resume` are there."""
EXTENSION_CANCEL = "cancel"
"""`promise.cancel` and `promise.terminate` are there; answers to a task's holder say that it is cancelled."""
EXTENSION_PROGRESS = "progress"
"""`task.fence` accepts `promise.progress`, also of the task's own promise: the value of an open promise."""
EXTENSION_BARE_CLAIM = "bare-claim"
"""`task.acquire` and `task.suspend` accept `bare`: no preload for a worker that remembers the workflow."""
EXTENSION_GROUP_LIMITS = "group-limits"
"""`group.get`, `set`, `pause`, `resume` and `search`: tasks of a group wait while its limits are reached."""
EXTENSION_TASK_PRIORITY = "task-priority"
"""The tag `resonate:priority` orders the tasks that wait for a limited group."""
EXTENSION_DEAD_LETTERS = "dead-letters"
"""The tag `resonate:attempts` and a group's `attempts` cap fruitless attempts; `task.dead` lists the dead."""
EXTENSION_FORGET = "forget"
"""`promise.record` accepts `forgets`: descendants that a workflow needs no more."""
EXTENSION_BUNDLE = "bundle"
"""`POST /bundle` takes several requests, one a line, and answers each on a line of its own."""
EXTENSION_CHANNEL = "channel"
"""`GET /channel` is a WebSocket on which requests come as lines, and answers as each of them is ready."""
EXTENSIONS = (
    EXTENSION_RECORD_STEP,
    EXTENSION_EXTERNAL_AWAIT,
    EXTENSION_CHILDREN_PRELOAD,
    EXTENSION_SCHEDULE_OPTIONS,
    EXTENSION_CANCEL,
    EXTENSION_PROGRESS,
    EXTENSION_BARE_CLAIM,
    EXTENSION_GROUP_LIMITS,
    EXTENSION_TASK_PRIORITY,
    EXTENSION_DEAD_LETTERS,
    EXTENSION_FORGET,
    EXTENSION_BUNDLE,
    EXTENSION_CHANNEL,
)


class PromiseRecordStep(Command[PromiseAnswer], frozen=True):
    """Write a promise that is settled from the start; one that is pending is settled, one settled stays.

    `forgets` (extension `forget`) are settled descendants of the fencing task's promise that go in the same
    write; evidence and what was settled from outside stay, whatever is asked.
    """

    KIND = "promise.record"
    id: str
    timeout_at: int
    created_at: int
    state: PromiseState
    param: Value = Value()
    value: Value = Value()
    tags: dict[str, str] = msgspec.field(default_factory=dict)
    forgets: list[str] = msgspec.field(default_factory=list)


class PromiseProgress(Command[PromiseAnswer], frozen=True):
    """Note in an open promise's value how far it has come; one settled is answered as it is (P1)."""

    KIND = "promise.progress"
    id: str
    value: Value = Value()


class DescribeAnswer(Answer, frozen=True):
    """What this engine offers beyond the published protocol."""

    extensions: list[str]


class Describe(Command[DescribeAnswer], frozen=True):
    """Ask for the extensions; a server that does not know the operation answers 400 and has none."""

    KIND = "server.describe"


COMMANDS: dict[str, type[Command[Answer]]] = {
    command.KIND: command
    for command in (
        PromiseGet,
        PromiseCreate,
        PromiseSettle,
        PromiseRegisterCallback,
        PromiseRegisterListener,
        PromiseSearch,
        PromiseCancel,
        PromiseTerminate,
        TaskGet,
        TaskCreate,
        TaskAcquire,
        TaskRelease,
        TaskFulfill,
        TaskSuspend,
        TaskFence,
        TaskHeartbeat,
        TaskHalt,
        TaskContinue,
        TaskSearch,
        ScheduleGet,
        ScheduleCreate,
        ScheduleDelete,
        ScheduleSearch,
        SchedulePause,
        ScheduleResume,
        DebugStart,
        DebugStop,
        DebugReset,
        DebugTick,
        DebugSnap,
        Describe,
    )
} | {command.KIND: command for command in GROUP_COMMANDS}
"""The operations that an endpoint accepts, by kind."""
