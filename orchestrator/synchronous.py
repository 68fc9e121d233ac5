"""The application for code that is not async: scripts, shells, web frameworks with threads.

One background thread runs the event loop with everything that the application does; calls from any other
thread wait for it. Within an event loop the async application itself is to be used.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import CancelledError as CallCancelled
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, Unpack, overload

from orchestrator.client.application import NotStarted
from orchestrator.client.handle import Handle
from orchestrator.client.invoking import Invoker
from orchestrator.client.options import InvocationOptions
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
from orchestrator.domain.errors import ApplicationError, OrchestratorError
from orchestrator.protocol.commands import PromisePage
from orchestrator.protocol.records import PromiseRecord, PromiseState

if TYPE_CHECKING:
    from orchestrator.runtime import Orchestrator

T = TypeVar("T")
STOP_S = 30.0
"""How long a stop waits for the background thread, beyond the application's own grace."""


class InsideLoop(OrchestratorError):
    """The blocking interface was used where an event loop runs, which it would bring to a stand."""

    def __init__(self) -> None:
        super().__init__(
            "this thread runs an event loop, which a blocking call would stop: await the same method of the "
            "application itself, or call from another thread (asyncio.to_thread)"
        )


class Portal:
    """The background thread and its loop; runs coroutines for other threads."""

    def __init__(self, app: Orchestrator) -> None:
        self._app = app
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Start thread and application. Raises what `app.start` raises, and NotStarted if it runs already."""
        _check_outside()
        with self._lock:
            if self._thread is not None:
                raise NotStarted("the application has been started before")
            ready = threading.Event()
            thread = threading.Thread(
                target=self._serve, args=(ready,), name=f"orchestrator {self._app.group}", daemon=True
            )
            thread.start()
            ready.wait()
            self._thread = thread
        try:
            self.call(self._app.start)
        except BaseException:
            self._end()
            raise

    def stop(self) -> None:
        """Stop the application, then the thread; calls that wait raise NotStarted. Idempotent."""
        _check_outside()
        if self._thread is None:
            return
        try:
            self.call(self._app.stop)
        finally:
            self._end()

    def call(self, work: Callable[[], Coroutine[Any, Any, T]], timeout_s: float | None = None) -> T:
        """Run a coroutine in the loop and return what it returns, or raise what it raises.

        Raises InsideLoop, NotStarted, and TimeoutError after `timeout_s`: the invocation itself goes on.
        """
        _check_outside()
        loop = self._loop
        if loop is None:
            raise NotStarted("the application is not running: use `with app.sync() as sync:`")
        future = asyncio.run_coroutine_threadsafe(_started(work), loop)
        try:
            return future.result(timeout_s)
        except CallCancelled as error:
            raise NotStarted("the application has stopped; ask again with get(id)") from error
        except BaseException:
            future.cancel()
            raise

    def _serve(self, ready: threading.Event) -> None:
        with asyncio.Runner() as runner:
            self._loop = runner.get_loop()
            self._loop.call_soon(ready.set)
            self._loop.run_forever()
            self._loop = None

    def _end(self) -> None:
        with self._lock:
            thread, self._thread = self._thread, None
            loop = self._loop
        if loop is not None:
            loop.call_soon_threadsafe(loop.stop)
        if thread is not None:
            thread.join(STOP_S)


async def _started(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    # Called in the loop: what a coroutine function does before its first await belongs there as well.
    return await work()


def _check_outside() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise InsideLoop


class SyncHandle(Generic[T]):
    """A handle whose waits block; for any thread."""

    def __init__(self, handle: Handle[T], portal: Portal) -> None:
        self._handle = handle
        self._portal = portal
        self.id = handle.id

    def __repr__(self) -> str:
        return f"<Sync{repr(self._handle)[1:]}"

    @property
    def record(self) -> PromiseRecord:
        """The promise as it was last seen."""
        return self._handle.record

    def result(self, timeout_s: float | None = None) -> T:
        """Wait for the result. Raises as `Handle.result` does, and TimeoutError after `timeout_s`."""
        return self._portal.call(self._handle.result, timeout_s)

    def exception(self, timeout_s: float | None = None) -> ApplicationError | None:
        """Wait as `result` does; return the error that it would raise, None if there is a result."""
        return self._portal.call(self._handle.exception, timeout_s)

    def cancel(self) -> None:
        """Ask the invocation, and all that it called, to clean up and end; returns once that is durable."""
        self._portal.call(self._handle.cancel)

    def terminate(self) -> None:
        """Settle the invocation and all that it called as canceled, at once; no clean-up runs."""
        self._portal.call(self._handle.terminate)

    def done(self) -> bool:
        """Tell whether the promise has settled."""
        return self._portal.call(self._handle.done)


class SyncInvoker:
    """The four ways of invoking a function by the id of its promise, blocking."""

    def __init__(self, invoker: Invoker, portal: Portal) -> None:
        self._invoker = invoker
        self._portal = portal

    @overload
    def run(self, promise_id: str, fn: AsyncWorkflow[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T: ...
    @overload
    def run(
        self, promise_id: str, fn: GeneratorWorkflow[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T: ...
    @overload
    def run(
        self, promise_id: str, fn: AsyncInformedLeaf[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T: ...
    @overload
    def run(self, promise_id: str, fn: InformedLeaf[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T: ...
    @overload
    def run(self, promise_id: str, fn: AsyncLeaf[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T: ...
    @overload
    def run(self, promise_id: str, fn: Leaf[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T: ...
    @overload
    def run(self, promise_id: str, fn: str, /, *args: Any, **kwargs: Any) -> Any: ...
    def run(self, promise_id: str, fn: AnyFunction | str, /, *args: Any, **kwargs: Any) -> Any:
        """Execute a function in this process and return its result; errors are those of `app.run`."""
        return self._portal.call(lambda: self._invoker.run(promise_id, fn, *args, **kwargs))

    @overload
    def begin_run(
        self, promise_id: str, fn: AsyncWorkflow[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> SyncHandle[T]: ...
    @overload
    def begin_run(
        self, promise_id: str, fn: GeneratorWorkflow[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> SyncHandle[T]: ...
    @overload
    def begin_run(
        self, promise_id: str, fn: AsyncInformedLeaf[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> SyncHandle[T]: ...
    @overload
    def begin_run(
        self, promise_id: str, fn: InformedLeaf[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> SyncHandle[T]: ...
    @overload
    def begin_run(
        self, promise_id: str, fn: AsyncLeaf[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> SyncHandle[T]: ...
    @overload
    def begin_run(
        self, promise_id: str, fn: Leaf[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> SyncHandle[T]: ...
    @overload
    def begin_run(self, promise_id: str, fn: str, /, *args: Any, **kwargs: Any) -> SyncHandle[Any]: ...
    def begin_run(
        self, promise_id: str, fn: AnyFunction | str, /, *args: Any, **kwargs: Any
    ) -> SyncHandle[Any]:
        """Execute a function in this process; the invocation is durable when this returns."""
        return SyncHandle(
            self._portal.call(lambda: self._invoker.begin_run(promise_id, fn, *args, **kwargs)), self._portal
        )

    @overload
    def rpc(self, promise_id: str, fn: AsyncWorkflow[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T: ...
    @overload
    def rpc(
        self, promise_id: str, fn: GeneratorWorkflow[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T: ...
    @overload
    def rpc(
        self, promise_id: str, fn: AsyncInformedLeaf[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T: ...
    @overload
    def rpc(self, promise_id: str, fn: InformedLeaf[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T: ...
    @overload
    def rpc(self, promise_id: str, fn: AsyncLeaf[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T: ...
    @overload
    def rpc(self, promise_id: str, fn: Leaf[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T: ...
    @overload
    def rpc(self, promise_id: str, fn: str, /, *args: Any, **kwargs: Any) -> Any: ...
    def rpc(self, promise_id: str, fn: AnyFunction | str, /, *args: Any, **kwargs: Any) -> Any:
        """Have a worker group execute a function and return its result; errors are those of `app.rpc`."""
        return self._portal.call(lambda: self._invoker.rpc(promise_id, fn, *args, **kwargs))

    @overload
    def begin_rpc(
        self, promise_id: str, fn: AsyncWorkflow[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> SyncHandle[T]: ...
    @overload
    def begin_rpc(
        self, promise_id: str, fn: GeneratorWorkflow[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> SyncHandle[T]: ...
    @overload
    def begin_rpc(
        self, promise_id: str, fn: AsyncInformedLeaf[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> SyncHandle[T]: ...
    @overload
    def begin_rpc(
        self, promise_id: str, fn: InformedLeaf[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> SyncHandle[T]: ...
    @overload
    def begin_rpc(
        self, promise_id: str, fn: AsyncLeaf[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> SyncHandle[T]: ...
    @overload
    def begin_rpc(
        self, promise_id: str, fn: Leaf[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> SyncHandle[T]: ...
    @overload
    def begin_rpc(self, promise_id: str, fn: str, /, *args: Any, **kwargs: Any) -> SyncHandle[Any]: ...
    def begin_rpc(
        self, promise_id: str, fn: AnyFunction | str, /, *args: Any, **kwargs: Any
    ) -> SyncHandle[Any]:
        """Have a worker group execute a function; the invocation is durable when this returns."""
        return SyncHandle(
            self._portal.call(lambda: self._invoker.begin_rpc(promise_id, fn, *args, **kwargs)), self._portal
        )


class SyncPromises:
    """Promises by hand, blocking; errors are those of `app.promises`."""

    def __init__(self, app: Orchestrator, portal: Portal) -> None:
        self._app = app
        self._portal = portal

    def get(self, promise_id: str) -> PromiseRecord:
        """Return the record of a promise."""
        return self._portal.call(lambda: self._app.promises.get(promise_id))

    def create(
        self,
        promise_id: str,
        *,
        param: object = None,
        timeout_s: float | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> PromiseRecord:
        """Create a promise that is settled by hand, or return the one that exists (P2)."""
        return self._portal.call(
            lambda: self._app.promises.create(promise_id, param=param, timeout_s=timeout_s, tags=tags)
        )

    def resolve(self, promise_id: str, value: object = None) -> PromiseRecord:
        """Resolve a promise with a value; one already settled is returned as it is (P1)."""
        return self._portal.call(lambda: self._app.promises.resolve(promise_id, value))

    def reject(self, promise_id: str, error: BaseException | str) -> PromiseRecord:
        """Reject a promise with an error; one already settled is returned as it is (P1)."""
        return self._portal.call(lambda: self._app.promises.reject(promise_id, error))

    def cancel(self, promise_id: str) -> PromiseRecord:
        """Ask what a promise stands for to end; one already settled is returned as it is (P1)."""
        return self._portal.call(lambda: self._app.promises.cancel(promise_id))

    def terminate(self, promise_id: str) -> PromiseRecord:
        """Settle a promise and all that it called as canceled, at once; no clean-up runs."""
        return self._portal.call(lambda: self._app.promises.terminate(promise_id))

    def tree(self, promise_id: str, *, promises_max: int = 10_000) -> list[PromiseRecord]:
        """Return a promise and all that it called, in order of id. Raises Refused(422) beyond the bound."""
        return self._portal.call(lambda: self._app.promises.tree(promise_id, promises_max=promises_max))

    def search(
        self,
        *,
        state: PromiseState | None = None,
        tags: Mapping[str, str] | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> PromisePage:
        """Return a page of promises in order of id: up to `limit` (1 to 1000) after `cursor`."""
        return self._portal.call(
            lambda: self._app.promises.search(state=state, tags=tags, limit=limit, cursor=cursor)
        )


class SyncOrchestrator(SyncInvoker):
    """An application in a background thread. Use as `with app.sync() as sync:`, or by start and stop.

    Its methods may be called from many threads at once, and from none that runs an event loop (InsideLoop).
    """

    def __init__(self, app: Orchestrator) -> None:
        super().__init__(app, Portal(app))
        self._app = app

    def start(self) -> None:
        """Start the background thread and the application in it."""
        self._portal.start()

    def stop(self) -> None:
        """Let running functions finish within the grace period, release the rest, end the thread."""
        self._portal.stop()

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    def options(self, **options: Unpack[InvocationOptions]) -> SyncInvoker:
        """Return the invocations with these options, as `app.options` takes them."""
        return SyncInvoker(self._app.options(**options), self._portal)

    def get(self, promise_id: str) -> SyncHandle[Any]:
        """Return a handle on an existing promise. Raises Refused(404) for an unknown one."""
        return SyncHandle(self._portal.call(lambda: self._app.get(promise_id)), self._portal)

    @property
    def promises(self) -> SyncPromises:
        """Promises by hand."""
        return SyncPromises(self._app, self._portal)

    def call(self, work: Callable[[], Coroutine[Any, Any, T]], timeout_s: float | None = None) -> T:
        """Run any coroutine of the application, as in `sync.call(lambda: app.schedules.get(id))`."""
        return self._portal.call(work, timeout_s)
