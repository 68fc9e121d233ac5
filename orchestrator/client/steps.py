"""Running one function in this process: attempts, retries, and the value that its settlement carries.

What is written does not depend on the worker, the time or the number of attempts (W3, M1).
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec
import structlog

from orchestrator.client import codec, shapes
from orchestrator.client.attempts import Attempt
from orchestrator.client.future import Outcome, Raised, Returned
from orchestrator.client.info import Info
from orchestrator.client.lease import Lease
from orchestrator.client.options import UNLIMITED, AttemptLimits
from orchestrator.client.outcomes import failure_value
from orchestrator.client.progress import Progress
from orchestrator.client.registry import RegisteredFunction
from orchestrator.client.surroundings import Surroundings
from orchestrator.commitments.errors import CommitmentError
from orchestrator.commitments.wrapper import BoundStep
from orchestrator.domain.errors import Cancelled, OrchestratorError, Refused
from orchestrator.domain.promise import EMPTY, PromiseRecord, PromiseState, Value
from orchestrator.domain.retry import RetryPolicy, next_delay_s, worth_another

TOO_LARGE = 413
_log = structlog.get_logger(__name__)


class Settlement(msgspec.Struct, frozen=True, kw_only=True):
    """How a promise is to be settled; `outcome` is what reading its value gives, if that is known."""

    state: PromiseState
    value: Value
    outcome: Returned | None = None

    def outcome_if(self, record: PromiseRecord) -> Returned | None:
        """Return the outcome if it is just this settlement that a promise has: it need not be read again."""
        same = record.value is self.value or record.value == self.value
        return self.outcome if same and record.state is self.state else None


CANCELLED = Settlement(state=PromiseState.REJECTED_CANCELED, value=EMPTY)
"""How a call is settled that was ended before it had an outcome, or that let Cancelled pass."""


def bind(function: RegisteredFunction, args: Sequence[Any], kwargs: Mapping[str, Any]) -> BoundStep | None:
    """Return the commitment to the input of a committed call, before the function can change it."""
    return function.committer.bind(args, kwargs) if function.committer is not None else None


def settlement(
    promise_id: str, function: RegisteredFunction, bound: BoundStep | None, outcome: Outcome
) -> Settlement:
    """Return how a function's outcome is stored. A result without a stored form is a failure that says so."""
    match outcome:
        case Raised(Cancelled()):
            return CANCELLED
        case Raised(error):
            return Settlement(state=PromiseState.REJECTED, value=failure_value(error))
        case Returned(value):
            try:
                return _returned(promise_id, function, bound, value)
            except (codec.EncodingError, codec.DecodingError, CommitmentError) as error:
                return Settlement(state=PromiseState.REJECTED, value=failure_value(error))


def plain_settlement(function: RegisteredFunction, outcome: Outcome) -> Settlement | None:
    """Return how an outcome is stored that is read as itself and commits to nothing; None for any other."""
    if not isinstance(outcome, Returned):
        return None
    value = codec.plain_result(outcome.value, function.returns)
    if value is None:
        return None
    return Settlement(state=PromiseState.RESOLVED, value=value, outcome=outcome)


def _returned(
    promise_id: str, function: RegisteredFunction, bound: BoundStep | None, result: object
) -> Settlement:
    # A result that cannot be read back as declared must fail here, not on every replay.
    if bound is None:
        value, read = codec.encode_result(
            result, function.returns, lambda: f"the result of {function} ({promise_id})"
        )
    else:
        text = bound.committer.output(result)
        value = Value(headers=bound.headers(result, text), data=b64encode(text).decode("ascii"))
        read = msgspec.json.decode(text)
        # The canonical text is of just the declared type: without a tag in it, a plain one is read already.
        if b'"$' in text or not shapes.is_plain(function.returns):
            read = codec.decode(read, function.returns, f"the result of {function} ({promise_id})")
    return Settlement(state=PromiseState.RESOLVED, value=value, outcome=Returned(read))


class LeafRun:
    """All attempts of one leaf call."""

    __slots__ = (
        "_args",
        "_around",
        "_begun_ms",
        "_bound",
        "_function",
        "_kwargs",
        "_lease",
        "_limits",
        "_progress",
        "_promise_id",
        "_retry",
    )

    def __init__(
        self,
        around: Surroundings,
        promise_id: str,
        *,
        function: RegisteredFunction,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        retry: RetryPolicy,
        lease: Lease,
        limits: AttemptLimits = UNLIMITED,
        begun_ms: int | None = None,
        progress: Progress | None = None,
        bound: BoundStep | None = None,
    ) -> None:
        """`begun_ms` (Unix milliseconds) is when the first attempt began, if that was before.

        `bound` is the commitment to the input, where the call has made it already.
        """
        self._bound = bound
        self._progress = progress if progress is not None else Progress()
        self._around = around
        self._promise_id = promise_id
        self._function = function
        self._args = args
        self._kwargs = kwargs
        self._lease = lease
        self._retry = retry
        self._limits = limits
        self._begun_ms = begun_ms if begun_ms is not None else around.clock.now_ms()

    async def run(self, before_retry: Callable[[], Awaitable[None]]) -> Settlement:
        """Attempt until it succeeds or the policy gives up; `before_retry` is awaited before each wait.

        Raises Abandoned where an attempt would begin after the end of the lease (T2).
        """
        try:
            bound = self._bound or bind(self._function, self._args, self._kwargs)
        except CommitmentError as error:
            return Settlement(state=PromiseState.REJECTED, value=failure_value(error))
        attempt = 0
        while True:
            attempt += 1
            self._lease.check()
            outcome = await self._attempt(attempt)
            self._heed_cancellation()
            delay_s = self._delay_s(attempt, outcome)
            if delay_s is None:
                return settlement(self._promise_id, self._function, bound, outcome)
            self._tell(attempt, outcome, delay_s)
            await before_retry()
            await self._around.clock.sleep_until(self._around.clock.now_ms() + round(delay_s * 1000))

    def _tell(self, attempt: int, outcome: Outcome, delay_s: float) -> None:
        """Log the first, second, fourth, eighth ... attempt that failed and is followed by another."""
        if not isinstance(outcome, Raised) or attempt & (attempt - 1):
            return
        # What the system says of a host or a file is the reason. A function's own words may hold values.
        reason = {"reason": str(outcome.error)} if isinstance(outcome.error, OSError) else {}
        _log.warning(
            "attempt failed",
            promise_id=self._promise_id,
            function=self._function.name,
            attempt=attempt,
            error=type(outcome.error).__name__,
            again_in_s=round(delay_s, 3),
            **reason,
        )

    def _delay_s(self, attempt: int, outcome: Outcome) -> float | None:
        if not isinstance(outcome, Raised) or isinstance(outcome.error, Cancelled):
            return None
        if not worth_another(outcome.error, self._retry):
            return None
        elapsed_s = (self._around.clock.now_ms() - self._begun_ms) / 1000
        return next_delay_s(self._retry, attempt, elapsed_s, self._around.chance.random())

    async def _attempt(self, attempt: int) -> Outcome:
        for observer in self._around.observers:
            observer.on_step_started(self._promise_id, self._function.name, attempt)
        info = self._info(attempt)
        running = Attempt(
            self._around,
            self._function,
            info,
            args=self._args,
            kwargs=self._kwargs,
            limits=self._limits,
        )

        def hear(tree: object) -> None:
            running.beat()
            if tree is not None:
                self._progress.note(tree)

        info.heard_by(hear)
        return await running.run()

    @staticmethod
    def _heed_cancellation() -> None:
        """Raise again the cancellation that a function has swallowed: there is no further attempt."""
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError

    def _info(self, attempt: int) -> Info:
        return Info(
            promise_id=self._promise_id,
            name=self._function.name,
            version=self._function.version,
            attempt=attempt,
            dependencies=self._around.dependencies,
            progress=self._progress.tree,
        )


class NotStored(OrchestratorError):
    """The server does not take a value: it is larger than what one request may carry."""

    def __init__(self, what: str, refusal: Refused) -> None:
        super().__init__(f"{what} is not stored: {refusal.message} (status {refusal.status})")


def not_stored(what: str, refusal: Refused) -> Settlement:
    """Return the failure that stands for a value which the server refused. Raises any other refusal.

    Left unsettled, it would be computed again by every worker, for ever.
    """
    if refusal.status != TOO_LARGE:
        raise refusal
    return Settlement(state=PromiseState.REJECTED, value=failure_value(NotStored(what, refusal)))
