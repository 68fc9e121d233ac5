"""What an execution needs from its process: transport, functions, dependencies, clock, threads, observers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from random import Random, SystemRandom
from typing import Any, Protocol, TypeVar, overload

from orchestrator.client.clock import Clock
from orchestrator.client.listening import Subscriptions
from orchestrator.client.processes import ProcessPool
from orchestrator.client.registry import Registry
from orchestrator.client.verdict import Verdict
from orchestrator.domain.promise import PromiseRecord, PromiseState
from orchestrator.protocol.transport import Transport

T = TypeVar("T")


class StepObserver(Protocol):
    """Is told of every execution of a step, and never of a replay. Must not block."""

    def on_step_started(self, promise_id: str, name: str, attempt: int) -> None:
        """Take note that an attempt (counted from 1) begins."""
        ...

    def on_step_finished(self, promise_id: str, name: str, state: PromiseState) -> None:
        """Take note that a step's outcome is stored."""
        ...


class RunningLeaf(Protocol):
    """Which leaf runs, under which promise."""

    @property
    def promise_id(self) -> str:
        """The promise of the call."""
        ...

    @property
    def name(self) -> str:
        """The name of the function."""
        ...

    @property
    def version(self) -> int:
        """The version of the function."""
        ...


class ExecutionObserver(Protocol):
    """Is told of every execution of a task in this process. Must not block, and never raises."""

    def tags_for(self, promise_id: str) -> Mapping[str, str]:
        """Return tags for a new invocation, beside those that its caller gives."""
        ...

    def on_execution_started(self, promise: PromiseRecord, version: int) -> None:
        """Take note that the task of a promise is executed at a version."""
        ...

    def on_execution_ended(self, promise: PromiseRecord, version: int, verdict: Verdict) -> None:
        """Take note of how that execution ended."""
        ...


class Dependencies:
    """Objects that functions receive: by name, or by type."""

    def __init__(self, hint: str | None = None) -> None:
        """`hint` is what a failing look-up says instead of how to offer a dependency."""
        self._hint = hint
        self._named: dict[str, object] = {}
        self._typed: list[object] = []

    def add(self, dependency: object, name: str | None = None) -> None:
        """Offer an object by its type, and by `name` if one is given; the latest wins."""
        if name is not None:
            self._named[name] = dependency
        self._typed.insert(0, dependency)

    @overload
    def get(self, wanted: type[T]) -> T: ...
    @overload
    def get(self, wanted: str) -> Any: ...
    def get(self, wanted: type[Any] | str) -> Any:
        """Return a dependency. Raises LookupError that says how to offer it."""
        if isinstance(wanted, str):
            if wanted in self._named:
                return self._named[wanted]
            raise LookupError(
                f"no dependency {wanted!r}: "
                + (self._hint or f"offer it by app.set_dependency(object, name={wanted!r})")
            )
        found = next((dependency for dependency in self._typed if isinstance(dependency, wanted)), None)
        if found is None:
            raise LookupError(
                f"no dependency of type {wanted.__qualname__}: "
                + (self._hint or "offer it by app.set_dependency(object)")
            )
        return found


@dataclass(slots=True, kw_only=True)
class Surroundings:
    """One per application. `extensions` are those that the engine announced.

    `holds_outside` is set where the engine has refused to wake a task for a promise of another origin.
    `attempts` tells which leaf each task of the loop runs just now, and under None which holds the loop.
    """

    transport: Transport
    registry: Registry
    dependencies: Dependencies
    subscriptions: Subscriptions
    clock: Clock
    group: str
    pid: str
    threads: Callable[[], Executor]
    processes: Callable[[], ProcessPool]
    observers: list[StepObserver] = field(default_factory=list)
    execution_observers: list[ExecutionObserver] = field(default_factory=list)
    extensions: frozenset[str] = frozenset()
    holds_outside: bool = False
    attempts: dict[asyncio.Task[Any] | None, RunningLeaf] = field(default_factory=dict)
    # Spreads retries, and draws a workflow's random numbers and UUIDs before they are recorded.
    chance: Random = field(default_factory=SystemRandom)
