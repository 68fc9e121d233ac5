"""Notices that something blocks the loop of a worker, and names it while it does.

A thread asks the loop for a sign of life while the worker is busy, so that a function which never returns is
told of, too. Nothing is counted on the way of a step. Time is the process's monotonic clock.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import structlog

from orchestrator.client.surroundings import RunningLeaf

STALL_S_MAX = 1.0
"""A loop that is silent for longer is told of; where leases are short, for a quarter of a lease."""
FRAMES_MAX = 3
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stall:
    """What blocked the loop for how many `seconds` until `seen_at`, as far as is known.

    `function` and `promise_id` are those of a leaf, None if something else does not let go.
    """

    function: str | None
    promise_id: str | None
    where: str
    seconds: float
    seen_at: float


class StallWatch:
    """Watches one loop from a thread of its own, which rests while the worker does.

    `attempts` tells which leaf a task of the loop runs, and under None which one holds the loop; `busy`
    whether there is anything to watch.
    """

    def __init__(
        self,
        attempts: Mapping[asyncio.Task[Any] | None, RunningLeaf],
        busy: Callable[[], bool],
        lease_s: float,
    ) -> None:
        """To be called within the loop."""
        self._attempts = attempts
        self._busy = busy
        self._limit_s = min(STALL_S_MAX, lease_s / 4)
        self._loop = asyncio.get_running_loop()
        self._watched = threading.get_ident()
        self._awake = threading.Event()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None
        self._latest: Stall | None = None

    def wake(self) -> None:
        """Begin to watch: the worker is busy."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="stall-watch", daemon=True)
            try:
                self._thread.start()
            except RuntimeError:
                return  # no threads here, in a browser for instance
        if not self._awake.is_set():
            self._awake.set()

    def close(self) -> None:
        """End the thread, soon."""
        self._closed.set()
        self._awake.set()

    def within(self, seconds: float) -> Stall | None:
        """Return the latest stall if it has lasted into the last so many seconds."""
        latest = self._latest
        recent = latest is not None and time.monotonic() - latest.seen_at <= seconds
        return latest if recent else None

    # -- in the thread

    def _run(self) -> None:
        while not self._closed.is_set():
            self._awake.wait()
            # What is over by then was short: bursts of work do not wake this thread one by one.
            self._closed.wait(self._limit_s / 4)
            self._awake.clear()
            while self._busy() and not self._closed.is_set():
                answered = threading.Event()
                try:
                    self._loop.call_soon_threadsafe(answered.set)
                except RuntimeError:
                    return  # the loop is closed
                self._await(answered)
                self._closed.wait(self._limit_s / 4)

    def _await(self, answered: threading.Event) -> None:
        stall, silent_s, counted_at = None, 0.0, _Moment()
        while not answered.wait(self._limit_s / 4) and not self._closed.is_set():
            counted_at, passed_s = counted_at.next(self._limit_s)
            silent_s += passed_s
            if silent_s >= self._limit_s:
                found = self._look(silent_s, stall)
                if stall is None:
                    _log.warning("the loop is blocked", **_fields(found))
                stall = self._latest = found
        if stall is not None and answered.is_set():
            _log.warning("the loop was blocked", **_fields(stall))

    def _look(self, seconds: float, known: Stall | None) -> Stall:
        if known is not None:
            function, promise_id, where = known.function, known.promise_id, known.where
        else:
            task = asyncio.current_task(self._loop)
            leaf = self._attempts.get(None) or self._attempts.get(task)
            function = f"{leaf.name} version {leaf.version}" if leaf is not None else None
            promise_id = leaf.promise_id if leaf is not None else None
            where = _place(sys._current_frames().get(self._watched))
        return Stall(
            function=function,
            promise_id=promise_id,
            where=where,
            seconds=seconds,
            seen_at=time.monotonic(),
        )


class _Moment:
    """When silence was last counted, and how much the process had computed by then."""

    __slots__ = ("_at", "_computed_s")

    def __init__(self) -> None:
        self._at = time.monotonic()
        self._computed_s = time.process_time()

    def next(self, patience_s: float) -> tuple[_Moment, float]:
        """Return the present, and the seconds that have passed for this process.

        One that was frozen as a whole wakes much later without having computed: that blocked nothing.
        """
        present = _Moment()
        passed_s, computed_s = present._at - self._at, present._computed_s - self._computed_s
        return present, passed_s if passed_s <= patience_s else min(passed_s, max(computed_s, patience_s))


def _place(frame: FrameType | None) -> str:
    """Return the innermost places of a stack, the outer ones first."""
    places: list[str] = []
    while frame is not None and len(places) < FRAMES_MAX:
        places.append(f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno} {frame.f_code.co_name}")
        frame = frame.f_back
    return " > ".join(reversed(places))


def _fields(stall: Stall) -> dict[str, object]:
    leaf = 'nothing else goes on meanwhile: register it with executor="thread" or "process"'
    other = "nothing else goes on meanwhile: a leaf should do what takes long, on a machine with time for it"
    return {
        "function": stall.function,
        "promise_id": stall.promise_id,
        "seconds": round(stall.seconds, 1),
        "where": stall.where,
        "advice": other if stall.function is None else leaf,
    }
