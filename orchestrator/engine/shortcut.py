"""Commands that are mostly one statement: a plain promise, a step of a held task.

In a batch they go first, unless an earlier command may have a say: who waits for an answer cannot tell the
order of what was asked meanwhile, but where it can be told afterwards the order of a batch is kept.

What they add is made by the very functions that the general program uses; whatever could make the outcome
another one is a condition of the statement (see `Insert`), and where it does not apply the general program
decides. So a rule that comes to stand against such a command belongs into that condition, or keeps the
command from here. Whatever touches a task's state or an address is decided by the general program.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from functools import partial
from typing import Any

import msgspec

from orchestrator.domain import tags as tag
from orchestrator.domain.promise import PromiseRecord
from orchestrator.engine.handlers.promises import new_promise, new_step
from orchestrator.engine.needs import needs_of
from orchestrator.protocol import commands as c
from orchestrator.protocol.operations import Command
from orchestrator.store.port import Fence, Insert, InsertAll, Query, ask

_Addition = c.PromiseCreate | c.PromiseRecordStep


class Added(msgspec.Struct, frozen=True):
    """The answers of a batch, None where a command is not carried out yet; the earliest new deadline.

    `places` tells the position of the command that has added a promise, by its id.
    """

    answers: list[c.Answer | None]
    deadline: int | None = None
    places: dict[str, int] = {}


def add(commands: Sequence[Command[Any]], touch_ms: int, *, alone: bool) -> Generator[Query[Any], Any, Added]:
    """Carry out what comes down to one statement each; `alone` tells that nothing else is to be written."""
    if alone and len(commands) == 1:
        insert = insert_of(commands[0], touch_ms)
        promise = None if insert is None else (yield from ask(insert))
        if promise is None:
            return Added([None])
        return Added([answer_of(commands[0], promise)], promise.timeout_at if promise.pending else None)
    answers: list[c.Answer | None] = [None] * len(commands)
    inserts: dict[int, Insert] = {}

    def made() -> list[Insert]:
        inserts.update(inserts_of(commands, touch_ms))
        return list(inserts.values())

    promises = yield from ask(InsertAll(inserts=made))
    if promises is None:
        return Added(answers)
    deadline: int | None = None
    places: dict[str, int] = {}
    for position, promise in zip(inserts, promises, strict=True):
        if promise is not None:
            answers[position] = answer_of(commands[position], promise)
            places[promise.id] = position
            if promise.pending:
                deadline = earlier(deadline, promise.timeout_at)
    return Added(answers, deadline, places)


def earlier(one: int | None, other: int | None) -> int | None:
    """Return the earlier of two moments, of which either may be never (None)."""
    if one is None or other is None:
        return one if other is None else other
    return min(one, other)


def inserts_of(commands: Sequence[Command[Any]], touch_ms: int, *, whole: bool = False) -> dict[int, Insert]:
    """Return which commands of a batch, by position, may be carried out before all others.

    `whole`: all of them, or none.
    """
    found: dict[int, Insert] = {}
    touched: set[str] = set()
    for position, command in enumerate(commands):
        action = _addition_of(command)
        if action is not None and not (touched and _follows(command, action, touched)):
            found[position] = _insert(command, action, touch_ms)
            touched.add(action.id)  # where it does not apply, it comes before others of this id
            continue
        if whole:
            return {}
        needs = needs_of(command)
        if needs.unbounded:
            break
        touched.update(needs.named)
    return found


def _follows(command: Command[Any], action: _Addition, touched: set[str]) -> bool:
    """Tell whether what a command adds may depend on, or be seen by, commands that touch these ids."""
    if action.id in touched or (type(command) is c.TaskFence and command.id in touched):
        return True
    tags = action.tags
    return bool(tags) and (tags.get(tag.BRANCH) in touched or tags.get(tag.PARENT) in touched)


def insert_of(command: Command[c.Answer], touch_ms: int) -> Insert | None:
    """Return the one statement that a command may come down to, or None; `touch_ms` as for `Fence`."""
    action = _addition_of(command)
    return None if action is None else _insert(command, action, touch_ms)


def _addition_of(command: Command[Any]) -> _Addition | None:
    """Return the promise that a command adds if it comes down to that, fenced or not."""
    action: Any = command.action if type(command) is c.TaskFence else command
    if type(action) is c.PromiseCreate:
        return None if tag.TARGET in action.tags else action
    if type(action) is c.PromiseRecordStep:
        return None if action.forgets else action
    return None


def _insert(command: Command[Any], action: _Addition, touch_ms: int) -> Insert:
    fence = None
    if type(command) is c.TaskFence:
        fence = Fence(task_id=command.id, version=command.version, touch_ms=touch_ms)
    if isinstance(action, c.PromiseCreate):
        made: Callable[[int], PromiseRecord] = partial(new_promise, action)
        return Insert(made=made, promise_id=action.id, timeout_at=action.timeout_at, fence=fence)
    return Insert(
        made=partial(new_step, action),
        promise_id=action.id,
        timeout_at=action.timeout_at,
        born_ms=action.created_at,
        fence=fence,
    )


def answer_of(command: Command[c.Answer], promise: PromiseRecord) -> c.Answer:
    """Return the answer to a command whose promise has been added."""
    if isinstance(command, c.TaskFence):
        return c.FenceAnswer(promise=promise, preload=[])
    return c.PromiseAnswer(promise=promise)
