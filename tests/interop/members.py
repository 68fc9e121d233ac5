"""Programs written with the published SDKs, as child processes that a test drives.

Which SDKs there are, where `.ci/install-interop-clients` puts them, and how to talk to one of their programs
(`programs/member.py`, `programs/member.mjs`; both take the same commands and tell the same events).
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
INSTALLED = ROOT / ".interop"
PROGRAMS = Path(__file__).parent / "programs"
ANSWER_TIMEOUT_S = 15.0
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 8.0
LINE_LIMIT = 2**22
TTL_MS = 60_000

Event = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """A published SDK: `install` is its folder, `engine` which of its execution engines is used."""

    name: str
    install: str
    engine: str = ""

    @property
    def python(self) -> bool:
        """Tell whether it is a Python SDK."""
        return self.install.startswith("python")

    @property
    def installed(self) -> bool:
        """Tell whether its installation has been completed."""
        return (INSTALLED / self.install / ".ready").exists()

    @property
    def unavailable(self) -> str | None:
        """Why its runtime cannot be had on this machine, if the installation found that out."""
        reason = INSTALLED / f"{self.install}.unavailable"
        return reason.read_text().strip() if reason.exists() else None

    def command(self, settings: dict[str, Any]) -> list[str]:
        """Return the command line of a member with these settings."""
        folder = INSTALLED / self.install
        if self.python:
            return [str(folder / "bin" / "python"), str(PROGRAMS / "member.py"), json.dumps(settings)]
        node = str(INSTALLED / "node" / "bin" / "node")
        more = {"packages": str(folder), "engine": self.engine}
        return [node, str(PROGRAMS / "member.mjs"), json.dumps({**settings, **more})]


BUNDLE = Client(name="the browser's bundle", install="browser")
CHROMIUM = Client(name="Chromium", install="chromium")
"""The browser itself is no installation of ours: its folder only ever says why it cannot be had."""
CLIENTS = (
    Client(name="python-0.7.4", install="python-0.7.4"),
    Client(name="python-0.8.1", install="python-0.8.1"),
    Client(name="typescript-0.11.4", install="typescript-0.11.4", engine="generator"),
    Client(name="typescript-0.11.4-async", install="typescript-0.11.4", engine="async"),
    Client(name="typescript-0.11.5", install="typescript-0.11.5", engine="generator"),
    Client(name="typescript-0.11.5-async", install="typescript-0.11.5", engine="async"),
)


class ProgramError(Exception):
    """What a member's SDK raised at a command; `name` is the error's type."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"{name}: {message}")
        self.name = name
        self.message = message


class Member:
    """A running member: commands are sent to it, its events are collected."""

    def __init__(self, client: Client, group: str, pid: str, process: asyncio.subprocess.Process) -> None:
        self.client = client
        self.group = group
        self.pid = pid
        self.events: list[Event] = []
        self._process = process
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._changed = asyncio.Condition()
        self._errors: deque[str] = deque(maxlen=60)
        self._readers = [
            asyncio.create_task(self._read_news()),
            asyncio.create_task(self._read_errors()),
        ]

    async def ask(self, do: str, **fields: Any) -> Any:
        """Send a command and wait for its answer. Raises ProgramError for what the SDK raised."""
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"n": number, "do": do, **fields}).encode() + b"\n")
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                return await answer
        except TimeoutError:
            raise AssertionError(
                f"{self.client.name} did not answer {do} {fields}; it told {self.events[-10:]} "
                f"and wrote: {self.last_words}"
            ) from None
        finally:
            del self._answers[number]

    async def begin(self, promise_id: str, function: str, *args: Any, how: str = "run", **more: Any) -> str:
        """Start an invocation; return its id once its promise exists."""
        answer = await self.ask("begin", how=how, id=promise_id, function=function, args=args, **more)
        return str(answer)

    async def result(self, promise_id: str) -> Any:
        """Wait for the result of an invocation."""
        return await self.ask("result", id=promise_id)

    async def run(self, promise_id: str, function: str, *args: Any, how: str = "run", **more: Any) -> Any:
        """Start an invocation and wait for its result."""
        await self.begin(promise_id, function, *args, how=how, **more)
        return await self.result(promise_id)

    async def told(self, wanted: Callable[[Event], bool], count: int = 1) -> list[Event]:
        """Wait until so many events are as wanted; return them."""

        def found() -> list[Event]:
            return [event for event in self.events if wanted(event)]

        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S), self._changed:
                await self._changed.wait_for(lambda: len(found()) >= count)
        except TimeoutError:
            raise AssertionError(
                f"{self.client.name} told no such event: {self.events}; {self.last_words}"
            ) from None
        return found()

    def executions(self, function: str, root: str) -> list[Event]:
        """Return the executions of a function in the call tree of `root`, as this member told them."""
        return [
            event
            for event in self.events
            if event.get("function") == function and str(event["id"]).startswith(root)
        ]

    @property
    def last_words(self) -> str:
        """What the program wrote to its standard error last."""
        return " | ".join(self._errors)

    async def kill(self) -> None:
        """End the process at once (SIGKILL)."""
        if self._process.returncode is None:
            self._process.kill()
        await self._ended()

    async def stop(self) -> None:
        """Let the process end as its SDK does; insist after a while."""
        if self._process.returncode is None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            try:
                async with asyncio.timeout(STOP_TIMEOUT_S):
                    await self._process.wait()
            except TimeoutError:
                self._process.kill()
        await self._ended()

    async def _ended(self) -> None:
        await self._process.wait()
        await asyncio.gather(*self._readers)

    async def _read_news(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            try:
                news = json.loads(line)
            except ValueError:
                self._errors.append(line.decode(errors="replace").rstrip())
                continue
            if "n" in news:
                self._answered(news)
            else:
                async with self._changed:
                    self.events.append(news)
                    self._changed.notify_all()
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(ConnectionError(f"{self.client.name} has ended: {self.last_words}"))
                answer.exception()

    def _answered(self, news: dict[str, Any]) -> None:
        answer = self._answers.get(news["n"])
        if answer is None or answer.done():
            return
        if "error" in news:
            answer.set_exception(ProgramError(news["name"], news["error"]))
        else:
            answer.set_result(news.get("answer"))

    async def _read_errors(self) -> None:
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            self._errors.append(line.decode(errors="replace").rstrip())


class Company:
    """The members that a test has started; all are ended when it is left."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._members: list[Member] = []

    async def start(
        self,
        client: Client,
        *,
        group: str | None = None,
        pid: str | None = None,
        ttl_ms: int = TTL_MS,
        functions: Sequence[str] | None = None,
        token: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Member:
        """Start a member of `group` (one of its own by default) and wait until it stands."""
        group = group if group is not None else f"g-{uuid.uuid4().hex[:12]}"
        pid = pid if pid is not None else uuid.uuid4().hex
        settings: dict[str, Any] = {"url": self.url, "group": group, "pid": pid, "ttl_ms": ttl_ms}
        if token is not None:
            settings["token"] = token
        if functions is not None:
            settings["functions"] = list(functions)
        process = await asyncio.create_subprocess_exec(
            *client.command(settings),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=LINE_LIMIT,
            env={**os.environ, **(environment or {})},
        )
        member = Member(client, group, pid, process)
        self._members.append(member)
        await member.told(lambda event: event["event"] == "started")
        return member

    async def end(self) -> None:
        """End all members at once."""
        async with asyncio.TaskGroup() as tasks:
            for member in self._members:
                tasks.create_task(member.kill())


async def company(stack: AsyncExitStack, url: str) -> Company:
    """Return a company whose members end with `stack`."""
    made = Company(url)
    stack.push_async_callback(made.end)
    return made
