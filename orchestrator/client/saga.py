"""Sagas: what a workflow has done is undone, last first, if it does not come to its end."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, overload

from orchestrator.client.future import DurableFuture
from orchestrator.client.signatures import (
    AnyFunction,
    AsyncWorkflow,
    GeneratorWorkflow,
    InformedLeaf,
    Leaf,
    P,
)
from orchestrator.domain.errors import Abandoned, ApplicationError

if TYPE_CHECKING:
    from orchestrator.client.context import Context


class CompensationFailed(ApplicationError):
    """A saga failed and could not be undone altogether: somebody has to look at it.

    `data` lists what could not be undone, each as `[function, message]`.
    """


class Saga:
    """Undoes, last first, what was announced with `undo`, when its block ends with an exception.

    Use as `async with Saga(ctx) as saga:` in a workflow that is a coroutine. The exception goes on after the
    compensations; they are steps like others, with their retries. Where some fail the rest are still run, and
    CompensationFailed is raised from the exception.
    """

    __slots__ = ("_context", "_undoing")

    def __init__(self, context: Context) -> None:
        self._context = context
        self._undoing: list[tuple[AnyFunction, tuple[Any, ...], dict[str, Any]]] = []

    @overload
    def undo(self, fn: AsyncWorkflow[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> None: ...
    @overload
    def undo(self, fn: GeneratorWorkflow[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> None: ...
    @overload
    def undo(self, fn: InformedLeaf[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> None: ...
    @overload
    def undo(self, fn: Leaf[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> None: ...
    def undo(self, fn: AnyFunction, /, *args: Any, **kwargs: Any) -> None:
        """Announce how to undo the step that comes next.

        Before it, since a step whose outcome is unknown may have been done: `fn` must bear that there is
        nothing to undo.
        """
        self._undoing.append((fn, args, kwargs))

    async def __aenter__(self) -> Self:
        """Begin."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Undo, if the block failed: a workflow that only leaves memory, to go on later, has not."""
        if error is None or isinstance(error, (GeneratorExit, Abandoned)):
            return
        failed: list[list[str]] = []
        for fn, args, kwargs in reversed(self._undoing):
            undone: DurableFuture[Any] = self._context.run(fn, *args, **kwargs)
            try:
                await undone
            except ApplicationError as fault:
                failed.append([getattr(fn, "__name__", repr(fn)), fault.message])
        if failed:
            raise CompensationFailed(
                f"{error}; and not undone: {', '.join(name for name, _ in failed)}",
                type_name=CompensationFailed.__name__,
                data=failed,
            ) from error
