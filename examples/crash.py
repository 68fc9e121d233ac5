"""Run a program and end its process, as a crash would (SIGKILL), at a step.

    python -m examples.crash STEP NUMBER PROGRAM [ARGUMENT]...

The process ends when the function STEP is about to be executed for the NUMBER-th time, so that everything
before is recorded and nothing after has happened.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
from typing import Any

from orchestrator import Orchestrator
from orchestrator.domain.promise import PromiseState


class Crash:
    """Counts the executions of one function."""

    def __init__(self, step: str, number: int) -> None:
        self._step = step
        self._left = number

    def on_step_started(self, promise_id: str, name: str, attempt: int) -> None:
        """End the process if this is the execution to end at."""
        if name == self._step:
            self._left -= 1
            if not self._left:
                os.kill(os.getpid(), signal.SIGKILL)

    def on_step_finished(self, promise_id: str, name: str, state: PromiseState) -> None:
        """Take note of nothing."""


class CrashingOrchestrator(Orchestrator):
    """An application whose process will end."""

    crash: Crash

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.observe(self.crash)


def main() -> None:
    """Run the program in this process, with an application that crashes."""
    step, number, program, *arguments = sys.argv[1:]
    CrashingOrchestrator.crash = Crash(step, int(number))
    import orchestrator  # noqa: PLC0415 - the program imports it by this name

    orchestrator.Orchestrator = CrashingOrchestrator  # type: ignore[misc]
    sys.argv = [program, *arguments]
    runpy.run_path(program, run_name="__main__")


if __name__ == "__main__":
    main()
