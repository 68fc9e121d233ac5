"""The port between the engine and its stores.

A *program* is a generator that yields typed queries and is sent their rows; a store drives it inside one
transaction and rolls back when it raises. The program does no I/O, so the same decisions run on a thread
that owns SQLite, inline over dictionaries, or between the awaits of a network driver, which may start the
program again from its beginning.

Contract of every store: what a program wrote is durable before `run` returns; a query after a Write sees
it; ids compare by code point; two programs never interleave on the same promises.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from orchestrator.domain.ending import TreeEnding
from orchestrator.domain.promise import PromiseRecord, PromiseState
from orchestrator.domain.queueing import Place
from orchestrator.domain.schedule import Schedule
from orchestrator.domain.task import Task, TaskState
from orchestrator.store.group_changes import GroupChanges

T = TypeVar("T")
RowsT = TypeVar("RowsT", covariant=True)

Row = tuple[PromiseRecord, Task | None]
"""A promise with its task, if it has one."""


class Query(Generic[RowsT]):
    """What a program may ask of its store; RowsT is what it is sent back."""

    __slots__ = ()


Program = Generator[Query[Any], Any, T]
"""Yields queries, is sent their rows, returns T. `ask` gives each exchange its type."""


def ask(query: Query[T]) -> Generator[Query[Any], Any, T]:
    """Put one query and return its rows, typed; used with `yield from`."""
    rows: T = yield query
    return rows


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadRows(Query[list[Row]]):
    """The promises of these ids that exist, in no order.

    `settling`: of which LoadChain will most likely be asked, so that a store may load both at once;
    `preloading`: of which LoadPreloads. `new`: most likely none of them exists, so that a store may write
    first and look then.
    """

    ids: list[str]
    settling: list[str] = field(default_factory=list)
    preloading: list[str] = field(default_factory=list)
    new: bool = False


class Fence(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A task as it must be for a write of its holder to move nothing else.

    Acquired at this version, not asked to end, no releases counted, its holder noted to live within the last
    `touch_ms` milliseconds, its own promise open.
    """

    task_id: str
    version: int
    touch_ms: int


BORN_NOW = 2**63 - 1
"""The birth of a promise that begins when it is added."""


class Insert(Query[PromiseRecord | None], msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Add a promise without a task by one statement of its own, if nothing stands against it.

    `made` gives its record at a moment (Unix milliseconds): pending since then, or settled then and created
    at `born_ms` or then, whichever is earlier. With a `fence` it is added only while that holds.

    Only the first query of a program, which is answered with the record and then asks nothing more; it is
    durable already. Or with None: a promise of that id exists, the fence does not hold, or the store would
    rather not. Then nothing has happened, and the program goes on as if it had not asked.
    """

    made: Callable[[int], PromiseRecord]
    promise_id: str
    timeout_at: int
    born_ms: int = BORN_NOW
    fence: Fence | None = None


class InsertAll(Query[list[PromiseRecord | None] | None], msgspec.Struct, frozen=True, kw_only=True):
    """Add promises, one after the other, each as `Insert` says; part of the program's transaction.

    Only the first query of a program, which goes on whatever it is answered: a record for each, or None where
    nothing has happened; None for all, without calling `inserts`, by a store that would not save by it.
    """

    inserts: Callable[[], list[Insert]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """Who waits for some promises. Callbacks are (awaited, awaiter), listeners (promise id, address)."""

    callbacks: list[tuple[str, str]]
    awaiters: list[Row]
    listeners: list[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadChain(Query[Chain]):
    """Callbacks, their awaiters, and listeners of these promises; each in order of its columns."""

    ids: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPreloads(Query[dict[str, list[PromiseRecord]]]):
    """For each (id, branch): promises of that branch and children of that id, at most `limit`, by id.

    The promise itself is not among them.
    """

    keys: list[tuple[str, str]]
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadHeld(Query[list[Row]]):
    """The acquired tasks of these pids."""

    pids: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadEmbedded(Query[list[Row]]):
    """At most `limit` acquired tasks whose holder lived inside the engine's process."""

    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """A task with a timer; `unannounced` if it is pending and the outbox holds nothing of it.

    `queued_at`: since when its announcement lies in the outbox (Unix milliseconds), None if there is none.
    """

    timer_at: int
    task_id: str
    unannounced: bool
    queued_at: int | None


BEFORE_ALL = (-1, "")
"""Comes before the (timer, id) of every task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadTimed(Query[list[Timed]]):
    """At most `limit` tasks by (timer, id) behind `after`, whose timer ends by `until_ms`."""

    after: tuple[int, str]
    until_ms: int
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadDue(Query[list[str]]):
    """Ids of promises and tasks whose moment has come by `now_ms`, the longest overdue first.

    At most `limit` promises and `limit` tasks; an id may come twice.
    """

    now_ms: int
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadDeadline(Query[int | None]):
    """The earliest moment (Unix milliseconds) at which anything falls due, or None.

    That is a promise, a task, a schedule, or a tree that was to be ended.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    """A page in order of id. `cursor` continues behind it; None when there is no more."""

    items: list[T]
    cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchPromises(Query[Page[PromiseRecord]]):
    """Promises by state and exact tags behind `cursor`, at most `limit`.

    At most `scan_max` candidates are read, so that a page may be short, even empty, and still have a
    cursor.
    """

    state: PromiseState | None
    tags: dict[str, str]
    limit: int
    cursor: str | None
    scan_max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchTasks(Query[Page[Task]]):
    """Tasks by state behind `cursor`, at most `limit`; bounded by `scan_max` as SearchPromises is."""

    state: TaskState | None
    limit: int
    cursor: str | None
    scan_max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSchedules(Query[list[Schedule]]):
    """The schedules of these ids that exist, in no order."""

    ids: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadDueSchedules(Query[list[str]]):
    """Ids of at most `limit` schedules that run and are due by `now_ms`, the longest overdue first."""

    now_ms: int
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSchedules(Query[Page[Schedule]]):
    """Schedules by exact promise tags behind `cursor`; bounded by `scan_max` as SearchPromises is."""

    tags: dict[str, str]
    limit: int
    cursor: str | None
    scan_max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedExecute:
    """An announcement of a task at a version. `group` is the poll group of its address, None for a push."""

    task_id: str
    version: int
    address: str
    group: str | None
    queued_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedUnblock:
    """A settled promise to be told to an address."""

    promise_id: str
    address: str
    group: str | None
    queued_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outbox:
    """A page of what waits to be sent. Cursors continue behind it; `more` tells that there is more."""

    executes: list[QueuedExecute]
    unblocks: list[tuple[QueuedUnblock, PromiseRecord]]
    more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOutbox(Query[Outbox]):
    """What waits for a group (None: for pushes) behind these keys, in order of key, at most `limit` each."""

    group: str | None
    after_task: str
    after_unblock: tuple[str, str]
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauges:
    """Counts for the metrics endpoint. `tasks` leaves out the fulfilled ones, which only grow.

    `tasks` are by state and target. `waiting_since` tells, by target, since when (Unix milliseconds) the
    oldest task has been due that nobody has ever taken; timers are not among them. `counted_at` is the
    moment of the count. `dead` letters are by group, `places` of limited groups' tasks by group and place.
    """

    counted_at: int
    tasks: dict[tuple[TaskState, str], int]
    waiting_since: dict[str, int]
    outbox_executes: int
    outbox_unblocks: int
    promises_pending: int
    dead: dict[str, int] = field(default_factory=dict)
    places: dict[tuple[str, Place], int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadGauges(Query[Gauges]):
    """Count what is open at `now_ms`."""

    now_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadGroups(Query[list[str | None]]):
    """The groups for which anything waits in the outbox (None: pushes); reads all of it, for debugging."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clear(Query[None]):
    """Remove everything, for debugging."""


class Changes(msgspec.Struct, kw_only=True):
    """What a program wants written, as lists of rows. Applied in the order of the fields.

    `sent` rows are removed only if they were queued no later than what was sent. Promises that are removed
    are settled: nobody waits for them, and their tasks and news go with them. `grouping` is
    written before announcements are.
    """

    executes_sent: list[tuple[str, int]] = []
    unblocks_sent: list[tuple[str, str]] = []
    unblocks_before: int | None = None
    promises_created: list[PromiseRecord] = []
    promises_settled: list[PromiseRecord] = []
    tasks: list[Task] = []
    callbacks_of_awaited_removed: list[str] = []
    callbacks_of_awaiter_removed: list[str] = []
    callbacks_added: list[tuple[str, str]] = []
    listeners_removed: list[str] = []
    listeners_added: list[tuple[str, str]] = []
    executes_removed: list[str] = []
    executes_queued: list[QueuedExecute] = []
    unblocks_queued: list[QueuedUnblock] = []
    schedules: list[Schedule] = []
    schedules_removed: list[str] = []
    promises_removed: list[str] = []
    endings: list[TreeEnding] = []
    endings_removed: list[str] = []
    grouping: GroupChanges | None = None

    def empty(self) -> bool:
        """Tell whether there is nothing to write."""
        return self == _NOTHING


_NOTHING = Changes()


@dataclass(frozen=True, slots=True, kw_only=True)
class Write(Query[None]):
    """Write these changes."""

    changes: Changes


class Store(Protocol):
    """A durable home for promises and tasks."""

    async def open(self) -> None:
        """Open and migrate; become its owner. Raises StoreError with one line that says what to do."""
        ...

    async def close(self) -> None:
        """Let go of it. Closing twice is harmless."""
        ...

    async def run(self, make_program: Callable[[int], Program[T]], now_ms: int) -> T:
        """Drive one program in one transaction, and return its result once it is durable.

        `make_program` is given the transaction's time in Unix milliseconds: `now_ms`, or the time of a
        database that several engines share. Whatever the program raises comes out after a rollback;
        StoreError if the store failed, InvalidRow if a value cannot be stored.
        """
        ...
