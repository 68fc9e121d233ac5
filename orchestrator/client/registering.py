"""What functions an application has, and what they are given: registrations, stored types, dependencies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, TypeVar, overload

from orchestrator.client.options import AttemptLimits
from orchestrator.client.registry import Executor, Function, Registry, describe
from orchestrator.client.shapes import class_name
from orchestrator.client.surroundings import Dependencies
from orchestrator.client.type_codecs import TypeCodec, add_type
from orchestrator.domain.retry import RetryPolicy

F = TypeVar("F", bound=Function)
T = TypeVar("T")


class Registering:
    """The part of an application that is there before it starts."""

    commits: ClassVar[bool] = False
    """Whether a registration that does not say so commits."""
    _registry: Registry
    _dependencies: Dependencies

    def __init__(self) -> None:
        self._registry = Registry()
        self._dependencies = Dependencies()

    @overload
    def register(self, fn: F, /) -> F: ...
    @overload
    def register(
        self,
        fn: F,
        /,
        *,
        name: str | None = None,
        version: int = 1,
        retry: RetryPolicy | None = None,
        executor: Executor = "thread",
        commit: bool | None = None,
        attempt_timeout_s: float | None = None,
        heartbeat_timeout_s: float | None = None,
    ) -> F: ...
    @overload
    def register(
        self,
        *,
        name: str | None = None,
        version: int = 1,
        retry: RetryPolicy | None = None,
        executor: Executor = "thread",
        commit: bool | None = None,
        attempt_timeout_s: float | None = None,
        heartbeat_timeout_s: float | None = None,
    ) -> Callable[[F], F]: ...
    def register(
        self,
        fn: Function | None = None,
        *,
        name: str | None = None,
        version: int = 1,
        retry: RetryPolicy | None = None,
        executor: Executor = "thread",
        commit: bool | None = None,
        attempt_timeout_s: float | None = None,
        heartbeat_timeout_s: float | None = None,
    ) -> Any:
        """Register a function under its name, or use it as a decorator; the function is returned unchanged.

        `retry` is the policy of a leaf's attempts (exponential by default), `executor` where a plain `def`
        runs (in a "thread", "inline" in the event loop, or in a "process" of its own), `commit` has each
        settlement carry a commitment to its input and output (None: as `commits` says, which is False but in
        a `CommittedOrchestrator`). An attempt that takes longer than `attempt_timeout_s`, or gives no
        `info.heartbeat()` for `heartbeat_timeout_s`, fails and is followed by another. Raises ValueError if
        another function has this name and version, TypeError for what cannot be executed.
        """
        limits = AttemptLimits(attempt_timeout_s=attempt_timeout_s, heartbeat_timeout_s=heartbeat_timeout_s)

        def add(function: F) -> F:
            self._registry.add(
                describe(
                    function,
                    name=name,
                    version=version,
                    retry=retry,
                    executor=executor,
                    commit=self.commits if commit is None else commit,
                    limits=limits,
                )
            )
            return function

        return add if fn is None else add(fn)

    def register_type(
        self,
        cls: type[T],
        *,
        to_stored: Callable[[T], object],
        from_stored: Callable[[Any], T],
        name: str | None = None,
    ) -> None:
        """Give a type a stored form: `to_stored` returns a value that has one, `from_stored` reads it again.

        `name` stands in the record instead of the class's own, and must not change. It counts for the whole
        process. Raises TypeConflict if the type, or the name, has another form.
        """
        stored_as = name if name is not None else class_name(cls)
        add_type(TypeCodec(cls=cls, name=stored_as, to_stored=to_stored, from_stored=from_stored))

    def set_dependency(self, dependency: object, name: str | None = None) -> None:
        """Offer an object to functions, by its type and by `name` if one is given."""
        self._dependencies.add(dependency, name)
