"""The thread in which SQLite's transactions run, and the way there and back.

A `ThreadPoolExecutor` gives each call a future with a lock and a condition of its own, which another one of
the loop watches: twice the processor time, and as many calls of the system. Where batches follow one
another the loop is nearly as busy as the thread, and each keeps the interpreter from the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from queue import SimpleQueue
from threading import Thread
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")


class _Call(NamedTuple):
    function: Callable[[], Any]
    loop: asyncio.AbstractEventLoop | None = None
    """Whose future is told what came of it; None where nobody waits."""
    future: asyncio.Future[Any] | None = None


class StoreThread(Executor):
    """One thread that carries out calls in their order; for `loop.run_in_executor`, and no other use.

    That takes a future of the loop from an executor as it is (`asyncio.wrap_future`), and remains the one
    place where a loop learns that a thread works for it, as a loop in virtual time has to.
    """

    def __init__(self, name: str) -> None:
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        # A daemon: what is under way when an interpreter ends without `shutdown` was acknowledged to nobody.
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, function: Callable[..., T], /, *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        """Have a function called; return a future of the running loop."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._calls.put(_Call(lambda: function(*args), loop, future))
        return future

    def start(self, function: Callable[[], None]) -> None:
        """Have a function called for which nobody waits, and which raises nothing; from any thread."""
        self._calls.put(_Call(function))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End once all calls before this one are done."""
        self._calls.put(None)
        if wait:
            self._thread.join()

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            _carry_out(*call)
            del call  # nothing of it is kept until the next


def _carry_out(
    function: Callable[[], Any], loop: asyncio.AbstractEventLoop | None, future: asyncio.Future[Any] | None
) -> None:
    result, fault = None, None
    if future is not None and future.cancelled():  # before its turn: nothing has begun
        return
    try:
        result = function()
    except BaseException as error:  # whoever waits is told
        fault = error
    if loop is None or future is None:
        return
    try:
        loop.call_soon_threadsafe(_tell, future, result, fault)
    except RuntimeError:  # the loop was closed: nobody waits any more
        pass
    finally:
        fault = None  # its traceback holds this frame


def _tell(future: asyncio.Future[Any], result: Any, fault: BaseException | None) -> None:
    if future.done():  # whoever waited was cancelled
        return
    if fault is None:
        future.set_result(result)
    else:
        future.set_exception(fault)
