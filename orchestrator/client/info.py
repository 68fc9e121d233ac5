"""What functions are told about the execution they are part of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, overload

from orchestrator.client import codec
from orchestrator.client.registry import InfoMark
from orchestrator.client.surroundings import Dependencies

T = TypeVar("T")


class Info(InfoMark):
    """What a leaf is told that takes `info: Info` as its first parameter.

    `attempt` counts from 1. `cancelled` turns true when the attempt's time is over, the lease is lost or the
    worker stops: a function in a thread cannot be stopped from outside and should return soon; its result is
    not used.
    """

    __slots__ = (
        "_cancelled",
        "_dependencies",
        "_hear",
        "_progress",
        "attempt",
        "name",
        "promise_id",
        "version",
    )

    def __init__(
        self,
        *,
        promise_id: str,
        name: str,
        version: int,
        attempt: int,
        dependencies: Dependencies,
        progress: object = None,
    ) -> None:
        """`progress` is the JSON tree of what was noted last."""
        self.promise_id = promise_id
        self.name = name
        self.version = version
        self.attempt = attempt
        self._dependencies = dependencies
        self._cancelled = False
        self._hear: Callable[[object], None] | None = None
        self._progress = progress

    @property
    def cancelled(self) -> bool:
        """Tell whether the function should stop."""
        return self._cancelled

    @property
    def recorded(self) -> object:
        """The JSON tree of the progress, for another process."""
        return self._progress

    @property
    def progress(self) -> Any:
        """What a heartbeat noted last, of this attempt or, where it was recorded, of one before; or None.

        Raises DecodingError if its class is not known here.
        """
        return codec.decode(self._progress, None, f"the progress of {self.promise_id}")

    def heartbeat(self, progress: object = None) -> None:
        """Say that the attempt is alive; its heartbeat time-out counts from now. For any thread.

        `progress`, if it is not None, is what the next attempt reads in `info.progress`. It is recorded
        about once a second, so that a crash loses a second of it. Raises EncodingError.
        """
        tree = None if progress is None else codec.encode(progress, f"the progress of {self.promise_id}")
        self.take(tree)

    def take(self, tree: object) -> None:
        """Take a heartbeat with the JSON tree of its progress; for the attempt that made this."""
        if tree is not None:
            self._progress = tree
        if self._hear is not None:
            self._hear(tree)

    def heard_by(self, hear: Callable[[object], None]) -> None:
        """Have heartbeats heard; for the attempt that made this."""
        self._hear = hear

    def stop(self) -> None:
        """Ask the function to stop; for the attempt that made this."""
        self._cancelled = True

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
