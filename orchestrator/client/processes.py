"""Leaf functions in processes of their own: for heavy work that would hold up every thread here.

Calls and results cross as JSON text of the codec over pipes, so that nothing is ever unpickled. A child that
dies fails one attempt; a cancelled attempt kills its child, and all end with the worker.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from orchestrator.client import codec
from orchestrator.client.child_frames import FRAME_HEAD
from orchestrator.client.registry import Function
from orchestrator.domain.errors import ApplicationError, OrchestratorError

CHILD = "orchestrator.client.child"
PROCESSES_MAX = os.cpu_count() or 1


class NotImportable(OrchestratorError):
    """A function cannot be found by its module and name, which is how a process of its own would find it."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name} cannot run in a process of its own: {reason}")
        self.name = name


class ProcessDied(OrchestratorError):
    """The process that ran a function ended without an answer: killed, out of memory, or by itself."""

    retryable = True

    def __init__(self, name: str, exit_code: int | None) -> None:
        super().__init__(f"the process that ran {name} ended with exit code {exit_code}")
        self.exit_code = exit_code


class FailedElsewhere(ApplicationError):
    """What a function raised in its process. `type_names` are its class and bases, `retryable` is its own."""

    def __init__(self, told: dict[str, Any]) -> None:
        data = codec.decode(told.get("data"), None, "the data of a failure in another process")
        super().__init__(str(told.get("message", "")), type_name=str(told.get("name")), data=data)
        self.type_names = tuple(told.get("types", ()))
        self.retryable = bool(told.get("retryable", True))
        cause = told.get("cause")
        self.__cause__ = FailedElsewhere(cause) if isinstance(cause, dict) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a child finds a function; `main` is the script's file if that is what its module is."""

    module: str
    qualified_name: str
    main: str | None = None


def place_of(fn: Function) -> Place:
    """Return where a function is to be found. Raises NotImportable that says how to make it so."""
    module_name, qualified = getattr(fn, "__module__", None), getattr(fn, "__qualname__", None)
    name = str(qualified or fn)
    module = sys.modules.get(module_name or "")
    found: object = module
    for part in (qualified or "").split("."):
        found = getattr(found, part, None)
    if module is None or found is not fn or module_name is None or qualified is None:
        raise NotImportable(name, "define it at the top level of a module, under its own name")
    if module_name != "__main__":
        return Place(module=module_name, qualified_name=qualified)
    specification = getattr(module, "__spec__", None)
    if specification is not None and specification.name:
        return Place(module=specification.name, qualified_name=qualified)
    file = getattr(module, "__file__", None)
    if file is None:
        raise NotImportable(name, "it was typed in, not written in a file")
    return Place(module=module_name, qualified_name=qualified, main=os.path.abspath(file))


class ProcessPool:
    """At most `processes_max` children at once, each used again and again. Use within one event loop."""

    def __init__(self, processes_max: int) -> None:
        self._slots = asyncio.Semaphore(processes_max)
        self._idle: list[_Child] = []
        self._children: set[_Child] = set()

    async def run(self, name: str, call: dict[str, object], on_frame: Callable[[str, object], None]) -> Any:
        """Have a child carry out a call; return the JSON tree of its result.

        `on_frame` is told of `begun` and of `progress` with its tree. Raises FailedElsewhere, ProcessDied.
        """
        async with self._slots:
            child = self._idle.pop() if self._idle else await self._start()
            try:
                answer = await child.call(name, call, on_frame)
            except BaseException:
                child.kill()
                self._children.discard(child)
                raise
            self._idle.append(child)
        if "error" in answer:
            raise FailedElsewhere(answer["error"])
        return answer["result"]

    async def _start(self) -> _Child:
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            CHILD,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
        )
        child = _Child(process)
        self._children.add(child)
        return child

    async def close(self) -> None:
        """End all children."""
        children, self._children, self._idle = list(self._children), set(), []
        for child in children:
            child.kill()
        await asyncio.gather(*[child.ended() for child in children])


class _Child:
    """One process, with at most one call at a time."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def call(
        self, name: str, call: dict[str, object], on_frame: Callable[[str, object], None]
    ) -> dict[str, Any]:
        reader, writer = self._process.stdout, self._process.stdin
        if reader is None or writer is None:
            raise RuntimeError("the child has no pipes")
        try:
            body = json.dumps(call).encode()
            writer.write(FRAME_HEAD.pack(len(body)) + body)
            await writer.drain()
            while True:
                (length,) = FRAME_HEAD.unpack(await reader.readexactly(FRAME_HEAD.size))
                answer: dict[str, Any] = json.loads(await reader.readexactly(length))
                if "result" in answer or "error" in answer:
                    return answer
                for kind, content in answer.items():
                    on_frame(kind, content)
        except (asyncio.IncompleteReadError, OSError) as error:
            raise ProcessDied(name, await self._process.wait()) from error

    def kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()

    async def ended(self) -> None:
        await self._process.wait()
