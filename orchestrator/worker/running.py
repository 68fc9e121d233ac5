"""One execution that a worker has under way, and how it is stopped there."""

from __future__ import annotations

import asyncio

from orchestrator.client.execution import Execution
from orchestrator.client.lease import Lease
from orchestrator.client.verdict import Ending, Verdict


class Running:
    """One execution and its lease. `task` is what executes it, None before that and afterwards."""

    __slots__ = ("_stopped", "lease", "task")

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        self.task: asyncio.Task[None] | None = None
        self._stopped = False

    def stop(self) -> None:
        """End the execution where it stands; it has been given up then."""
        if self.task is not None and not self._stopped:
            self._stopped = True
            self.task.cancel()

    async def carry_out(self, execution: Execution, group: asyncio.TaskGroup) -> Verdict:
        """Execute until the verdict, in the task that asks. Only `stop` makes it one of a lost task."""
        task = self.task = asyncio.current_task()
        try:
            return await execution.run(group)
        except asyncio.CancelledError:
            execution.close()  # it may have been suspended before, and nobody keeps it now
            # What remains is a cancellation of the whole worker.
            if task is None or not self._stopped or task.uncancel():
                raise
            return Verdict(ending=Ending.LOST)
        finally:
            self.task = None
