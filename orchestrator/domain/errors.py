"""The errors of the orchestrator, split first by who must act.

    OrchestratorError
    ├── Refused                    the caller: the engine will not do what was asked (status, message)
    ├── Unavailable                nobody, try again: the engine or the network did not answer
    │   └── Unreached              … as nobody answers there at all
    ├── ApplicationError           the caller: the invoked function failed; carries type, message, data
    │   ├── PromiseCanceled        … or was cancelled
    │   ├── PromiseTimedOut        … or did not settle before its deadline
    │   ├── TimedOut               … or did not settle within the time that the workflow gave it
    │   └── AllFailed              … and so did all others of which one would have been enough
    ├── NotRegistered              the operator: no function of that name and version here
    └── NondeterminismError        the author: the code does not repeat what was recorded

`Cancelled`, `Suspended` and `Abandoned` are BaseExceptions: they must not be caught by `except Exception` in
a user's workflow. The last two end an execution and never reach it.
"""

from __future__ import annotations

from collections.abc import Sequence


class OrchestratorError(Exception):
    """The root of every error of this package."""

    retryable = False


class Refused(OrchestratorError):
    """The engine refused a request. `status` is the protocol's status code, 400 to 599."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Unavailable(OrchestratorError):
    """The engine could not be reached, or did not answer in time. `told`: the log has it already."""

    retryable = True
    told = False


class Unreached(Unavailable):
    """Nobody answers where the server should be; its transport tells of it, for all that wait."""

    told = True


class ApplicationError(OrchestratorError):
    """A function failed elsewhere; this is what its record says.

    `type_name` is the name of the exception's class, `data` its own JSON-like details. What it was raised
    from stands in `__cause__`, as for any exception, as an ApplicationError.
    """

    def __init__(self, message: str, *, type_name: str = "ApplicationError", data: object = None) -> None:
        super().__init__(message)
        self.message = message
        self.type_name = type_name
        self.data = data


class PromiseCanceled(ApplicationError):
    """The awaited promise was cancelled."""


class PromiseTimedOut(ApplicationError):
    """The awaited promise did not settle before its deadline."""


class TimedOut(ApplicationError, TimeoutError):
    """What a workflow awaited had not settled when the time that it gave was over."""


class AllFailed(ApplicationError):
    """Every one of several failed; `errors` are their failures in order, `data` the same as it is stored."""

    def __init__(self, errors: Sequence[ApplicationError]) -> None:
        reasons = "; ".join(f"{error.type_name}: {error.message}" for error in errors)
        super().__init__(
            f"all {len(errors)} failed: {reasons}",
            data=[{"name": error.type_name, "message": error.message} for error in errors],
        )
        self.errors = tuple(errors)


class NotRegistered(OrchestratorError):
    """No function of this name and version (0 for the latest) is registered here.

    `versions` are those of this name that are; `known` the names, where there is none of this one.
    """

    def __init__(
        self, name: str, version: int, known: tuple[str, ...] = (), versions: tuple[int, ...] = ()
    ) -> None:
        called = f"function {name!r}" + (f" version {version}" if version else "")
        hint = f"; registered are: {', '.join(known)}" if known else ""
        if versions:
            hint = f"; of this name there is version {', '.join(map(str, versions))}"
        super().__init__(f"{called} is not registered in this process{hint}")
        self.name = name
        self.version = version


class NondeterminismError(OrchestratorError):
    """A replayed workflow asks for something else than it did before.

    `position` says where the call stands, `before` names the calls that stand before it, oldest first.
    """

    def __init__(
        self,
        promise_id: str,
        recorded: str,
        requested: str,
        *,
        position: str = "",
        before: tuple[str, ...] = (),
    ) -> None:
        place = f" ({position})" if position else ""
        after = f", after {', '.join(before)}" if before else ""
        super().__init__(
            f"workflow changed under its own record: {promise_id} was recorded as {recorded}, "
            f"the code now asks for {requested}{place}{after}; restore the old order of calls, "
            "ask ctx.patched(NAME) which of both to follow, or register a new version"
        )
        self.promise_id = promise_id
        self.recorded = recorded
        self.requested = requested
        self.position = position
        self.before = before


class Cancelled(BaseException):
    """The workflow was asked to end. Clean up, durable steps included, and let it pass."""


class Suspended(BaseException):
    """The execution waits for a promise that someone else settles; it will be replayed."""


class Abandoned(BaseException):
    """The execution lost its task, or its worker drains; another execution will go on."""
