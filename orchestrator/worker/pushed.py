"""One task in the time of one request: what a stateless function does with a message that is posted to it.

The message is a hint like any other (T1, T2): its task is acquired, executed until it suspends or ends, and
nothing is held afterwards. Whoever posts must know the token; the server that is asked is the configured one,
never one that the message names.
"""

from __future__ import annotations

import asyncio
import hmac
from dataclasses import dataclass, replace
from enum import StrEnum

import msgspec

from orchestrator.client.listening import Subscriptions
from orchestrator.client.surroundings import Surroundings
from orchestrator.client.verdict import Ending, Verdict
from orchestrator.domain.errors import Refused, Unavailable
from orchestrator.domain.promise import PromiseRecord
from orchestrator.protocol import commands as c
from orchestrator.protocol.envelope import decode_message
from orchestrator.protocol.messages import Execute
from orchestrator.protocol.records import TaskState
from orchestrator.worker.worker import Worker, WorkerSettings

BODY_BYTES_MAX = 8 * 1024 * 1024
TOKEN_LENGTH_MIN = 16
LOOK_S = 0.5
"""Between two looks at a promise that an execution awaits beside a running step: no stream tells of it."""
CONCLUDING_S = 0.1
"""So long the end of an execution may take to be written, before it is left to its lease."""
_BEARER = "bearer "


class Pushed(StrEnum):
    """What became of a pushed message.

    `SETTLED`, `SUSPENDED`: executed until then. `RELEASED`: given back, to be announced again. `DECLINED`:
    nothing to do, somebody else has it, or it is no task. `REFUSED`: not acted on, for `reason`.
    """

    SETTLED = "settled"
    SUSPENDED = "suspended"
    RELEASED = "released"
    DECLINED = "declined"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class PushResult:
    """The answer to a push: an HTTP `status`, what became of it, of which promise, and why."""

    status: int
    outcome: Pushed
    promise_id: str | None = None
    reason: str = ""

    def body(self) -> bytes:
        """Return the answer as JSON."""
        return msgspec.json.encode(
            {"outcome": self.outcome, "promise_id": self.promise_id, "reason": self.reason}
        )


class WatchingSubscriptions(Subscriptions):
    """Waits by looking, for a process to which no message is sent."""

    def __init__(self, around: Surroundings) -> None:
        super().__init__(around.transport, "", refresh_s=LOOK_S)
        self._engine = around.transport

    async def _register(self, promise_id: str) -> None:
        try:
            self.observe((await self._engine.call(c.PromiseGet(id=promise_id))).promise)
        except Unavailable:
            return


class _Awaited:
    """An observer of executions that waits for the end of one."""

    def __init__(self) -> None:
        self.ended: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()

    def tags_for(self, promise_id: str) -> dict[str, str]:
        """Give no tags."""
        return {}

    def on_execution_started(self, promise: PromiseRecord, version: int) -> None:
        """Take note of nothing."""

    def on_execution_ended(self, promise: PromiseRecord, version: int, verdict: Verdict) -> None:
        """Take the verdict."""
        if not self.ended.done():
            self.ended.set_result(verdict)


def check_push(body: bytes, authorization: str | None, token: str | None) -> Execute | PushResult:
    """Return the task that a posted message announces, or the answer without one.

    Without a token of at least 16 characters nobody is let in.
    """
    if token is None or len(token) < TOKEN_LENGTH_MIN:
        return _refused(401, f"no token of at least {TOKEN_LENGTH_MIN} characters is configured here")
    given = authorization or ""
    presented = given[len(_BEARER) :] if given.lower().startswith(_BEARER) else ""
    if not hmac.compare_digest(presented.encode(), token.encode()):
        return _refused(401, "the token is missing or wrong: send Authorization: Bearer TOKEN")
    if len(body) > BODY_BYTES_MAX:
        return _refused(413, f"a message has at most {BODY_BYTES_MAX} bytes")
    try:
        message = decode_message(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return _refused(400, f"this is no message of an orchestrator: {error}")
    if isinstance(message, Execute):
        return message
    return PushResult(status=200, outcome=Pushed.DECLINED, reason="only tasks are executed here")


async def execute_pushed(
    around: Surroundings, settings: WorkerSettings, task: c.TaskReference, *, limit_s: float
) -> PushResult:
    """Acquire the task, execute it for at most `limit_s` seconds, and let go of everything."""
    awaited = _Awaited()
    around = replace(around, execution_observers=[*around.execution_observers, awaited])
    around.subscriptions = WatchingSubscriptions(around)
    worker, stopping = (
        Worker(around, replace(settings, concurrency=1, grace_s=CONCLUDING_S, kept_max=0)),
        asyncio.Event(),
    )
    acquired_at = asyncio.get_running_loop().time()
    try:
        claim = await around.transport.call(
            c.TaskAcquire(id=task.id, version=task.version, pid=around.pid, ttl=settings.ttl_ms)
        )
    except Refused as refusal:
        return _declined(task.id, str(refusal))
    except Unavailable as error:
        return unreachable(task.id, error)
    if claim.task.state is not TaskState.ACQUIRED or claim.promise.is_timer:
        return _declined(task.id, "there is nothing to execute")
    async with asyncio.TaskGroup() as group:
        looking = group.create_task(around.subscriptions.refresh_forever())
        working = group.create_task(worker.run(stopping))
        await asyncio.sleep(0)  # the worker takes tasks once it has run up to its first wait
        worker.take(claim, acquired_at)
        await asyncio.wait((awaited.ended, working), timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
        stopping.set()
        await asyncio.wait((working,))
        looking.cancel()
    return _result(task.id, awaited.ended.result(), limit_s)


def unreachable(promise_id: str, error: Unavailable) -> PushResult:
    """Return the answer to a push whose server does not answer."""
    return PushResult(status=503, outcome=Pushed.REFUSED, promise_id=promise_id, reason=str(error))


def _result(promise_id: str, verdict: Verdict, limit_s: float) -> PushResult:
    if verdict.ending in (Ending.SETTLED, Ending.SUSPENDED):
        return PushResult(status=200, outcome=Pushed(verdict.ending.value), promise_id=promise_id)
    reason = (
        str(verdict.fault) if verdict.fault is not None else f"cut off, at the latest after {limit_s:g} s"
    )
    return PushResult(status=503, outcome=Pushed.RELEASED, promise_id=promise_id, reason=reason)


def _declined(promise_id: str, reason: str) -> PushResult:
    return PushResult(status=200, outcome=Pushed.DECLINED, promise_id=promise_id, reason=reason)


def _refused(status: int, reason: str) -> PushResult:
    return PushResult(status=status, outcome=Pushed.REFUSED, reason=reason)
