"""The driver: steps a workflow's coroutine or generator from one durable await to the next.

asyncio does not step workflows. While one steps, the running loop is hidden, so that any asyncio call in it
fails at once instead of leaking a side effect that no replay would see.
"""

from __future__ import annotations

from asyncio import CancelledError, events
from collections.abc import Coroutine, Generator, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from orchestrator.client.future import Durable, DurableFuture, Outcome, Raised, Returned
from orchestrator.client.unawaited import HOOK, Unawaited, hooks, pythons_own
from orchestrator.domain.errors import Cancelled, OrchestratorError

NO_LOOP = "no running event loop"
ADVICE = (
    "move it into a leaf function and call it with ctx.run(...); "
    "to wait, use ctx.sleep(...) or ctx.promise(...)"
)


class ForeignAwait(OrchestratorError):
    """A workflow used asyncio, or awaited something that is not durable."""


class Finished(msgspec.Struct, frozen=True):
    """The workflow returned or raised."""

    outcome: Outcome


def refusal_of(foreign: DurableFuture[Any]) -> Raised:
    """Return what a workflow goes on with that awaits a future of another execution."""
    return Raised(ForeignAwait(f"{foreign.id} belongs to another execution: {ADVICE}"))


Body = Coroutine[Any, Any, Any] | Generator[Any, Any, Any]


class Driver:
    """One workflow body, never stepped while it steps."""

    __slots__ = ("_body", "_name", "_tell_unawaited")

    def __init__(self, body: Body, name: str) -> None:
        self._body = body
        self._name = name
        self._tell_unawaited = Unawaited(name).tell

    def step(self, resumption: Outcome) -> Durable[Any] | Finished:
        """Go on with the outcome of the last await until the next one, which is returned, or the end.

        BaseExceptions other than an Exception pass through: they end the execution, not the workflow. A
        CancelledError is the workflow's own: nothing can be cancelled while it steps. Cancelled is its end.
        """
        loop = events._get_running_loop()
        while True:
            # Written out, not `with`: a context manager costs more than a step.
            events._set_running_loop(None)
            hooks[HOOK] = self._tell_unawaited
            try:
                if isinstance(resumption, Returned):
                    awaited = self._body.send(resumption.value)
                else:
                    awaited = self._body.throw(resumption.error)
            except StopIteration as stop:
                return Finished(Returned(stop.value))
            except (Exception, CancelledError, Cancelled) as error:
                return Finished(Raised(self._explained(error)))
            finally:
                hooks[HOOK] = pythons_own
                events._set_running_loop(loop)
            if isinstance(awaited, Durable):
                return awaited
            resumption = Raised(self._foreign(awaited))

    def close(self) -> None:
        """End the body where it stands: its `finally` blocks run, durable operations in them are refused."""
        with _hidden_loop():
            self._body.close()

    def _foreign(self, awaited: object) -> ForeignAwait:
        what = f"a {type(awaited).__qualname__}" if awaited is not None else "a bare yield"
        return ForeignAwait(f"workflow {self._name} awaits {what}, which cannot be replayed: {ADVICE}")

    def _explained(self, error: BaseException) -> BaseException:
        if isinstance(error, RuntimeError) and str(error) == NO_LOOP:
            explained = ForeignAwait(
                f"workflow {self._name} uses asyncio, which cannot be replayed: {ADVICE}"
            )
            explained.__cause__ = error
            return explained
        return error


@contextmanager
def _hidden_loop() -> Iterator[None]:
    loop = events._get_running_loop()
    events._set_running_loop(None)
    try:
        yield
    finally:
        events._set_running_loop(loop)
