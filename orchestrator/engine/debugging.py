"""What a test may do to an engine: stop time, jump in it, see everything, wipe everything.

Nothing here is reached unless the operator has set `debug`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from orchestrator.domain.errors import Refused, Unavailable
from orchestrator.domain.task import Task, TaskState
from orchestrator.domain.transitions import TIME_MS_MAX
from orchestrator.engine.batch import BatchResult, Sent, Work, batch_program
from orchestrator.engine.courier import Courier
from orchestrator.engine.outgoing import Outgoing, outgoing_of
from orchestrator.engine.parts import Parts
from orchestrator.engine.ticker import Ticker
from orchestrator.protocol import commands as c
from orchestrator.protocol import debugging as d
from orchestrator.protocol.envelope import encode_message
from orchestrator.protocol.records import task_record
from orchestrator.store import InvalidRow, StoreError
from orchestrator.store.port import (
    Clear,
    LoadChain,
    LoadGroups,
    LoadOutbox,
    LoadRows,
    Program,
    SearchPromises,
    ask,
)

DebugCommand = d.DebugStart | d.DebugStop | d.DebugReset | d.DebugTick | d.DebugSnap
DISABLED = "Debug operations are disabled"
PAGE = 1_000
_DISPATCH, _LEASE = 0, 1


class Debugger:
    """Carries out the debug operations, and commands at a time of their own."""

    def __init__(
        self, parts: Parts, ticker: Ticker, courier: Courier, committed: Callable[[BatchResult], None]
    ) -> None:
        self._store = parts.store
        self._clock = parts.clock
        self._settings = parts.settings
        self._ticker = ticker
        self._courier = courier
        self._committed = committed

    async def carry_out(self, command: DebugCommand, debug_time: int | None) -> c.Answer:
        """Carry out a debug operation. Raises Refused (403 unless switched on) and Unavailable."""
        if not self._settings.debug:
            raise Refused(403, DISABLED)
        try:
            return await self._carry_out(command, debug_time)
        except StoreError as error:
            raise Unavailable(str(error)) from error

    async def _carry_out(self, command: DebugCommand, debug_time: int | None) -> c.Answer:
        match command:
            case d.DebugStart():
                self._ticker.hold()
                self._courier.hold()
            case d.DebugStop():
                self._courier.go_on()
                self._ticker.go_on()
            case d.DebugReset():
                await self._store.run(lambda _: _clear(), self._clock.now_ms())
            case d.DebugTick(time=time):
                if debug_time not in (None, time):
                    raise Refused(400, f"debug.tick is at {time}, its head says {debug_time}")
                await self._ticker.tick(at_ms=_moment(time))
                return d.DebugTickAnswer()
            case d.DebugSnap():
                return await self._store.run(lambda _: _snapshot(), self._clock.now_ms())
        return c.Empty()

    async def at(self, work: Work, debug_time: int) -> c.Answer:
        """Carry out a command as if it were `debug_time`. Raises Refused and Unavailable."""
        moment = _moment(debug_time)
        try:
            result = await self._store.run(
                lambda _: batch_program(moment, [work], self._settings, Sent()), moment
            )
        except InvalidRow as error:
            raise Refused(400, str(error)) from error
        except StoreError as error:
            raise Unavailable(str(error)) from error
        self._committed(result)
        outcome = result.outcomes[0]
        if isinstance(outcome, Refused):
            raise outcome
        return outcome


def _moment(time: int) -> int:
    if not 0 <= time <= TIME_MS_MAX:
        raise Refused(400, f"the time must be between 0 and {TIME_MS_MAX}, not {time}")
    return time


def _clear() -> Program[None]:
    yield from ask(Clear())


def _promises(cursor: str | None) -> SearchPromises:
    return SearchPromises(state=None, tags={}, limit=PAGE, cursor=cursor, scan_max=PAGE)


def _ids() -> Program[list[str]]:
    ids: list[str] = []
    cursor, more = None, True
    while more:
        page = yield from ask(_promises(cursor))
        ids += [promise.id for promise in page.items]
        cursor, more = page.cursor, page.cursor is not None
    return ids


def _messages() -> Program[list[Outgoing]]:
    messages: list[Outgoing] = []
    for group in (yield from ask(LoadGroups())):
        after_task, after_unblock, more = "", ("", ""), True
        while more:
            page = yield from ask(
                LoadOutbox(group=group, after_task=after_task, after_unblock=after_unblock, limit=PAGE)
            )
            messages += outgoing_of(page)
            after_task = page.executes[-1].task_id if page.executes else after_task
            if page.unblocks:
                last = page.unblocks[-1][0]
                after_unblock = (last.promise_id, last.address)
            more = page.more
    return messages


def _snapshot() -> Program[d.DebugSnapAnswer]:
    ids = yield from _ids()
    rows = sorted((yield from ask(LoadRows(ids=ids))), key=lambda row: row[0].id)
    chain = yield from ask(LoadChain(ids=ids))
    messages = yield from _messages()
    tasks = [task for _, task in rows if task is not None]
    return d.DebugSnapAnswer(
        promises=[promise for promise, _ in rows],
        promise_timeouts=[
            d.DebugTimeout(id=promise.id, timeout=promise.timeout_at)
            for promise, _ in rows
            if promise.pending
        ],
        callbacks=[d.DebugCallback(awaiter=awaiter, awaited=awaited) for awaited, awaiter in chain.callbacks],
        listeners=[d.DebugListener(id=key, address=address) for key, address in chain.listeners],
        tasks=[task_record(task) for task in tasks],
        task_timeouts=_timeouts(tasks),
        messages=sorted(map(_message, messages), key=lambda each: (each.address, str(each.message))),
    )


def _timeouts(tasks: Sequence[Task]) -> list[d.DebugTaskTimeout]:
    return [
        d.DebugTaskTimeout(
            id=task.id, type=_LEASE if task.state is TaskState.ACQUIRED else _DISPATCH, timeout=task.timer_at
        )
        for task in tasks
        if task.timer_at is not None
    ]


def _message(outgoing: Outgoing) -> d.DebugMessage:
    message: dict[str, Any] = msgspec.json.decode(encode_message(outgoing.message))
    return d.DebugMessage(address=outgoing.address, message={**message, "head": {}})
