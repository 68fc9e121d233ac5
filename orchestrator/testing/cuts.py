"""The same answer wherever it is cut: a workflow is crashed at every command, restarted and compared.

W1 a step that has settled is never executed again. W2 replay sees the recorded outcome. W3 the record does
not depend on where it was interrupted.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from orchestrator.client.clock import Clock
from orchestrator.client.continuing import NAME as CONTINUATION
from orchestrator.client.invocation import FUNCTION_HEADER
from orchestrator.domain.errors import ApplicationError
from orchestrator.domain.ids import precedes
from orchestrator.domain.promise import PromiseRecord
from orchestrator.protocol.transport import Transport
from orchestrator.runtime import Orchestrator
from orchestrator.store.memory import MemoryStore
from orchestrator.testing.crashes import CrashingTransport, ExecutionLog, SimulatedCrash, crash_at
from orchestrator.testing.local import engine_in
from orchestrator.testing.virtual_time import VirtualClock

DRAWN = frozenset({"ctx.now", "ctx.random", "ctx.uuid"})
"""Steps whose outcome differs from run to run, and is the same on each replay of one."""
CUTS_MAX = 2_000
LOOK_S_MIN = 0.005
LOOK_S_MAX = 1.0
TTL_MS = 5_000
Ground = Callable[[], AbstractAsyncContextManager[Transport]]
"""Opens the way to an engine on one and the same store, again and again."""
Hand = Callable[[Orchestrator], Awaitable[None]]
"""What somebody outside does before a workflow begins: settle the promises that it will ask for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one run has come to. `records` is what W3 speaks of, by promise id."""

    outcome: object
    records: dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Journey:
    """A workflow that is run again and again: on which ground, by which name, with what arguments."""

    app: Orchestrator
    fn: Callable[..., Any]
    args: tuple[Any, ...]
    id: str
    hand: Hand | None
    clock: Clock | None
    patience_s: float
    ttl_ms: int
    drawn: Collection[str]


async def assert_survives_crashes(
    app: Orchestrator,
    fn: Callable[..., Any],
    *args: Any,
    hand: Hand | None = None,
    grounds: Callable[[], Ground] | None = None,
    clock: Clock | None = None,
    every: int = 1,
    patience_s: float = 86_400.0,
    ttl_ms: int = TTL_MS,
    drawn: Collection[str] = DRAWN,
) -> int:
    """Crash a workflow at every command, before the engine has it and after; return the number of crashes.

    Each time another process goes on. Raises AssertionError that names the place if outcome or record differ
    from those of the uninterrupted run, or if a settled step was executed again. `app` need not run: its
    functions are executed on an engine in memory, under virtual time, by default. `grounds` returns a fresh
    ground for each run, `clock` goes with it; `every` n-th command only. A run that takes longer than
    `patience_s` has failed; `ttl_ms` is the lease that a crash leaves behind. What `drawn` names (steps that
    have another outcome in each run) is compared by its presence.
    """
    lives_by = clock if clock is not None or grounds is not None else VirtualClock()
    new_ground = grounds if grounds is not None else lambda: in_memory(lives_by or VirtualClock())
    journey = Journey(
        app=app,
        fn=fn,
        args=args,
        id="cut",
        hand=hand,
        clock=lives_by,
        patience_s=patience_s,
        ttl_ms=ttl_ms,
        drawn=drawn,
    )
    crashes = 0
    async with AsyncExitStack() as stack:
        if isinstance(lives_by, VirtualClock) and not lives_by.taken:
            await stack.enter_async_context(lives_by)
        expected = await _uncut(journey, new_ground())
        for after in (False, True):
            for number in range(1, CUTS_MAX, every):
                if not await _cut(journey, new_ground(), number, after=after, expected=expected):
                    break
                crashes += 1
            else:
                raise AssertionError(f"still under way after {CUTS_MAX} commands")
    if not crashes:
        raise AssertionError(f"{fn.__name__} was never under way: nothing was crashed")
    return crashes


def in_memory(clock: Clock) -> Ground:
    """Return a ground on a memory store of its own."""
    store = MemoryStore()
    return lambda: engine_in(store, clock, lambda inner: inner)


async def _uncut(journey: Journey, ground: Ground) -> Run:
    async with ground() as transport:
        await _lend_a_hand(journey, transport)
        return await _run(journey, transport, ExecutionLog())


async def _cut(journey: Journey, ground: Ground, number: int, *, after: bool, expected: Run) -> bool:
    """Crash at the `number`-th command and go on; tell whether there was one."""
    place = f"{'after' if after else 'before'} command {number} of {journey.fn.__name__}"
    async with ground() as transport:
        await _lend_a_hand(journey, transport)
        crashing = crash_at(transport, number, after=after)
        first = ExecutionLog()
        if not await _crashed(journey, crashing, first):
            return False
        before = await records_of(transport)
    log = ExecutionLog()
    async with ground() as transport:
        found = await _run(journey, transport, log)
    if found.outcome != expected.outcome:
        raise AssertionError(f"crashed {place}: outcome {found.outcome!r}, uncut {expected.outcome!r}")
    if found.records != expected.records:
        raise AssertionError(f"crashed {place}: {_difference(found.records, expected.records)}")
    settled = {promise_id for promise_id, record in before.items() if not record.pending}
    if again := sorted(settled & set(log.started)):
        raise AssertionError(f"crashed {place}: {again} had settled and was executed again")
    if faults := first.again_after_settling + log.again_after_settling:
        raise AssertionError(f"crashed {place}: {faults} was executed after its outcome was stored")
    return True


async def _run(journey: Journey, transport: Transport, log: ExecutionLog) -> Run:
    async with _life(journey, transport, log) as app, asyncio.timeout(journey.patience_s):
        outcome = await _outcome(journey, app)
        return Run(outcome=outcome, records=comparable(await settled_records(transport), journey.drawn))


async def _crashed(journey: Journey, crashing: CrashingTransport, log: ExecutionLog) -> bool:
    app = _twin(journey, crashing, log)
    try:
        await app.start()
        running = asyncio.ensure_future(_outcome(journey, app))
        crashed = asyncio.ensure_future(crashing.crashed.wait())
        await asyncio.wait((running, crashed), return_when=asyncio.FIRST_COMPLETED)
        running.cancel()
        crashed.cancel()
        await asyncio.gather(running, crashed, return_exceptions=True)
    except SimulatedCrash:
        pass
    finally:
        await app.abort()
    return crashing.crashed.is_set()


@asynccontextmanager
async def _life(journey: Journey, transport: Transport, log: ExecutionLog) -> AsyncIterator[Orchestrator]:
    async with _twin(journey, transport, log) as app:
        yield app


def _twin(journey: Journey, transport: Transport, log: ExecutionLog) -> Orchestrator:
    @asynccontextmanager
    async def opening() -> AsyncIterator[Transport]:
        yield transport

    twin = journey.app.twin(opening, clock=journey.clock, ttl_ms=journey.ttl_ms, grace_s=2.0)
    twin.observe(log)
    return twin


async def _outcome(journey: Journey, app: Orchestrator) -> object:
    try:
        return await app.run(journey.id, journey.fn, *journey.args)
    except ApplicationError as error:
        return (error.type_name, error.message)


async def _lend_a_hand(journey: Journey, transport: Transport) -> None:
    if journey.hand is not None:
        async with Orchestrator(transport=transport, group="hands", worker=False) as app:
            await journey.hand(app)


async def settled_records(transport: Transport) -> dict[str, PromiseRecord]:
    """Return every promise of an engine once all have settled: what is detached ends late."""
    pause_s = LOOK_S_MIN
    while True:
        stored = await records_of(transport)
        if not any(one.pending for one in stored.values()):
            return stored
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, LOOK_S_MAX)


async def records_of(transport: Transport) -> dict[str, PromiseRecord]:
    """Return every promise of an engine, by id."""
    stored: dict[str, PromiseRecord] = {}
    async with Orchestrator(transport=transport, group="readers", worker=False) as reader:
        cursor: str | None = None
        while True:
            page = await reader.promises.search(limit=1_000, cursor=cursor)
            stored.update({record.id: record for record in page.promises})
            cursor = page.cursor
            if cursor is None:
                return stored


def comparable(stored: dict[str, PromiseRecord], drawn: Collection[str] = DRAWN) -> dict[str, object]:
    """Return what W3 speaks of: not times, attempts or task versions; of what is drawn only that it is.

    What a workflow has left behind by starting over counts for nothing: some of it may not be gone.
    """
    starts = [promise_id for promise_id, record in stored.items() if _function(record) == CONTINUATION]
    return {
        promise_id: (record.state, record.param, None if _function(record) in drawn else record.value)
        for promise_id, record in stored.items()
        if not any(precedes(promise_id, start) for start in starts)
    }


def _function(record: PromiseRecord) -> str | None:
    return (record.param.headers or {}).get(FUNCTION_HEADER)


def _difference(found: dict[str, object], expected: dict[str, object]) -> str:
    ids = sorted(key for key in found.keys() | expected.keys() if found.get(key) != expected.get(key))
    return "; ".join(f"{key} is {found.get(key)}, uncut {expected.get(key)}" for key in ids[:3])
