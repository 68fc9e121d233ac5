"""What functions are told about the execution they are part of."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, overload

from orchestrator.client.registry import InfoMark
from orchestrator.client.surroundings import Dependencies

T = TypeVar("T")


class Info(InfoMark):
    """What a leaf is told that takes `info: Info` as its first parameter.

    `attempt` counts from 1. `cancelled` turns true when the attempt's time is over, the lease is lost or the
    worker stops: a function in a thread cannot be stopped from outside and should return soon; its result is
    not used.
    """

    __slots__ = ("_cancelled", "_dependencies", "_hear", "attempt", "name", "promise_id", "version")

    def __init__(
        self,
        *,
        promise_id: str,
        name: str,
        version: int,
        attempt: int,
        dependencies: Dependencies,
    ) -> None:
        self.promise_id = promise_id
        self.name = name
        self.version = version
        self.attempt = attempt
        self._dependencies = dependencies
        self._cancelled = threading.Event()
        self._hear: Callable[[], None] | None = None

    @property
    def cancelled(self) -> bool:
        """Tell whether the function should stop."""
        return self._cancelled.is_set()

    def heartbeat(self) -> None:
        """Say that the attempt is alive; its heartbeat time-out counts from now. For any thread."""
        if self._hear is not None:
            self._hear()

    def heard_by(self, hear: Callable[[], None]) -> None:
        """Have heartbeats heard; for the attempt that made this."""
        self._hear = hear

    def stop(self) -> None:
        """Ask the function to stop; for the attempt that made this."""
        self._cancelled.set()

    @overload
    def dependency(self, wanted: type[T]) -> T: ...
    @overload
    def dependency(self, wanted: str) -> Any: ...
    def dependency(self, wanted: type[Any] | str) -> Any:
        """Return a dependency by type or name. Raises LookupError."""
        return self._dependencies.get(wanted)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowInfo:
    """What a workflow may know of itself without losing determinism. `timeout_at` is Unix milliseconds."""

    id: str
    origin_id: str
    parent_id: str
    branch_id: str
    name: str
    version: int
    timeout_at: int
    tags: Mapping[str, str]
