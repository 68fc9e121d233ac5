"""What an execution does beside the stepping of its workflows: the jobs of its calls, and listening.

They end with the run that began them. What a job raises ends the execution.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.client.execution import Execution

LISTEN_AFTER_S = 0.1
"""After this long beside a local step, remote outcomes are listened for instead of being suspended on."""


class Jobs:
    """The tasks of one run of an execution, in a `group` of its worker; true while a job is under way."""

    __slots__ = ("_execution", "_group", "_listened", "_listening", "_loop", "_tasks", "_watch")

    def __init__(self, execution: Execution, group: asyncio.TaskGroup) -> None:
        self._execution = execution
        self._group = group
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listening: set[asyncio.Task[None]] = set()
        self._listened: set[str] = set()
        self._watch: asyncio.TimerHandle | None = None

    def __bool__(self) -> bool:
        """Tell whether a job is under way; listening is none."""
        return bool(self._tasks)

    def start(self, job: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a job. Raises CancelledError where the worker has just ended."""
        self._begin(self._tasks, job)

    def watch_remote(self) -> None:
        """Look, a little later, whether remote outcomes have to be listened for beside what is under way."""
        if self._watch is None:
            self._watch = self._loop.call_later(LISTEN_AFTER_S, self._listen_if_busy)

    def _listen_if_busy(self) -> None:
        self._watch, execution = None, self._execution
        # Between two steps nothing is under way for a moment, too: it looks again until the run has ended.
        if execution.is_busy():
            for promise_id in execution.awaited_ids():
                if promise_id not in self._listened:
                    self._listened.add(promise_id)
                    try:
                        self._begin(self._listening, partial(execution.listen, promise_id))
                    except asyncio.CancelledError:
                        return
        self.watch_remote()

    def cancel(self) -> None:
        """Begin nothing more, and have all end."""
        if self._watch is not None:
            self._watch.cancel()
        for task in (*self._tasks, *self._listening):
            task.cancel()

    async def ended(self) -> None:
        """Wait until nothing of this is under way any more; to be called once."""
        if left := (*self._tasks, *self._listening):
            await asyncio.wait(left)

    def _begin(self, tasks: set[asyncio.Task[None]], job: Callable[[], Coroutine[Any, Any, None]]) -> None:
        guarded = self._guarded(tasks, job)
        try:
            task = self._group.create_task(guarded)
        except RuntimeError as error:
            # The group has cancelled all that runs in it, and this execution has not paused since.
            guarded.close()
            raise asyncio.CancelledError from error
        tasks.add(task)

    async def _guarded(
        self, tasks: set[asyncio.Task[None]], job: Callable[[], Coroutine[Any, Any, None]]
    ) -> None:
        try:
            await job()
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self._execution.end_with(error)
        finally:
            # Here, not when the task is done: that would cost two more turns of the loop.
            if (task := asyncio.current_task()) is not None:
                tasks.discard(task)
            self._execution.rouse()
