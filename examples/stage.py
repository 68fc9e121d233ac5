"""Running an example as its user would: programs as processes, a server beside them, a crash in between."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import shutil
import signal
import socket
import sys
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from examples.crash import LIVES
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
LOGGED = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \[")
TIMEOUT_S = 60.0
PORTS = range(20_000, 32_000)
PORTS_EACH = 100
"""So many of them a process takes its own from: two that play at once look for a port at the same time."""
ASK_PAUSE_S = 0.1
STEPS = "steps.log"
"""What was executed, in the stage's folder."""


_returned: deque[int] = deque(maxlen=PORTS_EACH // 2)
"""The ports that this process took last."""


class ProgramFailed(Exception):
    """A program ended as it should not, or did not say what it should."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Crash:
    """End the process when the function `step` is about to be executed for the `number`-th time."""

    step: str
    number: int = 1


Start = Callable[[], Awaitable[Running]]


class Program:
    """A program of an example. `lines` is what it has printed, both outputs together.

    It is killed after each of the seconds in `lives_s`, and started again. With `again` it is to crash in its
    first life, and has a second one. `killed` tells how often that was, `lived_s` how long the last life was.
    """

    def __init__(
        self, name: str, start: Start, *, lives_s: Sequence[float] = (), again: Start | None = None
    ) -> None:
        self.name = name
        self.lines: list[str] = []
        self.killed = 0
        self.lived_s = 0.0
        self._start = start
        self._again = again
        self._lives_s = list(lives_s)
        self._running: Running | None = None
        self._printed, self._begun, self._crashed = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._silent = self._over = False
        self._life = asyncio.create_task(self._live())

    @property
    def last_words(self) -> str:
        """What the program printed last, for an error message."""
        return " | ".join(self.lines[-20:])

    async def line(self, part: str) -> str:
        """Wait for a line with this text in it and return it."""
        return (await self.several(part, 1))[0]

    async def several(self, part: str, number: int) -> list[str]:
        """Wait for so many lines with this text in them and return all there are."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await self._several(part, number)
        except TimeoutError:
            raise ProgramFailed(f"{self.name} did not print {part!r}: {self.last_words}") from None

    async def end(self) -> int:
        """Wait for the end and return the exit code, or less than 0: the signal that ended it."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await asyncio.shield(self._life)
        except TimeoutError:
            raise ProgramFailed(f"{self.name} did not end: {self.last_words}") from None

    async def result(self) -> str:
        """Wait for the end and return the last line that is none of the log.

        Raises ProgramFailed unless it ended well.
        """
        said = [line for line in self.lines if not LOGGED.match(line)] if await self.end() == 0 else []
        if not said:
            raise ProgramFailed(f"{self.name} failed: {self.last_words}")
        return said[-1]

    async def kill(self) -> None:
        """End it (SIGKILL), if it still runs, for good."""
        self._over = True
        if self._running is not None:
            self._running.kill()
        await self._life

    async def begun(self) -> None:
        """Wait until its process is there. Raises what kept that from starting."""
        await self._first(self._begun)

    async def settled(self) -> None:
        """Wait until it has crashed, if it is to. Raises ProgramFailed if it ends in another way."""
        if self._again is None:
            return
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await self._first(self._crashed)
        except TimeoutError:
            raise ProgramFailed(f"{self.name} did not crash: {self.last_words}") from None
        if not self._crashed.is_set():
            raise ProgramFailed(f"{self.name} ended and did not crash: {self.last_words}")

    async def _first(self, event: asyncio.Event) -> None:
        waiting = asyncio.create_task(event.wait())
        await asyncio.wait((waiting, self._life), return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            waiting.cancel()
            await self._life

    async def _several(self, part: str, number: int) -> list[str]:
        while True:
            self._printed.clear()
            found = [line for line in self.lines if part in line]
            if len(found) >= number:
                return found
            if self._silent:
                raise ProgramFailed(f"{self.name} ended without {part!r}: {self.last_words}")
            await self._printed.wait()

    async def _live(self) -> int:
        while True:
            code, ended_by_us = await self._live_once()
            crashed = self._again is not None and not self._crashed.is_set() and code == -signal.SIGKILL
            if self._over or not (ended_by_us or crashed):
                break
            self.killed += 1
            if crashed and self._again is not None:
                self._start = self._again
                self._crashed.set()
        self._silent = True
        self._printed.set()
        return code

    async def _live_once(self) -> tuple[int, bool]:
        """Return the exit code, and whether it was killed because its time was over."""
        loop = asyncio.get_running_loop()
        begun, running = loop.time(), await self._start()
        self._running = running
        self._begun.set()
        due = loop.call_later(self._lives_s.pop(0), running.kill) if self._lives_s else None
        if self._over:  # it was ended meanwhile
            running.kill()
        await self._read(running.output)
        code = await running.ended()
        self.lived_s = loop.time() - begun
        if due is not None:
            due.cancel()
        return code, due is not None and code == -signal.SIGKILL

    async def _read(self, output: asyncio.StreamReader) -> None:
        async for raw in output:
            self.lines.append(raw.decode(errors="replace").rstrip())
            self._printed.set()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What is to happen on a stage.

    `crashing`: the crashes that the play asks for. Else `lives_s` are the seconds after which programs are
    killed and started again, by the order in which they start. `spawn` is how they start.
    """

    crashing: bool = False
    lives_s: Mapping[int, Sequence[float]] | None = None
    spawn: Spawn = afresh


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
        command = _crashing(program, arguments, crash if self.crashing else None)
        return await self._begin(" ".join((program, *arguments)), command)

    async def command(self, *arguments: str) -> Program:
        """Start a `dao-scorer` command."""
        return await self._begin(_named(arguments), ["-m", "scorers", *arguments])

    async def run(self, program: str, *arguments: str, crash: Crash) -> str:
        """Run a program to its end and return its last line; where it crashes, it is run again."""
        return await (await self.keep(program, *arguments, crash=crash)).result()

    async def keep(self, program: str, *arguments: str, crash: Crash) -> Program:
        """Keep a program running until the end of the stage; once it has crashed it is started again."""
        name, plain = " ".join((program, *arguments)), _crashing(program, arguments, None)
        if not self.crashing:
            return await self._begin(name, plain)
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
        """Start a server on a SQLite file of its own and return its URL; `arguments` go to the command."""
        url = f"sqlite:///{self.folder / store}"
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

    async def _begin(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        again: Sequence[str] | None = None,
        spawn: Spawn | None = None,
    ) -> Program:
        def starting(command: Sequence[str]) -> Start:
            return lambda: (spawn or self._fate.spawn)(command, self.folder, environment or {})

        begun = Program(
            name,
            starting(command),
            lives_s=(self._fate.lives_s or {}).get(len(self.programs), ()),
            again=None if again is None else starting(again),
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
