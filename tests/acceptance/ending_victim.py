"""A process that calls a tree of workflows, ends it, and is killed in the middle: see test_killed_ending.

Arguments: the store, `cancel`, `terminate` or `wait`, and where to die: a point of tests/acceptance/killing,
or `commit:N`, which is after the N-th transaction since the request, which is the first. `wait` prints how it
ended.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Any

from orchestrator import Context, Orchestrator, PromiseCanceled
from orchestrator.engine import Engine, EngineSettings
from orchestrator.protocol import commands as c
from orchestrator.store import Store, open_store
from orchestrator.store.abilities import PromptStore
from orchestrator.store.port import Program, Write
from orchestrator.transport.local import LocalTransport
from tests.acceptance.killing import Killer, KillingTransport, KillPoint

ROOT, CHILDREN = "tree", 24
PAGE = 5


async def undo(number: int) -> int:
    return number


async def child(ctx: Context, number: int) -> None:
    try:
        await ctx.promise()
    finally:
        await ctx.run(undo, number)


async def parent(ctx: Context) -> None:
    called = [ctx.rpc(child, number) for number in range(CHILDREN)]
    ctx.detached(child, -1)
    try:
        await ctx.gather(*called)
    finally:
        await ctx.run(undo, CHILDREN)


class Dying:
    """Ends the process after so many transactions, of which the first is the one that writes the request.

    Others may be under way when the request is made, and say nothing about it.
    """

    def __init__(self, store: Store, number: int) -> None:
        self._asked = False
        self._left = number
        self._run: Any = store.run
        self._run_at_once: Any = store.run_at_once if isinstance(store, PromptStore) else None
        for name in ("run", "run_at_once"):
            if hasattr(store, name):
                setattr(store, name, getattr(self, name))

    async def run(self, make_program: Any, now_ms: int) -> Any:
        heeding = _Heeding(make_program)
        answer = await self._run(heeding, now_ms)
        self._committed(heeding)
        return answer

    def run_at_once(self, make_program: Any, now_ms: int) -> Any:
        heeding = _Heeding(make_program)
        answer = self._run_at_once(heeding, now_ms)
        if answer is not None:
            self._committed(heeding)
        return answer

    def _committed(self, heeding: _Heeding) -> None:
        self._asked = self._asked or heeding.asks
        if self._asked:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


class _Heeding:
    """Makes a program, and sees whether it writes down that a tree is to be ended."""

    def __init__(self, make_program: Any) -> None:
        self.asks = False
        self._make_program = make_program

    def __call__(self, now_ms: int) -> Program[Any]:
        self.asks = False  # it may start again
        program, answered = self._make_program(now_ms), None
        while True:
            try:
                query = program.send(answered)
            except StopIteration as stop:
                return stop.value
            # The tree is larger than a page, so that there is a rest to be carried out.
            self.asks = self.asks or (isinstance(query, Write) and bool(query.changes.endings))
            answered = yield query


async def main(url: str, what: str, where: str) -> None:
    store = open_store(url)
    kind, _, number = where.partition(":")
    dying = Dying(store, int(number)) if kind == "commit" else None
    killer = Killer(None if dying or not where else KillPoint.parse(where))
    settings = EngineSettings(tick_page=PAGE, retry_timeout_ms=200)
    async with Engine(store, settings=settings) as engine:
        app = Orchestrator(transport=KillingTransport(LocalTransport(engine), killer), ttl_ms=1000)
        for function in (undo, child, parent):
            app.register(function)
        async with app:
            if what == "wait":
                try:
                    await (await app.get(ROOT)).result()
                except PromiseCanceled:
                    print("canceled", flush=True)  # noqa: T201
                return
            handle = await app.begin_rpc(ROOT, parent)
            await _at_rest(app)
            await (handle.cancel() if what == "cancel" else handle.terminate())
            await asyncio.Event().wait()


async def _at_rest(app: Orchestrator) -> None:
    """Wait until every workflow of the tree is suspended."""
    while True:
        tasks = await app._started().transport.call(c.TaskSearch(limit=1000))
        if sum(task.state.value == "suspended" for task in tasks.tasks) == CHILDREN + 2:
            return
        await asyncio.sleep(0.02)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
