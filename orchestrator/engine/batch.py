"""The programs that an engine runs against its store: a batch of commands, a tick, a page of the outbox.

Each loads, decides over a workspace and writes once. They do no I/O: the store drives them (see the port).
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast, get_args

import msgspec

from orchestrator.domain.ending import EndingKind
from orchestrator.domain.errors import Refused
from orchestrator.domain.group import DeadLetter
from orchestrator.domain.ids import between, descendants_between, extends
from orchestrator.domain.task import TaskState
from orchestrator.domain.transitions import TaskEvent
from orchestrator.engine import turns
from orchestrator.engine.handlers import decide, endings, schedules
from orchestrator.engine.handlers.tasks import branch_of
from orchestrator.engine.needs import Needs, needs_of
from orchestrator.engine.outgoing import Outgoing
from orchestrator.engine.searching import Search, search
from orchestrator.engine.settings import EngineSettings
from orchestrator.engine.settlement import apply, expire_named
from orchestrator.engine.shortcut import add, earlier
from orchestrator.engine.unheard import Listening, load_untaken
from orchestrator.engine.workspace import TreePage, Workspace
from orchestrator.protocol import commands as c
from orchestrator.protocol import groups as g
from orchestrator.store.port import (
    LoadChain,
    LoadDeadline,
    LoadDue,
    LoadDueSchedules,
    LoadEmbedded,
    LoadHeld,
    LoadPreloads,
    LoadRows,
    LoadSchedules,
    Program,
    Query,
    Write,
    ask,
)
from orchestrator.store.trees import LoadDueEndings, LoadEndings, LoadOpenBetween

Steps = Generator[Query[Any], Any, None]
_NOWHERE: Mapping[str, int] = {}
_SEARCHES = frozenset(get_args(Search))
_GROUP_CHANGES = frozenset(get_args(g.GroupChange))


class Work(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One command in a batch; `embedded` marks one from inside the engine's own process.

    `trace` is the traceparent of its call, if it stands in a trace. `declined` tells that it was tried as one
    statement already, in vain.
    """

    command: c.Command[Any]
    embedded: bool = False
    trace: str | None = None
    declined: bool = False


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """Outbox rows whose messages have left since the last batch: (task id, queued at), (promise, address)."""

    executes: list[tuple[str, int]] = []
    unblocks: list[tuple[str, str]] = []


class BatchResult(msgspec.Struct, frozen=True, kw_only=True):
    """An answer or a refusal for each command, in order; what to send; the earliest new deadline.

    `cancelled` are tasks that were asked to end while this process holds them, by pid; `dead` ones have
    spent their attempts.
    """

    outcomes: list[c.Answer | Refused]
    outgoing: list[Outgoing]
    deadline: int | None
    cancelled: list[tuple[str, c.TaskReference]] = []
    dead: Sequence[DeadLetter] = ()


def batch_program(
    now_ms: int,
    works: Sequence[Work],
    settings: EngineSettings,
    sent: Sent,
    places: Mapping[str, int] = _NOWHERE,
) -> Program[BatchResult]:
    """Decide commands in order as if one by one, then write once, then answer the searches.

    `places` tells before which of them what was added already was asked for, by id.
    """
    silent = not sent.executes and not sent.unblocks
    added = yield from add([work.command for work in works], settings.touch_ms, alone=silent)
    outcomes: list[c.Answer | Refused | None] = [*added.answers]
    if silent and None not in outcomes:
        return BatchResult(
            outcomes=cast(list[c.Answer | Refused], outcomes), outgoing=[], deadline=added.deadline
        )
    workspace = Workspace(now_ms, settings)
    left = [position for position, answer in enumerate(outcomes) if answer is None]
    commands = [works[position].command for position in left]
    yield from _load(workspace, [needs_of(command) for command in commands])
    if workspace.queues.groups:
        yield from turns.load_claimed(workspace, commands)
    workspace.added = {**places, **added.places}
    for position in left:
        work, workspace.position = works[position], position
        if type(work.command) in _GROUP_CHANGES:
            yield from turns.change_group(workspace, cast(g.GroupChange, work.command))
        outcomes[position] = _outcome(workspace, work)
    if workspace.queues.touched:
        yield from turns.take_turns(workspace)
    yield from _write(workspace, sent)
    if None in outcomes:
        for position, work in enumerate(works):
            if isinstance(work.command, Search):
                outcomes[position] = yield from search(work.command, settings)
    return BatchResult(
        outcomes=cast(list[c.Answer | Refused], outcomes),
        outgoing=workspace.outgoing(),
        deadline=earlier(added.deadline, workspace.deadline()),
        cancelled=endings.held_and_cancelled(workspace) if workspace.cancelled else [],
        dead=workspace.queues.dead(),
    )


def _outcome(workspace: Workspace, work: Work) -> c.Answer | Refused | None:
    if type(work.command) in _SEARCHES:
        return None
    try:
        return decide(workspace, work.command, embedded=work.embedded)
    except Refused as refusal:
        return refusal


def _load(workspace: Workspace, needs: Sequence[Needs]) -> Steps:
    """Take in what commands touch; rows first, since what is asked first tells a store what to lock."""
    named: dict[str, None] = {}
    settling, pids, schedules, preloading = set[str](), [], [], []
    trees: dict[str, None] = {}
    for need in needs:
        for key in need.named:
            named[key] = None
        settling.update(need.settling)
        if need.held_by is not None:
            pids.append(need.held_by)
        if need.schedule is not None:
            schedules.append(need.schedule)
        if need.preload is not None:
            preloading.append(need)
        if need.tree is not None:
            trees[need.tree] = None
    new = not settling and all(need.new for need in needs)
    answered = [need.preload for need in preloading if need.preload is not None]
    yield from _load_named(workspace, named, settling, preloading=answered, new=new)
    yield from turns.load_limits(workspace)
    if schedules:
        yield from _load_schedules(workspace, schedules)
    if pids:
        workspace.add_rows((), (yield from ask(LoadHeld(pids=list(dict.fromkeys(pids))))))
    for root_id in trees:
        page = yield from _load_tree(workspace, root_id, "", settling=root_id in settling)
        workspace.trees[root_id] = page
        # What other commands of the batch create below it is of the tree, too.
        below = (key for key in named if extends(key, root_id))
        yield from _load_named(workspace, {key for each in below for key in between(each, root_id)}, ())
    keys = _preloaded(workspace, preloading) if preloading else ()
    if keys:
        limit = workspace.settings.preload_max
        workspace.preloads = yield from ask(LoadPreloads(keys=list(keys), limit=limit))


def _load_named(
    workspace: Workspace,
    named: Iterable[str],
    settling: Iterable[str],
    *,
    preloading: Iterable[str] = (),
    new: bool = False,
) -> Steps:
    ids = list(named)
    if ids:
        query = LoadRows(ids=ids, settling=list(settling), preloading=list(preloading), new=new)
        workspace.add_rows(ids, (yield from ask(query)))
    chains = [key for key in ids if _may_settle(workspace, key, settling)]
    if chains:
        workspace.add_chain(chains, (yield from ask(LoadChain(ids=chains))))


def _load_tree(
    workspace: Workspace, root_id: str, after: str, *, settling: bool
) -> Generator[Query[Any], Any, TreePage]:
    """Load a page of the open descendants behind `after`, with the chains of those that may settle."""
    ids: list[str] = []
    limit = workspace.settings.tick_page
    for low, high in descendants_between(root_id):
        if after < high and len(ids) < limit:
            query = LoadOpenBetween(after=max(after, low), before=high, limit=limit - len(ids))
            ids += yield from ask(query)
    above = [key for each in ids for key in between(each, root_id)]
    yield from _load_named(workspace, dict.fromkeys([*ids, *above]), set(ids) if settling else ())
    return TreePage(ids=ids, after=ids[-1] if len(ids) == limit else None)


def _end_trees(workspace: Workspace) -> Steps:
    """Carry out a page of one request to end a tree, if there is any."""
    due = yield from ask(LoadDueEndings(now_ms=workspace.now_ms, limit=1))
    if not due:
        return
    # The locks of a tree are those of its root.
    yield from _load_named(workspace, due, ())
    for ending in (yield from ask(LoadEndings(ids=due))):
        settling = ending.kind is EndingKind.TERMINATE
        page = yield from _load_tree(workspace, ending.id, ending.after, settling=settling)
        endings.carry_on(workspace, ending, page.ids, page.after)


def _load_schedules(workspace: Workspace, named: Iterable[str]) -> Steps:
    ids = list(dict.fromkeys(named))
    if ids:
        workspace.add_schedules(ids, (yield from ask(LoadSchedules(ids=ids))))


def _may_settle(workspace: Workspace, promise_id: str, settling: Iterable[str]) -> bool:
    promise = workspace.promise(promise_id)
    if promise is None or not promise.pending:
        return False
    return promise_id in settling or workspace.now_ms >= promise.timeout_at


def _preloaded(workspace: Workspace, needs: Sequence[Needs]) -> list[tuple[str, str]]:
    """Return (id, branch) of the tasks whose answer will carry a preload, as far as can be told."""
    keys = {}
    for need in needs:
        promise = workspace.promise(need.preload) if need.preload is not None else None
        if promise is None or not promise.pending:
            continue
        task, suspending = workspace.task(promise.id), len(need.named) > 1
        if task is None:
            continue
        if suspending and task.state is TaskState.ACQUIRED:
            awaited = (workspace.promise(key) for key in need.named[1:])
            settled = (each for each in awaited if each is not None)
            if any(not each.pending or each.expired(workspace.now_ms) for each in settled):
                keys[promise.id] = branch_of(promise)
        elif not suspending and task.state is TaskState.PENDING:
            keys[promise.id] = branch_of(promise)
    return list(keys.items())


def _write(workspace: Workspace, sent: Sent, unblocks_before: int | None = None) -> Steps:
    changes = workspace.changes()
    changes.executes_sent = sent.executes
    changes.unblocks_sent = sent.unblocks
    changes.unblocks_before = unblocks_before
    if not changes.empty():
        yield from ask(Write(changes=changes))


@dataclass(frozen=True, slots=True, kw_only=True)
class TickResult:
    """What to send; the next deadline in the store (None: nothing is timed); whether more is due now.

    `runs` counts the promises that schedules have created; `cancelled` and `dead` are those of a BatchResult.
    """

    outgoing: list[Outgoing]
    deadline: int | None
    more: bool
    runs: int = 0
    cancelled: list[tuple[str, c.TaskReference]] = field(default_factory=list)
    dead: Sequence[DeadLetter] = ()


def tick_program(now_ms: int, settings: EngineSettings, listening: Listening) -> Program[TickResult]:
    """Carry out one page of what time alone brings: deadlines, ended leases, due dispatches and runs."""
    workspace = Workspace(now_ms, settings, listening.possible)
    due = yield from ask(LoadDue(now_ms=now_ms, limit=settings.tick_page))
    ids = list(dict.fromkeys(due))
    yield from _load_named(workspace, ids, ())
    yield from load_untaken(workspace, ids, listening)
    yield from turns.load_limits(workspace)
    yield from turns.load_places(workspace, ids)
    expire_named(workspace, ids)
    for key in ids:
        _tick_task(workspace, key)
    yield from _end_trees(workspace)
    runs = yield from _run_schedules(workspace)
    yield from turns.take_turns(workspace)
    yield from _write(workspace, Sent(), now_ms - settings.unblock_keep_ms)
    deadline = yield from ask(LoadDeadline())
    return TickResult(
        outgoing=workspace.outgoing(),
        deadline=deadline,
        more=deadline is not None and deadline <= now_ms,
        runs=runs,
        cancelled=endings.held_and_cancelled(workspace),
        dead=workspace.queues.dead(),
    )


def _run_schedules(workspace: Workspace) -> Generator[Query[Any], Any, int]:
    """Carry out a page of the runs that are due, and return how many promises they created."""
    page = workspace.settings.tick_page
    ids = yield from ask(LoadDueSchedules(now_ms=workspace.now_ms, limit=page))
    if not ids:
        return 0
    yield from _load_schedules(workspace, ids)
    promises = schedules.advance(workspace, ids, page)
    yield from _load_named(workspace, dict.fromkeys(promise.id for promise in promises), ())
    return schedules.run(workspace, promises)


def _tick_task(workspace: Workspace, task_id: str) -> None:
    task = workspace.task(task_id)
    if task is None or task.timer_at is None or task.timer_at > workspace.now_ms:
        return
    if task.state is TaskState.ACQUIRED:
        apply(workspace, task, TaskEvent.LEASE_ENDED)
    elif task.state is TaskState.PENDING and not turns.look_again(workspace, task):
        apply(workspace, task, TaskEvent.DISPATCH_DUE)


def recover_program(now_ms: int, settings: EngineSettings) -> Program[TickResult]:
    """Release one page of leases whose holders lived in the engine's former process."""
    workspace = Workspace(now_ms, settings)
    rows = yield from ask(LoadEmbedded(limit=settings.tick_page))
    workspace.add_rows((), rows)
    yield from turns.load_limits(workspace)
    for _, task in rows:
        if task is not None:
            apply(workspace, task, TaskEvent.LEASE_ENDED)
    yield from turns.take_turns(workspace)
    yield from _write(workspace, Sent())
    more = len(rows) == settings.tick_page
    return TickResult(
        outgoing=workspace.outgoing(), deadline=workspace.deadline(), more=more, dead=workspace.queues.dead()
    )


def dispatch_program(
    now_ms: int, settings: EngineSettings, references: Sequence[tuple[str, int]]
) -> Program[list[Outgoing]]:
    """Announce again those tasks that still wait at the version of which a lost connection was told."""
    workspace = Workspace(now_ms, settings)
    ids = [task_id for task_id, _ in references]
    yield from _load_named(workspace, ids, ())
    yield from turns.load_limits(workspace)
    yield from turns.load_places(workspace, ids)
    for task_id, version in references:
        task = workspace.task(task_id)
        if task is not None and task.state is TaskState.PENDING and task.version == version:
            apply(workspace, task, TaskEvent.DISPATCH_DUE)
    yield from turns.take_turns(workspace)
    yield from _write(workspace, Sent())
    return workspace.outgoing()
