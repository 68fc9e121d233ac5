"""Group commit: commands that arrive together share one transaction.

Invariants: an answer leaves only after its commit; the queue is bounded; while one batch commits the next
gathers; a batch that fails as a whole is rolled back by the store and its commands run singly, so that one
of them harms nobody else. A command of which nobody else could be a companion, because the task that asks
is the one that asked last and nothing is queued or under way, is carried out in that task, as waking a
committer and being woken by it costs up to as much as the commit: any command where a store can do so in no
time, one that comes down to a statement where a store adds such.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import islice
from time import perf_counter
from typing import Any
from weakref import ref

import msgspec
import structlog

from orchestrator.domain.errors import Refused, Unavailable
from orchestrator.domain.promise import PromiseRecord
from orchestrator.engine.batch import BatchResult, Sent, Work, batch_program
from orchestrator.engine.faults import trace_of
from orchestrator.engine.lanes import LANE_MIN, Lanes
from orchestrator.engine.observing import CommitObserver
from orchestrator.engine.parts import Parts
from orchestrator.engine.shortcut import answer_of, insert_of, inserts_of
from orchestrator.protocol import commands as c
from orchestrator.store import InvalidRow, StoreError
from orchestrator.store.abilities import AddingStore, PromptStore
from orchestrator.store.port import Insert

_log = structlog.get_logger(__name__)


HELD_S_MAX = 0.002
"""After so much of commits at once a caller lets the loop turn."""


_Waiting = tuple[Work, asyncio.Future[c.Answer]]


class Committer:
    """Takes commands, commits them in batches, answers them."""

    def __init__(
        self,
        parts: Parts,
        on_commit: Callable[[BatchResult], None],
        on_deadline: Callable[[int | None], None],
    ) -> None:
        self._store = parts.store
        self._prompt = parts.store if isinstance(parts.store, PromptStore) else None
        self._adding = parts.store if isinstance(parts.store, AddingStore) else None
        self._clock = parts.clock
        self._settings = parts.settings
        self._statistics = parts.statistics
        self._switchboard = parts.switchboard
        self._on_commit = on_commit
        self._on_deadline = on_deadline
        self._queue: deque[_Waiting] = deque()
        self._statistics.queue = self._queue
        self._wake = asyncio.Event()
        self._under_way: list[_Waiting] = []
        self._lanes: Lanes[_Waiting] | None = None
        if self._adding is not None:
            self._lanes = Lanes(self._adding.flushes, self._fail, self._wake.set)
        self._committing = False
        self._last_caller: Callable[[], asyncio.Task[Any] | None] = _nobody
        self._held_s = 0.0
        self._adding_alone = 0
        self._stopping = False
        self._tidy = False
        self.observer: CommitObserver | None = None

    def carry_out(self, work: Work) -> Awaitable[c.Answer]:
        """Commit a command, in the caller's task if it is alone: await its answer.

        Raises Refused and Unavailable.
        """
        if self._queue or self._committing or self._lanes:
            self._last_caller = _nobody
        elif self._is_alone():
            if self._adding is not None and (insert := insert_of(work.command, self._settings.touch_ms)):
                return self._add_alone(self._adding, work, insert)
            if self._prompt is not None:
                return self._carry_out_at_once(work)
        return self.submit(work)

    async def _carry_out_at_once(self, work: Work) -> c.Answer:
        await self._let_others_turn()
        result = self._commit_at_once(work)
        if result is None:
            return await self.submit(work)
        (outcome,) = result.outcomes
        if isinstance(outcome, Refused):
            raise outcome
        return outcome

    async def _let_others_turn(self) -> None:
        if self._held_s > HELD_S_MAX:
            self._held_s = 0.0
            await asyncio.sleep(0)

    async def _add_alone(self, store: AddingStore, work: Work, insert: Insert) -> c.Answer:
        """Carry a command out as one statement, if it comes down to that, beside whatever comes meanwhile.

        Whoever is cancelled does not learn whether it was; a deadline counts in either case.
        """
        await self._let_others_turn()
        if self._stopping:
            return await self.submit(work)
        started = perf_counter()
        self._adding_alone += 1
        try:
            (promise,) = await store.add([insert], self._clock.now_ms())
        except asyncio.CancelledError:
            self._on_deadline(insert.timeout_at)
            raise
        except Exception as error:
            self._statistics.failed_batches += 1
            raise self._told([work], error) from error
        finally:
            self._adding_alone -= 1
            if self._stopping:
                self._wake.set()
        if promise is None:
            return await self.submit(msgspec.structs.replace(work, declined=True))
        elapsed = perf_counter() - started
        self._observe(elapsed, (work,))
        if self._prompt is not None:
            self._held_s += elapsed
        if promise.pending:
            self._on_deadline(promise.timeout_at)
        return answer_of(work.command, promise)

    def _is_alone(self) -> bool:
        """Tell whether the task that asks is the one that asked last, which therefore waits for nothing."""
        caller = asyncio.current_task()
        if caller is None or self._last_caller() is caller:
            return caller is not None
        self._last_caller = ref(caller)
        return False

    def _commit_at_once(self, work: Work) -> BatchResult | None:
        """Commit a command alone, now; return None, having done nothing, if it has to wait for its turn."""
        busy = self._committing or self._lanes or self._queue
        if self._prompt is None or busy or self._stopping:
            return None
        sent, started = self._switchboard.sent(), perf_counter()
        try:
            result = self._prompt.run_at_once(
                lambda now_ms: batch_program(now_ms, (work,), self._settings, sent), self._clock.now_ms()
            )
        except Exception as error:
            self._statistics.failed_batches += 1
            raise self._told([work], error) from error
        if result is not None:
            elapsed = perf_counter() - started
            self._observe(elapsed, (work,))
            self._held_s += elapsed
            self._switchboard.removed(sent)
            self._tell(result)
        return result

    def submit(self, work: Work) -> asyncio.Future[c.Answer]:
        """Queue a command. Raises Unavailable when the queue is full or the engine stops."""
        queue = self._queue
        waiting = len(queue)
        if self._stopping:
            raise Unavailable("the engine is stopping; try again later")
        if waiting >= self._settings.queue_max:
            raise Unavailable(f"the engine has {waiting} requests waiting; try again later")
        future: asyncio.Future[c.Answer] = asyncio.get_running_loop().create_future()
        queue.append((work, future))
        if not waiting:
            self._wake.set()
        return future

    def wake(self) -> None:
        """Remove outbox rows whose messages have left, although no command waits to travel with."""
        self._tidy = True
        self._wake.set()

    def stop(self) -> None:
        """Take no more commands; `run` returns once those that wait are answered."""
        self._stopping = True
        self.wake()

    async def run(self) -> None:
        """Commit batches until stopped; however that ends, nobody is left waiting."""
        try:
            await self._run_until_stopped()
        finally:
            self._stopping = True
            waiting = [*self._under_way, *self._queue]
            self._queue.clear()
            if self._lanes is not None:
                waiting += self._lanes.cut_off()
            for _, future in waiting:
                if not future.done():
                    future.set_exception(Unavailable("the engine has ended; start it again"))

    async def _run_until_stopped(self) -> None:
        while not (self._stopping and not (self._queue or self._lanes or self._adding_alone)):
            await self._wake.wait()
            self._wake.clear()
            while self._queue and not (self._lanes and self._lanes.full(len(self._queue))):
                await self._commit_or_add(self._take())
            if self._tidy and self._switchboard.has_sent():
                await self._commit([], {})
            self._tidy = False

    def _take(self) -> list[_Waiting]:
        queue = self._queue
        taken = [queue.popleft() for _ in range(min(len(queue), self._settings.batch_max))]
        return [waiting for waiting in taken if not waiting[1].done()]  # others' callers have gone

    async def _commit_or_add(self, batch: list[_Waiting]) -> None:
        store, lanes, inserts = self._adding, self._lanes, self._inserts_of(batch)
        nothing_else = LANE_MIN <= len(inserts) == len(batch)
        if store is None or lanes is None or not (nothing_else and store.independent(inserts.values())):
            await self._commit(batch, inserts)
            return
        given = iter(inserts.values())
        for some in lanes.shares_of(batch):
            lanes.open(some, self._add_in_lane(store, some, list(islice(given, len(some)))))

    def _inserts_of(self, batch: list[_Waiting]) -> dict[int, Insert]:
        """Return what of a batch is to be added before what is left of it, by position."""
        store = self._adding
        if store is None or not (store.apart or len(batch) >= LANE_MIN):
            return {}
        commands = [work.command for work, _ in batch]
        inserts = inserts_of(commands, self._settings.touch_ms, whole=not store.apart)
        declined = [position for position in inserts if batch[position][0].declined]
        if declined and not store.apart:
            return {}
        for position in declined:
            del inserts[position]
        return inserts

    async def _add_in_lane(self, store: AddingStore, batch: list[_Waiting], inserts: list[Insert]) -> None:
        promises = await self._added(store, batch, inserts)
        if promises is not None and None in promises:
            rest = (each for each, promise in zip(batch, promises, strict=True) if promise is None)
            again = [(msgspec.structs.replace(work, declined=True), future) for work, future in rest]
            self._queue.extendleft(reversed(again))

    async def _commit(self, batch: list[_Waiting], inserts: Mapping[int, Insert]) -> None:
        self._under_way, self._committing = batch, True
        try:
            if self._lanes:
                await self._lanes.wait()  # what was asked before comes before
            rest, places = await self._add(batch, inserts)
            if rest or self._switchboard.has_sent():
                await self._commit_rest(rest, places)
        finally:
            self._committing = False

    async def _add(
        self, batch: list[_Waiting], inserts: Mapping[int, Insert]
    ) -> tuple[list[_Waiting], dict[str, int]]:
        """Add promises by one statement, by their commands' positions, and return what is left of a batch.

        With it come the places in the rest before which what was added was asked for, by its id.
        """
        if self._adding is None or not inserts:
            return batch, {}
        asked = [batch[position] for position in inserts]
        promises = await self._added(self._adding, asked, list(inserts.values()))
        if promises is None:
            return [waiting for position, waiting in enumerate(batch) if position not in inserts], {}
        added = {at: promise for at, promise in zip(inserts, promises, strict=True) if promise is not None}
        rest: list[_Waiting] = []
        places: dict[str, int] = {}
        if len(added) == len(batch):
            return rest, places
        for position, waiting in enumerate(batch):
            if position in added:
                places[added[position].id] = len(rest)
            else:
                rest.append(waiting)
        return rest, places

    async def _added(
        self, store: AddingStore, asked: list[_Waiting], inserts: list[Insert]
    ) -> list[PromiseRecord | None] | None:
        """Add promises by one statement and answer whoever asked for one that was; return them, or None each.

        None for all where that failed: then everybody has been told.
        """
        started = perf_counter()
        try:
            promises = await store.add(inserts, self._clock.now_ms())
        except Exception as error:
            self._statistics.failed_batches += 1
            self._fail(asked, error)
            return None
        elapsed = perf_counter() - started
        works, deadline = [], None
        for (work, future), promise in zip(asked, promises, strict=True):
            if promise is None:
                continue
            works.append(work)
            if promise.pending and (deadline is None or promise.timeout_at < deadline):
                deadline = promise.timeout_at
            if not future.done():
                future.set_result(answer_of(work.command, promise))
        if works:
            self._observe(elapsed, works)
            self._on_deadline(deadline)
        return promises

    async def _commit_rest(self, batch: list[_Waiting], places: Mapping[str, int]) -> None:
        sent = self._switchboard.sent()
        try:
            result = await self._run(batch, sent, places)
        except Exception as error:  # whatever it is, the others must not suffer for it
            await self._commit_singly(batch, error)
        else:
            self._switchboard.removed(sent)
            self._answer(batch, result)

    async def _commit_singly(self, batch: list[_Waiting], error: Exception) -> None:
        self._statistics.failed_batches += 1
        if len(batch) <= 1 or (isinstance(error, StoreError) and error.connection_lost):
            self._fail(batch, error)
            return
        _log.warning("batch failed, running its commands singly", commands=len(batch), error=str(error))
        for waiting in batch:
            try:
                result = await self._run([waiting], Sent(), {})
            except Exception as single:
                self._fail([waiting], single)
            else:
                self._answer([waiting], result)

    async def _run(self, batch: list[_Waiting], sent: Sent, places: Mapping[str, int]) -> BatchResult:
        works = [work for work, _ in batch]
        started = perf_counter()
        result = await self._store.run(
            lambda now_ms: batch_program(now_ms, works, self._settings, sent, places), self._clock.now_ms()
        )
        self._observe(perf_counter() - started, works)
        return result

    def _observe(self, elapsed: float, works: Sequence[Work]) -> None:
        """Count a commit and the seconds that it took."""
        self._statistics.commits.observe(elapsed)
        self._statistics.batches.observe(len(works))
        if self.observer is not None:
            try:
                self.observer.on_commit([work.trace for work in works], elapsed)
            except Exception as error:  # what is committed must not be run again for it
                _log.error("commit observer failed", trace=trace_of(error))

    def _answer(self, batch: list[_Waiting], result: BatchResult) -> None:
        for (_, future), outcome in zip(batch, result.outcomes, strict=True):
            if future.done():
                continue
            if isinstance(outcome, Refused):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)
        self._tell(result)

    def _tell(self, result: BatchResult) -> None:
        try:
            self._on_commit(result)
        except Exception as error:  # a fault of the delivery must not end the commits
            _log.error("delivery failed", trace=trace_of(error))

    def _fail(self, batch: list[_Waiting], error: Exception) -> None:
        answer = self._told([work for work, _ in batch], error)
        for _, future in batch:
            if not future.done():
                future.set_exception(answer)

    def _told(self, works: Sequence[Work], error: Exception) -> Exception:
        """Return what callers are told of a failure."""
        if isinstance(error, InvalidRow):
            return Refused(400, str(error))
        if isinstance(error, StoreError):
            _log.error("store failed", error=str(error))
            return Unavailable(str(error))
        kinds = [work.command.KIND for work in works]
        _log.error("command failed", kinds=kinds, trace=trace_of(error))
        return error


def _nobody() -> None:
    return None
