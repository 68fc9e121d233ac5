"""One attempt of a leaf function: where it runs, how long it may take, and how it ended."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from orchestrator.client import codec
from orchestrator.client.future import Outcome, Raised, Returned
from orchestrator.client.info import Info
from orchestrator.client.options import AttemptLimits
from orchestrator.client.processes import place_of
from orchestrator.client.registry import RegisteredFunction
from orchestrator.client.surroundings import Surroundings
from orchestrator.domain.errors import Cancelled, OrchestratorError

SILENCE_PARTS = 5
"""In so many steps silence is counted: it may be found by one of them too late, never too early."""


class AttemptTimedOut(OrchestratorError):
    """An attempt took longer than it may, or gave no heartbeat; another one may follow."""

    retryable = True

    def __init__(self, function: str, reason: str) -> None:
        super().__init__(f"an attempt of {function} {reason}")
        self.function = function


class LeafCancelledItself(OrchestratorError):
    """A leaf function ended by a cancellation that nobody asked of it."""

    retryable = True

    def __init__(self, function: RegisteredFunction, cause: BaseException) -> None:
        super().__init__(f"{function} raised CancelledError although nobody cancelled it")
        self.__cause__ = cause


class LeafExited(OrchestratorError):
    """A leaf function called `sys.exit`, which must not end its worker: the others' work goes on."""

    def __init__(self, function: RegisteredFunction, cause: SystemExit) -> None:
        super().__init__(f"{function} called sys.exit({cause.code!r}): raise an error instead")
        self.__cause__ = cause


class _Silence:
    """Counts for how long a function has given no heartbeat, in parts of what it may be silent.

    A part counts once the loop has come to its end: while the process stood still, or had no processor, the
    function could say nothing, and nobody would have heard it.
    """

    __slots__ = ("_loop", "_over", "_part_s", "_passed", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, limit_s: float, over: Callable[[], None]) -> None:
        self._loop = loop
        self._part_s = limit_s / SILENCE_PARTS
        self._over = over
        self._passed = 0
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Count from now on, until `close`."""
        self._timer = self._loop.call_later(self._part_s, self._count)

    def broken(self) -> None:
        """Begin anew: the function has said something. Of the present part some has passed already."""
        self._passed = -1

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _count(self) -> None:
        self._passed += 1
        if self._passed < SILENCE_PARTS:
            self.begin()
        else:
            self._over()


class Attempt:
    """Runs a function once. What limits it counts from when it begins, not while it waits for a thread."""

    __slots__ = (
        "_args",
        "_around",
        "_function",
        "_info",
        "_kwargs",
        "_limits",
        "_loop",
        "_silence",
        "_silent",
        "_timer",
    )

    def __init__(
        self,
        around: Surroundings,
        function: RegisteredFunction,
        info: Info,
        *,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        limits: AttemptLimits,
    ) -> None:
        self._around = around
        self._function = function
        self._info = info
        self._args = args
        self._kwargs = kwargs
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.Timeout | None = None
        self._silence: _Silence | None = None
        self._silent = False

    async def run(self) -> Outcome:
        """Return how the attempt ended. Raises CancelledError if this task is cancelled, nothing else."""
        task = asyncio.current_task()
        if task is not None:
            self._around.attempts[task] = self._info
        try:
            return Returned(await self._limited())
        except asyncio.CancelledError as error:
            self._info.stop()
            if task is None or task.cancelling():
                raise
            # Not ours: the function cancelled something of its own and let it escape.
            return Raised(LeafCancelledItself(self._function, error))
        except SystemExit as error:
            return Raised(LeafExited(self._function, error))
        except (Exception, Cancelled) as error:
            return Raised(error)
        finally:
            if task is not None:
                self._around.attempts.pop(task, None)

    def beat(self) -> None:
        """Take a heartbeat, from any thread."""
        if self._silence is not None:
            self._loop.call_soon_threadsafe(self._silence.broken)

    # -- limits

    async def _limited(self) -> Any:
        if not self._limits.bounds_anything():
            return await self._invoke()
        if self._limits.heartbeat_timeout_s is not None:
            self._silence = _Silence(self._loop, self._limits.heartbeat_timeout_s, self._end_for_silence)
        timer = self._timer = asyncio.timeout(None)
        try:
            async with timer:
                return await self._invoke()
        except TimeoutError:
            if not timer.expired():
                raise
        finally:
            if self._silence is not None:
                self._silence.close()
        self._info.stop()
        raise AttemptTimedOut(str(self._function), self._exceeded())

    def _begin(self) -> None:
        """Start to count."""
        limit_s = self._limits.attempt_timeout_s
        begun = self._end_at(self._loop.time() + limit_s if limit_s is not None else None)
        if begun and self._silence is not None:
            self._silence.begin()

    def _end_for_silence(self) -> None:
        self._silent = self._end_at(self._loop.time())

    def _end_at(self, moment: float | None) -> bool:
        """Let the attempt end at a moment of the loop's time; False if it is over, or about to be."""
        if self._timer is None:
            return False
        try:
            self._timer.reschedule(moment)
        except RuntimeError:
            return False
        return True

    def _exceeded(self) -> str:
        if self._silent:
            return f"gave no heartbeat for {self._limits.heartbeat_timeout_s:g} s"
        return f"took longer than {self._limits.attempt_timeout_s:g} s"

    # -- where it runs

    async def _invoke(self) -> Any:
        function = self._function
        args = [self._info, *self._args] if function.inserted else self._args
        if function.is_async or function.executor == "inline":
            self._begin()
            result = function.fn(*args, **self._kwargs)
        elif function.executor == "process":
            result = await self._in_process()
        else:
            result = await self._in_thread(args)
        return await result if inspect.isawaitable(result) else result

    async def _in_thread(self, args: Sequence[Any]) -> Any:
        context = contextvars.copy_context()
        outcome = await self._loop.run_in_executor(self._around.threads(), context.run, self._guarded, args)
        match outcome:
            case Returned(value):
                return value
            case Raised(error):
                raise error

    async def _in_process(self) -> Any:
        function, info = self._function, self._info
        name = str(function)
        call: dict[str, object] = {
            **asdict(place_of(function.fn)),
            "name": function.name,
            "version": function.version,
            "promise_id": info.promise_id,
            "attempt": info.attempt,
            "progress": info.recorded,
            "args": [codec.encode(one, f"argument {at + 1} of {name}") for at, one in enumerate(self._args)],
            "kwargs": {
                key: codec.encode(one, f"argument {key!r} of {name}") for key, one in self._kwargs.items()
            },
        }
        tree = await self._around.processes().run(name, call, self._told)
        return codec.decode(tree, function.returns, f"the result of {name}")

    def _told(self, kind: str, content: object) -> None:
        """Take what the process says while it runs the function."""
        if kind == "begun":
            self._begin()
        else:
            self._info.take(content)

    def _guarded(self, args: Sequence[Any]) -> Outcome:
        # An asyncio future refuses StopIteration, so that outcomes travel as values.
        try:
            if self._limits.bounds_anything():
                self._loop.call_soon_threadsafe(self._begin)
            return Returned(self._function.fn(*args, **self._kwargs))
        except SystemExit as error:
            return Raised(LeafExited(self._function, error))
        except (Exception, Cancelled) as error:
            return Raised(error)
