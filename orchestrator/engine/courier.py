"""Carries messages out: to connections at once, to URLs through a bounded queue, from the outbox on connect.

Invariants: nothing here is needed for correctness, a lost message is sent again by the task's retry timer;
the number of pushes under way and waiting is bounded; what does not fit stays in the outbox.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import structlog

from orchestrator.domain.address import PollAddress
from orchestrator.engine.batch import dispatch_program
from orchestrator.engine.delivery import Connection
from orchestrator.engine.faults import trace_of
from orchestrator.engine.flushing import FlushResult, flush_program, is_held
from orchestrator.engine.outgoing import Outgoing, outgoing_of, waiting_of
from orchestrator.engine.parts import Parts
from orchestrator.engine.validation import address_of
from orchestrator.protocol.messages import Execute, Message
from orchestrator.store.port import LoadOutbox
from orchestrator.store.sharing import SharedStore

_log = structlog.get_logger(__name__)
Push = Callable[[str, Message], Awaitable[bool]]
"""Posts a message to a URL; tells whether it was taken. Has a timeout of its own."""
SENT_LINGER_S = 1.0
"""How long removed-to-be outbox rows wait for a batch to travel with."""
FAILURE_PAUSE_S = 1.0
REPEAT_PAUSES_S = (0.5, 1.0, 2.0, 4.0, 8.0)
"""After these a task is posted again to a function that did not take it: it may be starting anew.

Without them each restart of a function costs its tasks their retry timer, half a minute.
"""
FULL_PAUSE_S = 0.1
"""How long a group in which nobody had room is left alone."""


class Courier:
    """Everything between a commit and its recipients."""

    def __init__(
        self,
        parts: Parts,
        push: Push | None,
        wake_committer: Callable[[], None],
        lower_deadline: Callable[[int | None], None],
    ) -> None:
        self._store = parts.store
        self._clock = parts.clock
        self._settings = parts.settings
        self._statistics = parts.statistics
        self._switchboard = parts.switchboard
        self._push = push
        self._shared = parts.store if isinstance(parts.store, SharedStore) else None
        self._wake_committer = wake_committer
        self._lower_deadline = lower_deadline
        self._pushes: asyncio.Queue[Outgoing] = asyncio.Queue(parts.settings.push_queue_max)
        self._flushes: dict[str | None, bool] = {}
        self._lost: dict[tuple[str, int], None] = {}
        self._chores = asyncio.Event()
        self._linger: asyncio.TimerHandle | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._full: dict[str, asyncio.TimerHandle] = {}
        self._repeats: dict[tuple[str, int], tuple[int, asyncio.TimerHandle]] = {}
        self._held = False

    def hold(self) -> None:
        """Leave messages in the outbox."""
        self._held = True

    def go_on(self) -> None:
        """Send messages again, those in the outbox first."""
        self._held = False
        for group in {connection.group for connection in self._switchboard.connections()}:
            self.flush(group)
        self.flush(None)

    def deliver(self, outgoing: list[Outgoing], unrouted: list[Outgoing] | None = None) -> None:
        """Send what a commit has brought; what nobody here has taken is added to `unrouted`."""
        if self._held:
            return
        for each in self._switchboard.deliver(outgoing, unrouted):
            self._enqueue_push(each)
        self._schedule_removal()
        for group in self._switchboard.take_full():
            if group not in self._full:
                loop = asyncio.get_running_loop()
                self._full[group] = loop.call_later(FULL_PAUSE_S, self._try_full, group)

    def _try_full(self, group: str) -> None:
        del self._full[group]
        self.flush(group)

    def _enqueue_push(self, outgoing: Outgoing) -> None:
        if self._push is None:
            self._statistics.pushes["disabled"] += 1
            return
        try:
            self._pushes.put_nowait(outgoing)
        except asyncio.QueueFull:
            self._statistics.pushes["deferred"] += 1
            self._schedule_retry()

    def _schedule_removal(self) -> None:
        if self._linger is None and self._switchboard.has_sent():
            self._linger = asyncio.get_running_loop().call_later(SENT_LINGER_S, self._remove_sent)

    def _remove_sent(self) -> None:
        self._linger = None
        self._wake_committer()

    def _schedule_retry(self) -> None:
        if self._retry is None:
            seconds = self._settings.retry_timeout_ms / 1000
            self._retry = asyncio.get_running_loop().call_later(seconds, self._retry_pushes)

    def _retry_pushes(self) -> None:
        self._retry = None
        self.flush(None)

    def flush(self, group: str | None, *, joined: bool = False) -> None:
        """Look through the outbox for a group (None: for URLs) soon; `joined` if somebody new listens."""
        self._flushes[group] = joined or self._flushes.get(group, False)
        self._chores.set()

    def lost(self, connection: Connection) -> None:
        """Announce again what a closed connection may not have read."""
        self._lost.update(dict.fromkeys(connection.recent))
        self._chores.set()

    @property
    def pushes(self) -> bool:
        """Whether messages to URLs are sent at all."""
        return self._push is not None

    async def run(self) -> None:
        """Do the chores until cancelled."""
        async with asyncio.TaskGroup() as group:
            if self._push is not None:
                for _ in range(self._settings.push_concurrency):
                    group.create_task(self._push_forever(self._push))
                self.flush(None)
            group.create_task(self._work())

    def stop(self) -> None:
        """Forget the timers."""
        repeats = [handle for _, handle in self._repeats.values()]
        for handle in (self._linger, self._retry, *self._full.values(), *repeats):
            if handle is not None:
                handle.cancel()

    async def _work(self) -> None:
        while True:
            await self._chores.wait()
            self._chores.clear()
            try:
                await self._dispatch_lost()
                await self._flush_all()
            except Exception as error:  # what was not sent is still in the outbox
                _log.error("delivery from the outbox failed", trace=trace_of(error))
                await asyncio.sleep(FAILURE_PAUSE_S)
                self._chores.set()

    async def _dispatch_lost(self) -> None:
        if self._lost:
            references = list(self._lost)
            outgoing = await self._store.run(
                lambda now: dispatch_program(now, self._settings, references), self._clock.now_ms()
            )
            for reference in references:
                self._lost.pop(reference, None)
            self.deliver(outgoing)

    async def _flush_all(self) -> None:
        while self._flushes:
            # Taken first, since whoever connects meanwhile asks for another.
            group, joined = self._flushes.popitem()
            try:
                await self._flush(group, joined=joined)
            except Exception:
                self.flush(group, joined=joined)
                raise

    async def _flush(self, group: str | None, *, joined: bool) -> None:
        after_task, after_unblock, more = "", ("", ""), True
        while more:
            limit = self._settings.flush_page
            query = LoadOutbox(group=group, after_task=after_task, after_unblock=after_unblock, limit=limit)
            result = await self._read(query, held=joined)
            page, after_task = result.page, result.after_task
            if page.unblocks:
                row = page.unblocks[-1][0]
                after_unblock = (row.promise_id, row.address)
            waiting = [each for each in outgoing_of(page) if not self._elsewhere(each)]
            if self._shared is not None:
                waiting = await self._claimed(self._shared, waiting)
            now_ms = self._clock.now_ms()
            self.deliver([replace(each, held=is_held(each.queued_at, now_ms)) for each in waiting])
            more = page.more and self._may_take(group)

    async def _claimed(self, store: SharedStore, waiting: list[Outgoing]) -> list[Outgoing]:
        """Return what can be sent here and no other engine has taken over meanwhile."""
        reached = [
            each
            for each in waiting
            if not isinstance(address_of(each.address), PollAddress)
            or self._switchboard.reaches(each.address)
        ]
        return outgoing_of(await store.claim(waiting_of(reached))) if reached else []

    def _elsewhere(self, outgoing: Outgoing) -> bool:
        """Tell whether a message has left already, or is a push that another engine is about to send."""
        if self._shared is None or isinstance(address_of(outgoing.address), PollAddress):
            return self._switchboard.left(outgoing)
        young = outgoing.queued_at > self._clock.now_ms() - self._settings.retry_timeout_ms
        return young or self._switchboard.left(outgoing)

    def _may_take(self, group: str | None) -> bool:
        return group is None or (self._switchboard.has_members(group) and group not in self._full)

    async def _read(self, query: LoadOutbox, *, held: bool) -> FlushResult:
        result = await self._store.run(
            lambda now: flush_program(now, self._settings, query, held=held), self._clock.now_ms()
        )
        self._lower_deadline(result.deadline)
        return result

    async def _push_forever(self, push: Push) -> None:
        while True:
            outgoing = await self._pushes.get()
            try:
                taken = await push(outgoing.address, outgoing.message)
            except Exception as error:  # a fault of the sender must not end the delivery
                _log.error("push failed", address=outgoing.address, error=str(error))
                taken = False
            self._statistics.pushes["taken" if taken else "failed"] += 1
            if isinstance(outgoing.message, Execute):
                self._repeat(outgoing, outgoing.message, taken=taken)
            elif not taken:
                self._schedule_retry()
            if taken:
                self._switchboard.mark_sent(outgoing)
                self._schedule_removal()

    def _repeat(self, outgoing: Outgoing, message: Execute, *, taken: bool) -> None:
        """Post a task that was not taken again, some times; then its own retry timer is left."""
        key = (message.task.id, message.task.version)
        number, _ = self._repeats.pop(key, (0, None))
        if taken or number == len(REPEAT_PAUSES_S) or len(self._repeats) >= self._settings.push_queue_max:
            return
        loop = asyncio.get_running_loop()
        handle = loop.call_later(REPEAT_PAUSES_S[number], self._enqueue_push, outgoing)
        self._repeats[key] = (number + 1, handle)
