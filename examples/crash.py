"""Run a program that writes down its steps, and end its process, as a crash would (SIGKILL), at one of them.

    python -m examples.crash LOG STEP NUMBER PROGRAM [ARGUMENT]...

The process ends when the function STEP is about to be executed for the NUMBER-th time, so that everything
before is recorded and nothing after has happened. With 0 it ends when it ends, or after the seconds in the
first line of a file `lives`, which it takes out of it. A line of the file LOG is `started ID` or
`finished ID`; it is written before the step is executed, or after its outcome is recorded.
"""

from __future__ import annotations

import io
import os
import runpy
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from orchestrator import Orchestrator
from orchestrator.domain.promise import PromiseState

LIVES = "lives"


class Steps:
    """Writes down the executions of all functions, and counts those of one."""

    def __init__(self, log: str, step: str, number: int) -> None:
        # By one write a line, so that the lines of several processes stay whole and in order.
        self._log = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._step = step
        self._left = number

    def on_step_started(self, promise_id: str, name: str, attempt: int) -> None:
        """End the process if this is the execution to end at."""
        if name == self._step:
            self._left -= 1
            if not self._left:
                os.kill(os.getpid(), signal.SIGKILL)
        os.write(self._log, f"started {promise_id}\n".encode())

    def on_step_finished(self, promise_id: str, name: str, state: PromiseState) -> None:
        """Write down that the outcome is recorded."""
        os.write(self._log, f"finished {promise_id}\n".encode())


class WholeLines(io.TextIOWrapper):
    """Standard output on which threads that print at once do not write into each other's lines."""

    _begun = threading.local()

    def write(self, text: str, /) -> int:
        """Keep the text until its line is whole."""
        *whole, begun = (getattr(self._begun, "text", "") + text).split("\n")
        self._begun.text = begun
        if whole:
            super().write("".join(f"{line}\n" for line in whole))
            self.flush()
        return len(text)


def live_as_told() -> None:
    """Have the process end after the seconds in the first line of the file `lives`, if there is one."""
    told = Path(LIVES)
    if told.exists() and (lives := told.read_text(encoding="utf-8").splitlines()):
        told.write_text("".join(f"{line}\n" for line in lives[1:]), encoding="utf-8")
        timer = threading.Timer(float(lives[0]), os.kill, (os.getpid(), signal.SIGKILL))
        timer.daemon = True
        timer.start()


class ObservedOrchestrator(Orchestrator):
    """An application whose steps are written down."""

    steps: Steps

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.observe(self.steps)


def main() -> None:
    """Run the program in this process, with an application that is observed."""
    log, step, number, program, *arguments = sys.argv[1:]
    ObservedOrchestrator.steps = Steps(log, step, int(number))
    import orchestrator  # noqa: PLC0415 - the program imports it by this name

    orchestrator.Orchestrator = ObservedOrchestrator  # type: ignore[misc]
    live_as_told()
    assert isinstance(sys.stdout, io.TextIOWrapper)  # noqa: S101 - nobody has replaced it
    sys.stdout = WholeLines(sys.stdout.detach(), encoding="utf-8", write_through=True)
    sys.argv = [program, *arguments]
    sys.path.insert(0, str(Path(program).parent))
    runpy.run_path(program, run_name="__main__")


if __name__ == "__main__":
    main()
