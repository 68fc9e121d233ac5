"""Run a program that writes down its steps, and end its process, as a crash would (SIGKILL), at one of them.

    python -m examples.crash LOG STEP NUMBER PROGRAM [ARGUMENT]...

The process ends when the function STEP is about to be executed for the NUMBER-th time, so that everything
before is recorded and nothing after has happened. With the STEP `any checkpoint` it ends right after its
NUMBER-th command that has changed the record. With 0 it ends when it ends, or as the first line of a file
`lives` says, which it takes out of it: so many seconds, or `any checkpoint` and a number. A line of the file
LOG is `started ID` or `finished ID`; it is written before the step is executed, or after its outcome is
recorded. The variable EXAMPLES_STORE replaces the store in which the program itself would keep its record.
"""

from __future__ import annotations

import io
import os
import runpy
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any, Self, TypeVar

from orchestrator import Orchestrator
from orchestrator.domain.promise import PromiseState
from orchestrator.protocol import commands as c
from orchestrator.protocol.messages import Message
from orchestrator.protocol.transport import Transport

LIVES = "lives"
CHECKPOINT = "any checkpoint"
"""Stands for the step in a command line, or before the number in a line of `lives`."""
CUT = "cut"
"""The file in which a process that ends at a checkpoint says which command that was."""
STORE = "EXAMPLES_STORE"
READING = frozenset({"get", "search", "heartbeat", "describe", "dead"})
"""The last words of commands that leave the record as it is."""
AnswerT = TypeVar("AnswerT", bound=c.Answer)


class Steps:
    """Writes down the executions of all functions, and counts those of one, or the checkpoints."""

    def __init__(self, log: str, step: str, number: int) -> None:
        # By one write a line, so that the lines of several processes stay whole and in order.
        self._log = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._step = step
        self._left = number
        self._checkpoints = count(1)
        self._last_checkpoint = number if step == CHECKPOINT else 0

    @property
    def counts_checkpoints(self) -> bool:
        """Whether the process is to end at one."""
        return self._last_checkpoint > 0

    def end_after(self, checkpoint: int) -> None:
        """Have the process end right after so many checkpoints."""
        self._last_checkpoint = checkpoint

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

    def on_command(self, command: c.Command[Any]) -> None:
        """Count a command that was carried out; end the process if it is the checkpoint to end at."""
        if command.KIND.rpartition(".")[2] in READING or next(self._checkpoints) != self._last_checkpoint:
            return
        action = getattr(command, "action", command)
        if isinstance(action, (c.PromiseSettle, c.PromiseRecordStep)):
            # The outcome is recorded, and nobody here will come to say so.
            os.write(self._log, f"finished {action.id}\n".encode())
        Path(CUT).write_text(f"{command.KIND} {getattr(action, 'id', '')}", encoding="utf-8")
        os.kill(os.getpid(), signal.SIGKILL)


class Counted:
    """A transport that tells of every command once it is carried out."""

    def __init__(self, inner: Transport, steps: Steps) -> None:
        self._inner = inner
        self._steps = steps

    async def call(self, command: c.Command[AnswerT]) -> AnswerT:
        """Carry it out, and tell."""
        answer = await self._inner.call(command)
        self._steps.on_command(command)
        return answer

    def connect(
        self, group: str, pid: str, receive: Callable[[Message], None]
    ) -> AbstractAsyncContextManager[None]:
        """Take messages as they come."""
        return self._inner.connect(group, pid, receive)

    async def close(self) -> None:
        """Leave the inner transport to its owner."""


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


def live_as_told(steps: Steps) -> None:
    """Have the process end as the first line of the file `lives` says, if there is one."""
    told = Path(LIVES)
    if not told.exists() or not (lives := told.read_text(encoding="utf-8").splitlines()):
        return
    told.write_text("".join(f"{line}\n" for line in lives[1:]), encoding="utf-8")
    what, _, number = lives[0].rpartition(" ")
    if what == CHECKPOINT:
        steps.end_after(int(number))
        return
    timer = threading.Timer(float(number), os.kill, (os.getpid(), signal.SIGKILL))
    timer.daemon = True
    timer.start()


class ObservedOrchestrator(Orchestrator):
    """An application whose steps are written down, and whose commands are counted if one is the last."""

    steps: Steps

    def __init__(self, **settings: Any) -> None:
        if self.steps.counts_checkpoints:
            settings["opening"] = self._counting(settings["opening"])
        super().__init__(**settings)
        self.observe(self.steps)

    @classmethod
    def local(cls, url: str, **settings: Any) -> Self:
        """Return an application on this store, or on the one that replaces it."""
        return super().local(os.environ.get(STORE, url), **settings)

    def _counting(
        self, opening: Callable[[], AbstractAsyncContextManager[Transport]]
    ) -> Callable[[], AbstractAsyncContextManager[Transport]]:
        @asynccontextmanager
        async def counted() -> AsyncIterator[Transport]:
            async with opening() as transport:
                yield Counted(transport, self.steps)

        return counted


def main() -> None:
    """Run the program in this process, with an application that is observed."""
    log, step, number, program, *arguments = sys.argv[1:]
    steps = ObservedOrchestrator.steps = Steps(log, step, int(number))
    import orchestrator  # noqa: PLC0415 - the program imports it by this name

    orchestrator.Orchestrator = ObservedOrchestrator  # type: ignore[misc]
    live_as_told(steps)
    assert isinstance(sys.stdout, io.TextIOWrapper)  # noqa: S101 - nobody has replaced it
    sys.stdout = WholeLines(sys.stdout.detach(), encoding="utf-8", write_through=True)
    sys.argv = [program, *arguments]
    sys.path.insert(0, str(Path(program).parent))
    runpy.run_path(program, run_name="__main__")


if __name__ == "__main__":
    main()
