"""Starts real `dao-scorer` processes quickly: each is forked from one that has imported everything.

`python -m tests.acceptance.nursery` reads one JSON `Birth` a line and answers `{"born": pid}`; of each child
that ends it tells `{"dead": pid, "code": N}`, negative for a signal. When its input ends it kills the
children that are left, so that none outlives the tests. A child shares nothing with the nursery but its
memory image: it has its own files and its own event loop, and SIGKILL ends it like any other process.
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from scorers import ready

ROOT = Path(__file__).parents[2]
START_TIMEOUT_S = 60.0
LOOK_S = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Birth:
    """What a child is: the arguments of `tests.acceptance.victim`, and where it lives and writes."""

    arguments: list[str]
    environment: dict[str, str]
    directory: str
    output: str


class Process:
    """A child of the nursery."""

    def __init__(self, nursery: Nursery, name: str, pid: int, output: Path) -> None:
        self.name = name
        self.pid = pid
        self.output = output
        self._nursery = nursery

    @property
    def code(self) -> int | None:
        """The exit code, negative for a signal; None while the process runs."""
        return self._nursery.codes.get(self.pid)

    def words(self) -> str:
        """What the process wrote last, for an error message."""
        return self.output.read_text(errors="replace")[-2000:]

    async def ready(self) -> str:
        """Wait for the ready line; return what it names."""
        end = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < end:
            lines = self.output.read_text(errors="replace").splitlines()
            found = next((where for line in lines if (where := ready.parse(line)) is not None), None)
            if found is not None:
                return found
            assert self.code is None, f"{self.name} ended with {self.code} at its start: {self.words()}"
            await asyncio.sleep(LOOK_S)
        raise TimeoutError(f"{self.name} is not ready: {self.words()}")

    async def ended(self, timeout_s: float) -> int:
        """Wait for the end; return the exit code. Raises TimeoutError with the last words."""
        end = time.monotonic() + timeout_s
        while (code := self.code) is None:
            if time.monotonic() > end:
                raise TimeoutError(f"{self.name} still runs: {self.words()}")
            await asyncio.sleep(LOOK_S)
        return code

    def freeze(self) -> None:
        """Stop the process where it stands; it holds what it holds."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen process go on, as if no time had passed for it."""
        os.kill(self.pid, signal.SIGCONT)

    async def kill(self) -> None:
        """End the process with SIGKILL, if it still runs, and wait until it has gone."""
        if self.code is None:
            os.kill(self.pid, signal.SIGKILL)
        await self.ended(START_TIMEOUT_S)


class Nursery:
    """The tests' side: starts children and learns how they ended."""

    def __init__(self) -> None:
        self.codes: dict[int, int] = {}
        self._born: list[int] = []
        self._closed = False
        self._changed = threading.Condition()

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.acceptance.nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'hardhat-free-chain'}"},
        )
        self._reader = threading.Thread(target=self._read, name="nursery", daemon=True)
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait(START_TIMEOUT_S)
        self._reader.join(START_TIMEOUT_S)
        self._process.stdout.close()

    def start(
        self, name: str, arguments: Sequence[str], *, environment: Mapping[str, str], directory: Path
    ) -> Process:
        """Start a child; `arguments` are those of `tests.acceptance.victim`."""
        assert self._process.stdin is not None
        output = directory / f"{name}.{time.monotonic_ns()}.txt"
        output.touch()
        birth = Birth(
            arguments=list(arguments),
            environment=dict(environment),
            directory=str(directory),
            output=str(output),
        )
        with self._changed:
            self._process.stdin.write(json.dumps(asdict(birth)).encode() + b"\n")
            self._process.stdin.flush()
            told = self._changed.wait_for(lambda: self._born or self._closed, START_TIMEOUT_S)
            assert told, "the nursery is silent"
            assert self._born, "the nursery has ended: its standard error says why"
            return Process(self, name, self._born.pop(), output)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            news = json.loads(line)
            with self._changed:
                if "born" in news:
                    self._born.append(news["born"])
                else:
                    self.codes[news["dead"]] = news["code"]
                self._changed.notify_all()
        with self._changed:
            self._closed = True
            self._changed.notify_all()


def _child(birth: Birth) -> None:
    from tests.acceptance import victim  # noqa: PLC0415 - imported long ago, by the nursery

    descriptor = os.open(birth.output, os.O_WRONLY | os.O_APPEND)
    for number in (1, 2):
        os.dup2(descriptor, number)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.closerange(3, 256)
    os.chdir(birth.directory)
    os.environ.update(birth.environment)
    victim.main(birth.arguments)


def _bear(birth: Birth) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        _child(birth)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _tell(**news: int) -> None:
    os.write(1, json.dumps(news).encode() + b"\n")


def _bury(children: set[int]) -> None:
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        children.discard(pid)
        _tell(dead=pid, code=os.waitstatus_to_exitcode(status))


def main() -> None:
    """Bear children until the input ends."""
    from tests.acceptance import victim  # noqa: F401, PLC0415 - imports all that a child needs

    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    children: set[int] = set()
    orders = b""
    while True:
        readable, _, _ = select.select([0, reading], [], [])
        if reading in readable:
            os.read(reading, 4096)
            _bury(children)
        if 0 in readable:
            chunk = os.read(0, 65536)
            if not chunk:
                break
            *whole, orders = (orders + chunk).split(b"\n")
            for order in whole:
                pid = _bear(Birth(**json.loads(order)))
                children.add(pid)
                _tell(born=pid)
    for pid in children:
        os.kill(pid, signal.SIGKILL)
    signal.set_wakeup_fd(-1)
    for pid in children:
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
