"""Invoking functions from outside of workflows, with the options of the invocation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, overload

from orchestrator.client.handle import Handle
from orchestrator.client.options import DEFAULTS, CallOptions
from orchestrator.client.signatures import (
    AnyFunction,
    AsyncInformedLeaf,
    AsyncLeaf,
    AsyncWorkflow,
    GeneratorWorkflow,
    InformedLeaf,
    Leaf,
    P,
)

if TYPE_CHECKING:
    from orchestrator.client.application import Application

T = TypeVar("T")


class Invoker:
    """The four ways of invoking a function by the id of its promise; one that exists is attached to (P2)."""

    __slots__ = ("_application", "_options")

    def __init__(self, application: Application, options: CallOptions = DEFAULTS) -> None:
        self._application = application
        self._options = options

    @overload
    async def run(
        self, promise_id: str, fn: AsyncWorkflow[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T: ...
    @overload
    async def run(
        self, promise_id: str, fn: GeneratorWorkflow[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T: ...
    @overload
    async def run(
        self, promise_id: str, fn: AsyncInformedLeaf[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T: ...
    @overload
    async def run(
        self, promise_id: str, fn: InformedLeaf[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T: ...
    @overload
    async def run(self, promise_id: str, fn: AsyncLeaf[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T: ...
    @overload
    async def run(self, promise_id: str, fn: Leaf[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T: ...
    @overload
    async def run(self, promise_id: str, fn: str, /, *args: Any, **kwargs: Any) -> Any: ...
    async def run(self, promise_id: str, fn: AnyFunction | str, /, *args: Any, **kwargs: Any) -> Any:
        """Execute a registered function in this process and return its result.

        Raises ApplicationError if it failed, NotRegistered if it is not registered here, Unavailable when the
        engine does not answer.
        """
        handle = await self._application.begin_local(self._options, promise_id, fn, args, kwargs)
        return await handle.result()

    @overload
    async def begin_run(
        self, promise_id: str, fn: AsyncWorkflow[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Handle[T]: ...
    @overload
    async def begin_run(
        self, promise_id: str, fn: GeneratorWorkflow[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Handle[T]: ...
    @overload
    async def begin_run(
        self, promise_id: str, fn: AsyncInformedLeaf[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Handle[T]: ...
    @overload
    async def begin_run(
        self, promise_id: str, fn: InformedLeaf[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Handle[T]: ...
    @overload
    async def begin_run(
        self, promise_id: str, fn: AsyncLeaf[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Handle[T]: ...
    @overload
    async def begin_run(
        self, promise_id: str, fn: Leaf[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Handle[T]: ...
    @overload
    async def begin_run(self, promise_id: str, fn: str, /, *args: Any, **kwargs: Any) -> Handle[Any]: ...
    async def begin_run(
        self, promise_id: str, fn: AnyFunction | str, /, *args: Any, **kwargs: Any
    ) -> Handle[Any]:
        """Start a registered function in this process; the invocation is durable when this returns."""
        return await self._application.begin_local(self._options, promise_id, fn, args, kwargs)

    @overload
    async def rpc(
        self, promise_id: str, fn: AsyncWorkflow[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T: ...
    @overload
    async def rpc(
        self, promise_id: str, fn: GeneratorWorkflow[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T: ...
    @overload
    async def rpc(
        self, promise_id: str, fn: AsyncInformedLeaf[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T: ...
    @overload
    async def rpc(
        self, promise_id: str, fn: InformedLeaf[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T: ...
    @overload
    async def rpc(self, promise_id: str, fn: AsyncLeaf[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T: ...
    @overload
    async def rpc(self, promise_id: str, fn: Leaf[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T: ...
    @overload
    async def rpc(self, promise_id: str, fn: str, /, *args: Any, **kwargs: Any) -> Any: ...
    async def rpc(self, promise_id: str, fn: AnyFunction | str, /, *args: Any, **kwargs: Any) -> Any:
        """Have a worker group execute a function, by default this one's, and return its result."""
        return await self._application.call_remote(self._options, promise_id, fn, args, kwargs)

    @overload
    async def begin_rpc(
        self, promise_id: str, fn: AsyncWorkflow[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Handle[T]: ...
    @overload
    async def begin_rpc(
        self, promise_id: str, fn: GeneratorWorkflow[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Handle[T]: ...
    @overload
    async def begin_rpc(
        self, promise_id: str, fn: AsyncInformedLeaf[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Handle[T]: ...
    @overload
    async def begin_rpc(
        self, promise_id: str, fn: InformedLeaf[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Handle[T]: ...
    @overload
    async def begin_rpc(
        self, promise_id: str, fn: AsyncLeaf[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Handle[T]: ...
    @overload
    async def begin_rpc(
        self, promise_id: str, fn: Leaf[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Handle[T]: ...
    @overload
    async def begin_rpc(self, promise_id: str, fn: str, /, *args: Any, **kwargs: Any) -> Handle[Any]: ...
    async def begin_rpc(
        self, promise_id: str, fn: AnyFunction | str, /, *args: Any, **kwargs: Any
    ) -> Handle[Any]:
        """Have a worker group execute a function; the invocation is durable when this returns."""
        return await self._application.begin_remote(self._options, promise_id, fn, args, kwargs)
