"""Clients and workers under whose hands a server dies; they remember whatever it has ever shown them.

Each root `r…` waits for its gate `r…:g`, which its starter settles; its worker records a child first, and
fulfils the root behind the gate. Each write carries a value of its own, so that one that was lost and written
again is told apart. A call without an answer is repeated until there is one, as real clients do.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from orchestrator.domain.errors import Refused, Unavailable
from orchestrator.domain.promise import PromiseState, Value
from orchestrator.protocol import commands as c
from orchestrator.protocol.messages import Execute, Message
from orchestrator.protocol.records import PromiseRecord
from orchestrator.transport.http import HttpTransport, SessionSettings
from orchestrator.transport.stream import StreamSettings

FAR = 2**50
GROUP = "workers"
TARGET = {"resonate:target": f"poll://any@{GROUP}"}
LEASE_MS = 2_000
STARTERS, HANDS = 6, 12
OPEN_MAX = 48
AWAY_PAUSE_S = 0.02
_SESSION = SessionSettings(timeout_s=10.0)
_STREAM = StreamSettings(backoff_s=0.02, backoff_s_max=0.05)


@dataclass(slots=True)
class Memory:
    """What was shown: promises by id, the highest version of a task that somebody was granted."""

    promises: dict[str, PromiseRecord] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    answers: int = 0
    unanswered: int = 0

    def see(self, record: PromiseRecord) -> PromiseRecord:
        """Take in a record; it must agree with what was shown before."""
        before = self.promises.get(record.id)
        # An answer that was sent earlier may be read later: only what has settled cannot go back.
        if before is None or before.pending:
            self.promises[record.id] = record
        fault = contradiction(before, record) if before is not None and not record.pending else None
        assert fault is None, fault
        return record

    def faults(self, stored: dict[str, PromiseRecord], versions: dict[str, int]) -> list[str]:
        """Return what was acknowledged and is not in the store."""
        found = []
        for key, record in self.promises.items():
            there = stored.get(key)
            fault = f"{key} is lost" if there is None else contradiction(record, there)
            found += [fault] if fault else []
        for key, version in self.versions.items():
            if versions.get(key, -1) < version:
                found.append(f"{key} was granted at {version}, and stands at {versions.get(key)}")
        return found


def contradiction(before: PromiseRecord, after: PromiseRecord) -> str | None:
    """Tell how a later record contradicts an earlier one (P1, P2)."""
    same = (before.param, before.tags, before.created_at, before.timeout_at)
    if same != (after.param, after.tags, after.created_at, after.timeout_at):
        return f"{before.id} was created as {before}, and is {after}"
    if not before.pending and before != after:
        return f"{before.id} had settled as {before}, and is {after}"
    return None


class Witnesses:
    """Starters and workers at one server; `urls` may be several, asked in turn."""

    def __init__(self, urls: list[str]) -> None:
        self.memory = Memory()
        self.done: set[str] = set()
        self._transports = [HttpTransport(url, session=_SESSION, stream=_STREAM) for url in urls]
        self._open: dict[str, asyncio.Event] = {}
        self._room = asyncio.Semaphore(OPEN_MAX)
        self._stopping = False
        self._marks = 0
        self._turns = 0
        self._announced: asyncio.Queue[c.TaskReference] = asyncio.Queue(100_000)
        self._hands: list[asyncio.Task[None]] = []

    def _mark(self) -> Value:
        self._marks += 1
        return Value(data=f"write {self._marks}")

    async def ask(self, command: c.Command[Any]) -> Any:
        """Ask until answered. Raises Refused."""
        while True:
            self._turns += 1
            try:
                answer = await self._transports[self._turns % len(self._transports)].call(command)
            except Unavailable:
                self.memory.unanswered += 1
                await asyncio.sleep(AWAY_PAUSE_S)
                continue
            self.memory.answers += 1
            promise = getattr(answer, "promise", None)
            for record in (*([promise] if promise else []), *getattr(answer, "preload", [])):
                self.memory.see(record)
            return answer

    # -- who starts

    async def _start_forever(self, name: str) -> None:
        number = 0
        while not self._stopping:
            await self._room.acquire()
            number += 1
            root = f"r{name}-{number}"
            self._open[root] = asyncio.Event()
            gate = c.PromiseCreate(id=f"{root}:g", timeout_at=FAR, param=self._mark())
            await self.ask(gate)
            await self.ask(c.PromiseCreate(id=root, timeout_at=FAR, param=self._mark(), tags=TARGET))
            opening = c.PromiseSettle(id=gate.id, state=PromiseState.RESOLVED, value=self._mark())
            await self.ask(opening)

    def _finish(self, root: str) -> None:
        if root not in self.done:
            self.done.add(root)
            self._open.pop(root).set()
            self._room.release()

    # -- who works

    def _receive(self, message: Message) -> None:
        if isinstance(message, Execute):
            self._announced.put_nowait(message.task)

    async def _work_forever(self, pid: str) -> None:
        while True:
            task = await self._announced.get()
            try:
                await self._work(pid, task)
            except Refused as refusal:
                # Another has it, or it is over: nothing is wrong with a hint that comes late.
                if refusal.status not in (404, 409):
                    raise

    async def _work(self, pid: str, task: c.TaskReference) -> None:
        claim = await self.ask(c.TaskAcquire(id=task.id, version=task.version, pid=pid, ttl=LEASE_MS))
        root, version = task.id, claim.task.version
        assert self.memory.versions.get(root, 0) < version, f"T1: {root} was granted twice at {version}"
        self.memory.versions[root] = version
        gate, child = f"{root}:g", f"{root}:1"
        create = c.PromiseCreate(id=child, timeout_at=FAR, param=self._mark())
        await self.ask(c.TaskFence(id=root, version=version, action=create))
        settle = c.PromiseSettle(id=child, state=PromiseState.RESOLVED, value=self._mark())
        await self.ask(c.TaskFence(id=root, version=version, action=settle))
        if (await self.ask(c.PromiseGet(id=gate))).promise.pending:
            callback = c.PromiseRegisterCallback(awaited=gate, awaiter=root)
            rests = await self.ask(c.TaskSuspend(id=root, version=version, actions=[callback]))
            if rests.suspended:
                return
        end = c.PromiseSettle(id=root, state=PromiseState.RESOLVED, value=self._mark())
        try:
            await self.ask(c.TaskFulfill(id=root, version=version, action=end))
        except Refused:
            # Repeated after an answer that was lost, it is refused; what is there tells.
            if (await self.ask(c.PromiseGet(id=root))).promise.pending:
                raise
        self._finish(root)

    def forget(self, group: asyncio.TaskGroup) -> None:
        """Let all workers die and others take their place: what they held and had heard of is gone."""
        for hand in self._hands:
            hand.cancel()
        while not self._announced.empty():
            self._announced.get_nowait()
        self._hands = [
            group.create_task(self._work_forever(f"w{self._marks}-{number}")) for number in range(HANDS)
        ]

    # -- all of them

    async def run(self, group: asyncio.TaskGroup) -> AsyncExitStack:
        """Begin; leave what is returned when all is done, and nobody is left."""
        stack = AsyncExitStack()
        for transport in self._transports:
            stack.push_async_callback(transport.close)
        for number, transport in enumerate(self._transports):
            await stack.enter_async_context(transport.connect(GROUP, f"m{number}", self._receive))
        self._starting = [group.create_task(self._start_forever(str(each))) for each in range(STARTERS)]
        self.forget(group)
        return stack

    async def finish(self, within_s: float) -> None:
        """Start nothing more; every root must end soon. Raises TimeoutError naming those that do not."""
        end = monotonic() + within_s
        self._stopping = True
        while not all(each.done() for each in self._starting):
            assert monotonic() < end, "the starters are stuck"
            await asyncio.sleep(AWAY_PAUSE_S)
        while self._open:
            if monotonic() > end:
                stuck = {root: (await self.ask(c.TaskGet(id=root))).task for root in self._open}
                raise TimeoutError(f"stuck for {within_s:.0f} s: {stuck}")
            # A root whose last answer was lost with its worker is over, and nobody has told.
            for root in [*self._open]:
                if not (await self.ask(c.PromiseGet(id=root))).promise.pending and root in self._open:
                    self._finish(root)
            await asyncio.sleep(AWAY_PAUSE_S)
        for hand in self._hands:
            hand.cancel()

    async def judge(self) -> None:
        """Compare all that was shown with all that is stored."""
        stored: dict[str, PromiseRecord] = {}
        versions: dict[str, int] = {}
        cursor: str | None = None
        while True:
            page = await self.ask(c.PromiseSearch(limit=1000, cursor=cursor))
            stored |= {record.id: record for record in page.promises}
            cursor = page.cursor
            if cursor is None:
                break
        while True:
            tasks = await self.ask(c.TaskSearch(limit=1000, cursor=cursor))
            versions |= {task.id: task.version for task in tasks.tasks}
            open_ones = [task for task in tasks.tasks if task.state.value != "fulfilled"]
            assert not open_ones, open_ones[:5]
            cursor = tasks.cursor
            if cursor is None:
                break
        faults = self.memory.faults(stored, versions)
        assert not faults, (len(faults), faults[:5])
