"""Time that does not pass while nothing happens: a loop waits for its next timer by being there at once.

A `VirtualClock` takes over the time of one event loop. Where the loop would sleep until a timer, the clock
jumps to it, so that a workflow that sleeps for a month is tested in milliseconds, in the order in which
everything would have happened. While a thread works, or a socket may still bring something, time passes as
it does outside. `SeededLoop` is a loop on which the same seed gives the same run.
"""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import selectors
import time
from collections.abc import Callable, Coroutine, Generator
from math import inf, ulp
from random import Random
from types import TracebackType
from typing import Any, Self, TypeVar, TypeVarTuple, Unpack

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
BEGIN_MS = 1_700_000_000_000
SOCKET_PATIENCE_S = 0.02
"""How long (in real time) open sockets are listened to before virtual time jumps."""
STANDSTILL_S = 5.0
HORIZON_S = 1_000 * 365 * 86_400.0
"""A timer farther off wakes nobody who waits: it is the deadline of what has none."""
_OWN_DESCRIPTORS = 1
"""A loop always watches the pipe by which threads wake it."""


class StandStill(RuntimeError):
    """Nothing can ever happen any more: no timer (of the next thousand years), thread or socket is left."""

    def __init__(self) -> None:
        super().__init__(
            "virtual time stands still: everything waits, and no timer (within a thousand years), thread or "
            "socket is left to wake it; something awaits what nobody settles"
        )


class VirtualClock:
    """The time of a loop under test, for engine and application alike (`clock=`).

    `async with clock:` takes over the running loop until left; `clock.run(main())` runs a coroutine on a
    loop of its own. `begin_ms` is the wall clock's start in Unix milliseconds. May be used again, one loop
    at a time; what has passed stays passed.
    """

    def __init__(self, begin_ms: int = BEGIN_MS) -> None:
        self._begin_ms = begin_ms
        self._passed_s = 0.0
        self._origin_s = 0.0
        self._loop: asyncio.BaseEventLoop | None = None
        self._threads = 0
        self._undo: list[Callable[[], None]] = []

    def now_ms(self) -> int:
        """Return the virtual present in Unix milliseconds."""
        return self._begin_ms + round(self._passed_s * 1000)

    @property
    def taken(self) -> bool:
        """Whether a loop lives by this clock now."""
        return self._loop is not None

    @property
    def passed_s(self) -> float:
        """The virtual seconds that have passed since the clock was made."""
        return self._passed_s

    async def sleep_until(self, moment_ms: int) -> None:
        """Return once it is `moment_ms` (Unix milliseconds) or later."""
        while (left_ms := moment_ms - self.now_ms()) > 0:  # noqa: ASYNC110 - the loop's timers are the event
            await asyncio.sleep(left_ms / 1000)

    def advance(self, seconds: float) -> None:
        """Let so much time pass at once, as if the whole process had been frozen for it."""
        if seconds < 0:
            raise ValueError(f"time does not run backwards: {seconds} s")
        self._passed_s += seconds

    def reach(self, moment: float) -> None:
        """Let time pass until a timer of the loop that is set for `moment` (of the loop's time) is due."""
        # A loop takes a timer for due within its resolution, which is lost in floats of half a year and more.
        self._passed_s = max(self._passed_s, moment - self._origin_s + 4 * ulp(moment))

    def run(self, main: Coroutine[Any, Any, T], loop: asyncio.SelectorEventLoop | None = None) -> T:
        """Run a coroutine under this clock to its end, on `loop` or a new one, which is closed then."""
        chosen = loop if loop is not None else asyncio.SelectorEventLoop()
        with asyncio.Runner(loop_factory=lambda: chosen) as runner:
            self.take(runner.get_loop())
            try:
                return runner.run(main)
            finally:
                self.release()

    async def __aenter__(self) -> Self:
        """Take over the running loop."""
        self.take(asyncio.get_running_loop())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the loop its own time back."""
        self.release()

    def take(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take over the time of a loop. Raises RuntimeError if it has one already, or hides its selector."""
        if self._loop is not None:
            raise RuntimeError("this clock has a loop already: a clock serves one at a time")
        if not isinstance(loop, asyncio.SelectorEventLoop):
            raise RuntimeError(f"{type(loop).__name__} has no selector: use asyncio's SelectorEventLoop")
        replaced: dict[str, Any] = {
            "time": self._time,
            "_selector": _SkippingSelector(self, loop),
            "run_in_executor": self._counted(loop),
        }
        self._origin_s = loop.time() - self._passed_s
        self._loop = loop
        for name, part in replaced.items():
            self._replace(loop, name, part)

    def release(self) -> None:
        """Give the loop its own time back."""
        for undo in self._undo:
            undo()
        self._undo, self._loop = [], None

    def _replace(self, loop: asyncio.BaseEventLoop, name: str, part: Any) -> None:
        if name in vars(loop):
            before = vars(loop)[name]
            self._undo.append(lambda: setattr(loop, name, before))
        else:
            self._undo.append(lambda: delattr(loop, name))
        setattr(loop, name, part)

    def _time(self) -> float:
        return self._origin_s + self._passed_s

    @property
    def threads(self) -> int:
        """How many calls run in threads now."""
        return self._threads

    def _counted(self, loop: asyncio.BaseEventLoop) -> Callable[..., asyncio.Future[Any]]:
        original = loop.run_in_executor

        def run_in_executor(executor: Any, function: Any, *args: Any) -> asyncio.Future[Any]:
            future: asyncio.Future[Any] = original(executor, function, *args)
            self._threads += 1
            future.add_done_callback(self._thread_ended)
            return future

        return run_in_executor

    def _thread_ended(self, _: object) -> None:
        self._threads -= 1


class _SkippingSelector(selectors.BaseSelector):
    """A loop's selector, which is told by a clock how long it need not wait."""

    def __init__(self, clock: VirtualClock, loop: asyncio.SelectorEventLoop) -> None:
        self._clock = clock
        self._inner: selectors.BaseSelector = vars(loop)["_selector"]
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what is ready; let virtual time pass instead of real time if nothing is."""
        if timeout is not None and timeout <= 0:
            return self._inner.select(0)
        if self._clock.threads:
            return self._as_outside(timeout)
        sockets = len(self._inner.get_map()) > _OWN_DESCRIPTORS
        events = self._inner.select(SOCKET_PATIENCE_S if sockets else 0)
        if events:
            return events
        # The timer itself, as a loop asks to wait for a day at most.
        moment = vars(self._loop)["_scheduled"][0].when() if timeout is not None else inf
        if moment - self._loop.time() > HORIZON_S:
            return self._inner.select(None) if sockets else self._last_resort()
        self._clock.reach(moment)
        return []

    def _as_outside(self, timeout: float | None) -> list[tuple[selectors.SelectorKey, int]]:
        begun = time.monotonic()
        events = self._inner.select(timeout)
        self._clock.advance(min(time.monotonic() - begun, timeout if timeout is not None else float("inf")))
        return events

    def _last_resort(self) -> list[tuple[selectors.SelectorKey, int]]:
        # A signal, or a thread that asyncio does not know, may still wake the loop.
        events = self._inner.select(STANDSTILL_S)
        if not events:
            raise StandStill
        return events

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Watch a file object."""
        return self._inner.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """Watch a file object no more."""
        return self._inner.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Watch a file object for something else."""
        return self._inner.modify(fileobj, events, data)

    def get_map(self) -> Any:
        """Return what is watched."""
        return self._inner.get_map()

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        """Return how a file object is watched."""
        return self._inner.get_key(fileobj)

    def close(self) -> None:
        """Watch nothing any more."""
        self._inner.close()


class SeededLoop(asyncio.SelectorEventLoop):
    """A loop on which the same seed gives the same run, if nothing outside takes part.

    Timers fire late by chance, up to `lateness_s` (virtual) seconds each, so that seeds differ in the order
    of what was to happen at the same time. Tasks and futures hash by their number instead of their address,
    so that sets of them are walked in the same order each time.
    """

    def __init__(self, chance: Random, lateness_s: float = 0.0) -> None:
        super().__init__()
        self._chance = chance
        self._lateness_s = lateness_s
        self._numbers = itertools.count(1)
        self.set_task_factory(self._make_task)

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """Call back at `when`, or a little later."""
        late_s = self._chance.random() * self._lateness_s if self._lateness_s else 0.0
        return super().call_at(when + late_s, callback, *args, context=context)

    def create_future(self) -> asyncio.Future[Any]:
        """Return a future with a number."""
        return _NumberedFuture(loop=self, number=next(self._numbers))

    def _make_task(
        self,
        loop: asyncio.AbstractEventLoop,
        body: Coroutine[Any, Any, Any] | Generator[Any, None, Any],
        **options: Any,
    ) -> asyncio.Task[Any]:
        return _NumberedTask(body, loop=loop, number=next(self._numbers), **options)


class _NumberedFuture(asyncio.Future[Any]):
    def __init__(self, *, loop: asyncio.AbstractEventLoop, number: int) -> None:
        super().__init__(loop=loop)
        self._number = number

    def __hash__(self) -> int:
        return self._number

    def __eq__(self, other: object) -> bool:
        return self is other


class _NumberedTask(asyncio.Task[Any]):
    def __init__(self, body: Any, *, number: int, **options: Any) -> None:
        # A task's set of all tasks asks for its hash before it is made.
        self._number = number
        super().__init__(body, **options)

    def __hash__(self) -> int:
        return self._number

    def __eq__(self, other: object) -> bool:
        return self is other
