"""Running an example as its user would: programs as processes, a server beside them, a crash in between."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import signal
import socket
import sys
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from examples.crash import CHECKPOINT, LIVES, STORE
from examples.program import TIMEOUT_S, Program, ProgramFailed, Start
from examples.spawning import Running, Spawn, afresh, launched
from scorers import ready

EXAMPLES = Path(__file__).parent
STAND_INS = "stand_ins/"
BROKER = "nats-server"
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "chrome")
CHROMIUM_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
)
INNER = -1
"""Stands for the number of a program that is started by another one."""
PORTS = range(20_000, 32_000)
PORTS_EACH = 100
"""So many of them a process takes its own from: two that play at once look for a port at the same time."""
ASK_PAUSE_S = 0.1
STEPS = "steps.log"
"""What was executed, in the stage's folder."""


_returned: deque[int] = deque(maxlen=PORTS_EACH // 2)
"""The ports that this process took last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Crash:
    """End the process when the function `step` is about to be executed for the `number`-th time."""

    step: str
    number: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """End a program's first life right after its `checkpoint`-th command that has changed the record.

    `program` is its number in the order in which they start, or INNER.
    """

    program: int
    checkpoint: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What is to happen on a stage.

    `crashing`: the crashes that the play asks for. Else `lives_s` are the seconds after which programs are
    killed and started again, by the order in which they start, or one is `cut`. `spawn` is how they start.
    `store` is the URL of a database in which servers and programs keep their record, instead of files.
    """

    crashing: bool = False
    lives_s: Mapping[int, Sequence[float]] | None = None
    cut: Cut | None = None
    spawn: Spawn = afresh
    store: str | None = None


class Stage:
    """One example's folder, server and programs. `root` is the invocation to draw, if the play says so."""

    def __init__(self, folder: Path, stack: AsyncExitStack, fate: Fate) -> None:
        self.folder = folder
        self.crashing = fate.crashing
        self.printed: list[str] = []
        self.programs: list[Program] = []
        self.root: str | None = None
        self.holds_inner = False
        self._spared: set[int] = set()
        self._fate = fate
        self._stack = stack

    @property
    def victims(self) -> list[int]:
        """The numbers of the programs that may be killed and started again.

        A stand-in is the outside world. What took a free port is not found again by those who know it.
        """
        return [
            number
            for number, program in enumerate(self.programs)
            if number not in self._spared
            and not program.name.startswith((STAND_INS, "dao-scorer serve"))
            and "--port 0" not in program.name
        ]

    async def start(
        self, program: str, *arguments: str, crash: Crash | None = None, spared: bool = False
    ) -> Program:
        """Start a program of an example (`folder/file.py`), to be crashed if this stage crashes.

        One that is `spared` is the outside world for the others: it is not killed at random, either.
        """
        if spared:
            self._spared.add(len(self.programs))
        name = " ".join((program, *arguments))
        if (place := self._place(len(self.programs))) is None:
            return await self._begin(name, _crashing(program, arguments, crash if self.crashing else None))
        plain = _crashing(program, arguments, None)
        return await self._begin(name, _crashing(program, arguments, place), again=plain)

    async def command(self, *arguments: str) -> Program:
        """Start a `dao-scorer` command."""
        return await self._begin(_named(arguments), ["-m", "scorers", *arguments])

    async def run(self, program: str, *arguments: str, crash: Crash) -> str:
        """Run a program to its end and return its last line; where it crashes, it is run again."""
        return await (await self.keep(program, *arguments, crash=crash)).result()

    async def keep(self, program: str, *arguments: str, crash: Crash) -> Program:
        """Keep a program running until the end of the stage; once it has crashed it is started again."""
        if not self.crashing:
            return await self.start(program, *arguments)
        name, plain = " ".join((program, *arguments)), _crashing(program, arguments, None)
        return await self._begin(name, _crashing(program, arguments, crash), again=plain)

    async def crashed(self, program: Program) -> None:
        """Wait for a crash. Raises ProgramFailed if the program ends in another way."""
        if (code := await program.end()) != -signal.SIGKILL:
            raise ProgramFailed(f"{program.name} ended with {code} and did not crash: {program.last_words}")

    async def settled(self) -> None:
        """Make sure that what was to crash has crashed, and was started again."""
        await asyncio.gather(*(program.settled() for program in self.programs))

    async def server(
        self, *arguments: str, store: str = "server.db", environment: Mapping[str, str] | None = None
    ) -> str:
        """Start a server on a store of its own and return its URL; `arguments` go to the command."""
        url = self._fate.store or f"sqlite:///{self.folder / store}"
        serving = ("serve", "--store", url, "--port", str(free_port()), *arguments)
        served = await self._begin(_named(serving), ["-m", "scorers", *serving], environment or {})
        return ready.parse(await served.line(ready.PREFIX)) or ""

    async def broker(self) -> str:
        """Start a nats-server with JetStream, which keeps its queues in this folder, and return its URL."""
        port = str(free_port())
        where = ("--addr", "127.0.0.1", "--port", port, "--store_dir", str(self.folder / "queue"))
        beside = Path(sys.executable).parent / "nats-server"
        binary = str(beside) if beside.exists() else BROKER
        started = Program(BROKER, lambda: launched([binary, "--jetstream", *where], self.folder, {}))
        self._stack.push_async_callback(started.kill)
        await started.line("Server is ready")
        return f"nats://127.0.0.1:{port}"

    async def browse(self, url: str) -> Program:
        """Open a page in a browser without a window, with a profile of its own in this folder."""
        home = {"HOME": str(self.folder)}
        flags = (*CHROMIUM_FLAGS, f"--user-data-dir={self.folder / 'profile'}", url)

        async def start(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Running:
            return await launched(command, folder, environment, grouped=True)

        return await self._begin("browser", [chromium() or CHROMIUMS[0], *flags], home, spawn=start)

    def inner(self, program: str, *arguments: str, crash: Crash) -> list[str]:
        """Return the command line of a program that another one starts, and starts again when it dies."""
        if self._fate.lives_s:
            lives = "".join(f"{life_s}\n" for life_s in self._fate.lives_s.get(INNER, ()))
            (self.folder / LIVES).write_text(lives, encoding="utf-8")
        if (place := self._place(INNER)) is not None:
            (self.folder / LIVES).write_text(f"{place.step} {place.number}\n", encoding="utf-8")
        self.holds_inner = True
        return [sys.executable, *_crashing(program, arguments, crash if self.crashing else None)]

    async def ask(self, method: str, url: str, value: object = None) -> str:
        """Send a JSON request and return the answer's body. Whoever is away just now is asked again.

        Raises ProgramFailed for an answer that is no success, or none at all.
        """
        try:
            async with asyncio.timeout(TIMEOUT_S), aiohttp.ClientSession() as session:
                while True:
                    try:
                        async with session.request(method, url, json=value) as response:
                            body = await response.text()
                    except aiohttp.ClientError:
                        await asyncio.sleep(ASK_PAUSE_S)
                        continue
                    if not response.ok:
                        raise ProgramFailed(f"{method} {url} was answered {response.status}: {body}")
                    return body
        except TimeoutError:
            raise ProgramFailed(f"{method} {url} was not answered") from None

    def _place(self, program: int) -> Crash | None:
        """Return where a program ends by this stage's fate, if that is at a checkpoint."""
        cut = self._fate.cut
        if cut is None or cut.program != program:
            return None
        return Crash(step=CHECKPOINT, number=cut.checkpoint)

    async def _begin(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        again: Sequence[str] | None = None,
        spawn: Spawn | None = None,
    ) -> Program:
        kept = {} if self._fate.store is None else {STORE: self._fate.store}

        def starting(command: Sequence[str]) -> Start:
            given = {**kept, **(environment or {})}
            return lambda: (spawn or self._fate.spawn)(command, self.folder, given)

        begun = Program(
            name,
            starting(command),
            lives_s=(self._fate.lives_s or {}).get(len(self.programs), ()),
            again=None if again is None else starting(again),
            surely=self.crashing,
        )
        self.programs.append(begun)
        self._stack.push_async_callback(self._finish, begun)
        await begun.begun()
        return begun

    async def _finish(self, program: Program) -> None:
        await program.kill()
        if not program.name.startswith(("dao-scorer serve", "browser")):
            self.printed.extend(program.lines)


def _crashing(program: str, arguments: Sequence[str], crash: Crash | None) -> list[str]:
    command = [str(EXAMPLES / program), *arguments]
    if program.startswith(STAND_INS):
        return command
    step = (crash.step, str(crash.number)) if crash is not None else ("", "0")
    return ["-m", "examples.crash", STEPS, *step, *command]


def _named(arguments: Sequence[str]) -> str:
    return " ".join(("dao-scorer", *arguments))


def chromium() -> str | None:
    """Return the path of a Chromium, if there is one."""
    return next((path for name in CHROMIUMS if (path := shutil.which(name))), None)


def free_port() -> int:
    """Return a port of this machine that nobody listens on now, for what is to be found there again.

    None of those that the system gives to whoever connects: one could be taken while a program is restarted.
    None, either, that was returned just before: whoever asked for it may not listen yet.
    """
    first = os.getpid() * PORTS_EACH % len(PORTS)
    own = [port for port in PORTS[first : first + PORTS_EACH] if port not in _returned]
    for port in secrets.SystemRandom().sample(own, len(own)):
        with socket.socket() as tried, suppress(OSError):
            tried.bind(("127.0.0.1", port))
            _returned.append(port)
            return port
    raise ProgramFailed(f"none of the ports from {PORTS[first]} to {PORTS[first] + PORTS_EACH - 1} is free")


@asynccontextmanager
async def stage(folder: Path, fate: Fate) -> AsyncIterator[Stage]:
    """Hold a stage; all its processes are ended when it is left."""
    async with AsyncExitStack() as stack:
        made = Stage(folder, stack, fate)
        yield made
        await made.settled()
