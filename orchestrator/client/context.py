"""The Context: what a workflow may do durably.

A call starts at once and returns a durable future: `await` it (or `yield from` it, in a generator) for the
outcome. `begin_run` and `begin_rpc` are the same operations under the names that say that the await comes
later. Every call is a child promise whose id follows from its position, so that a replay meets its record.
"""

from __future__ import annotations

import uuid as uuids
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

from orchestrator.client import calls, choices, performing, versions
from orchestrator.client.branch import Branch
from orchestrator.client.combinators import Combinators
from orchestrator.client.continuing import Continuation
from orchestrator.client.future import Durable, DurableFuture
from orchestrator.client.info import WorkflowInfo
from orchestrator.client.options import DEFAULTS, CallOptions
from orchestrator.client.registry import ContextMark, FunctionKind, RegisteredFunction, describe
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
from orchestrator.commitments.closing import Closing
from orchestrator.domain.errors import NotRegistered
from orchestrator.domain.retry import Never, RetryPolicy

if TYPE_CHECKING:
    from orchestrator.client.execution import Execution

T = TypeVar("T")
D = TypeVar("D")


class ContextCalls:
    """The calls of a workflow, with the options of the next one."""

    __slots__ = ("_branch", "_execution", "_options")

    def __init__(self, execution: Execution, branch: Branch, options: CallOptions = DEFAULTS) -> None:
        self._execution = execution
        self._branch = branch
        self._options = options

    @overload
    def run(self, fn: AsyncWorkflow[P, T], /, *args: P.args, **kwargs: P.kwargs) -> DurableFuture[T]: ...
    @overload
    def run(self, fn: GeneratorWorkflow[P, T], /, *args: P.args, **kwargs: P.kwargs) -> DurableFuture[T]: ...
    @overload
    def run(self, fn: AsyncInformedLeaf[P, T], /, *args: P.args, **kwargs: P.kwargs) -> DurableFuture[T]: ...
    @overload
    def run(self, fn: InformedLeaf[P, T], /, *args: P.args, **kwargs: P.kwargs) -> DurableFuture[T]: ...
    @overload
    def run(self, fn: AsyncLeaf[P, T], /, *args: P.args, **kwargs: P.kwargs) -> DurableFuture[T]: ...
    @overload
    def run(self, fn: Leaf[P, T], /, *args: P.args, **kwargs: P.kwargs) -> DurableFuture[T]: ...
    @overload
    def run(self, fn: str, /, *args: Any, **kwargs: Any) -> DurableFuture[Any]: ...
    def run(self, fn: AnyFunction | str, /, *args: Any, **kwargs: Any) -> DurableFuture[Any]:
        """Run a function as a step of this process, at most once once it has settled (W1).

        A leaf is retried by its policy; a workflow runs as a local child with children of its own. Awaiting
        raises ApplicationError if it failed. Raises NotRegistered for an unknown name.
        """
        return self._step(self._execution.around.registry.of_any(fn, self._options.version), args, kwargs)

    begin_run = run
    lfc = run
    lfi = run

    @overload
    def rpc(self, fn: AsyncWorkflow[P, T], /, *args: P.args, **kwargs: P.kwargs) -> DurableFuture[T]: ...
    @overload
    def rpc(self, fn: GeneratorWorkflow[P, T], /, *args: P.args, **kwargs: P.kwargs) -> DurableFuture[T]: ...
    @overload
    def rpc(self, fn: AsyncInformedLeaf[P, T], /, *args: P.args, **kwargs: P.kwargs) -> DurableFuture[T]: ...
    @overload
    def rpc(self, fn: InformedLeaf[P, T], /, *args: P.args, **kwargs: P.kwargs) -> DurableFuture[T]: ...
    @overload
    def rpc(self, fn: AsyncLeaf[P, T], /, *args: P.args, **kwargs: P.kwargs) -> DurableFuture[T]: ...
    @overload
    def rpc(self, fn: Leaf[P, T], /, *args: P.args, **kwargs: P.kwargs) -> DurableFuture[T]: ...
    @overload
    def rpc(self, fn: str, /, *args: Any, **kwargs: Any) -> DurableFuture[Any]: ...
    def rpc(self, fn: AnyFunction | str, /, *args: Any, **kwargs: Any) -> DurableFuture[Any]:
        """Call a function of a worker group, by default of this one.

        By name a call means version 1 unless options say otherwise. Raises EncodingError for an argument
        that cannot be stored.
        """
        call = calls.remote(self._site(), self._target(fn), args, kwargs)
        return self._remote(call, held=not call.outside)

    begin_rpc = rpc
    rfc = rpc
    rfi = rpc

    @overload
    def detached(self, fn: AsyncWorkflow[P, T], /, *args: P.args, **kwargs: P.kwargs) -> DurableFuture[T]: ...
    @overload
    def detached(
        self, fn: GeneratorWorkflow[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> DurableFuture[T]: ...
    @overload
    def detached(
        self, fn: AsyncInformedLeaf[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> DurableFuture[T]: ...
    @overload
    def detached(self, fn: InformedLeaf[P, T], /, *args: P.args, **kwargs: P.kwargs) -> DurableFuture[T]: ...
    @overload
    def detached(self, fn: AsyncLeaf[P, T], /, *args: P.args, **kwargs: P.kwargs) -> DurableFuture[T]: ...
    @overload
    def detached(self, fn: Leaf[P, T], /, *args: P.args, **kwargs: P.kwargs) -> DurableFuture[T]: ...
    @overload
    def detached(self, fn: str, /, *args: Any, **kwargs: Any) -> DurableFuture[Any]: ...
    def detached(self, fn: AnyFunction | str, /, *args: Any, **kwargs: Any) -> DurableFuture[Any]:
        """Start an invocation that outlives this workflow, which neither bounds nor holds nor cancels it.

        The future may be awaited, and need not be.
        """
        call = calls.detached(self._site(), self._target(fn), args, kwargs)
        return self._remote(call, held=False)

    def promise(self, id: str | None = None, *, timeout_s: float | None = None) -> DurableFuture[Any]:  # noqa: A002 - the word of the field
        """Return a promise that somebody outside settles, by its `.id`.

        With an `id` it is created unless it exists, stands outside this tree and has no deadline unless
        `timeout_s` gives one; without, it is a child. It exists before any later call here starts.
        """
        options = self._options
        if id is not None:
            options = replace(options, id=id)
        if timeout_s is not None:
            options = replace(options, timeout_s=timeout_s)
        number = self._branch.next_number() if options.id is None else None
        call = calls.promise(self._branch.caller, number, options, self._now_ms())
        return self._remote(call, held=False)

    def sleep(self, seconds: float) -> DurableFuture[None]:
        """Return a future that resolves after so many seconds, wherever the workflow is by then."""
        if seconds < 0:
            raise ValueError(f"cannot sleep for {seconds} seconds")
        due_ms = self._now_ms() + round(seconds * 1000)
        # Only ours, which announces extensions, watches the deadline of a promise that has no target.
        targeted = not self._execution.around.extensions
        call = calls.sleep(
            self._branch.caller, self._branch.next_number(), due_ms, self._options, targeted=targeted
        )
        return self._remote(call, held=False)

    # -- inner parts

    def _step(
        self, function: RegisteredFunction, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> DurableFuture[Any]:
        branch = self._branch
        if self._options is DEFAULTS:
            call = calls.step(branch.caller, branch.next_number(), function, args, kwargs)
        else:
            call = calls.step_with_options(self._site(), function, args, kwargs)
        workflow = function.kind is FunctionKind.WORKFLOW
        return self._execution.begin(
            branch, call, performing.start_branch if workflow else performing.run_leaf
        )

    def _remote(self, call: calls.Call, *, held: bool) -> DurableFuture[Any]:
        return self._execution.begin(self._branch, call, performing.call_remote, held=held)

    def _target(self, fn: AnyFunction | str) -> RegisteredFunction | str:
        if isinstance(fn, str):
            return fn
        try:
            return self._execution.around.registry.of(fn, self._options.version)
        except NotRegistered:
            # Registered where it runs, it goes by its own name.
            return self._execution.around.registry.of_any(fn)

    def _site(self) -> calls.CallSite:
        return calls.CallSite(
            caller=self._branch.caller,
            number=self._branch.next_number(),
            options=self._options,
            now_ms=self._now_ms(),
        )

    def _now_ms(self) -> int:
        return self._execution.around.clock.now_ms()


class Context(ContextCalls, Combinators, ContextMark):
    """What a workflow receives as its first parameter."""

    __slots__ = ()

    def options(
        self,
        *,
        id: str | None = None,  # noqa: A002 - the word of the field
        target: str | None = None,
        timeout_s: float | None = None,
        tags: Mapping[str, str] | None = None,
        version: int | None = None,
        retry: RetryPolicy | None = None,
        delay_until_ms: int | None = None,
        delay_s: float | None = None,
        priority: int | None = None,
        attempt_timeout_s: float | None = None,
    ) -> ContextCalls:
        """Return the calls with these options, for the next call only.

        Those of `app.options` mean the same here; `id` is that of a remote call, `attempt_timeout_s` bounds
        each attempt of a leaf that runs here. Raises ValueError for what cannot be meant.
        """
        options = CallOptions(
            id=id,
            target=target,
            timeout_s=timeout_s,
            tags=tags if tags is not None else {},
            version=version,
            retry=retry,
            delay_until_ms=delay_until_ms,
            delay_s=delay_s,
            priority=priority,
            attempt_timeout_s=attempt_timeout_s,
        )
        return ContextCalls(self._execution, self._branch, options)

    @property
    def id(self) -> str:
        """The id of this workflow's promise."""
        return self._branch.caller.id

    @property
    def info(self) -> WorkflowInfo:
        """What is fixed about this workflow."""
        return self._branch.info

    @overload
    def dependency(self, wanted: type[D]) -> D: ...
    @overload
    def dependency(self, wanted: str) -> Any: ...
    def dependency(self, wanted: type[Any] | str) -> Any:
        """Return a dependency by type or name. Raises LookupError. Its state must not steer the workflow."""
        return self._execution.around.dependencies.get(wanted)

    def timeout(self, future: Durable[T], seconds: float) -> DurableFuture[T]:
        """Return the outcome of a future if it settles within so many seconds from now.

        Otherwise it is cancelled, and awaiting raises TimedOut (a TimeoutError).
        """
        self._check(choices.TIMEOUT, (future,))
        return self._choose(choices.TIMEOUT, (future, self.sleep(seconds)))

    def version(self, name: str, oldest: int = versions.ORIGINAL, newest: int = 1) -> Durable[int]:
        """Return which version of a change this workflow follows, the same to its end.

        A workflow that comes here for the first time follows `newest`, and that is recorded. One that was
        past this place before the question stood here follows version 0, the code as it was before. `oldest`
        is the oldest version that the code still has: an execution that follows an older one ends with a
        NondeterminismError, and its record stays. Raises ValueError unless 0 <= oldest <= newest.
        """
        return versions.decide(self._execution, self._branch, name, oldest, newest)

    def patched(self, name: str) -> Durable[bool]:
        """Return whether this workflow follows a change: `version(name) == 1`."""
        return versions.patched(self._execution, self._branch, name)

    def continue_as(self, *args: Any, **kwargs: Any) -> T:  # type: ignore[type-var] # whatever is returned
        """Start this workflow over with other arguments: `return ctx.continue_as(...)`, as its last word.

        All that it has called is waited for and then forgotten, so that a loop without end stays small. The
        promise is the same; its deadline too. Arguments that do not fit, or cannot be stored, fail it; so
        does a call of this that is not returned.
        """
        self._branch.continues = True
        return cast("T", Continuation(args=args, kwargs=kwargs))

    def now(self) -> DurableFuture[int]:
        """Return the present as Unix milliseconds, recorded: a replay sees the same."""
        return self._step(_NOW, (self._execution.around.clock,), {})

    def random(self) -> DurableFuture[float]:
        """Return a random number from 0 to 1, recorded."""
        return self._step(_RANDOM, (self._execution.around.chance,), {})

    def uuid(self) -> DurableFuture[uuids.UUID]:
        """Return a random UUID, recorded."""
        return self._step(_UUID, (self._execution.around.chance,), {})

    def close_commitments(self, domain: bytes) -> DurableFuture[Closing]:
        """Close the commitments of this root's tree: a step that holds domain, count and Merkle root.

        Counted are the committed steps that were called before, in the order of their ids. Awaiting raises
        ApplicationError if there is none, or if one is still running.
        """
        call = calls.closing(self._branch.caller, self._branch.next_number())
        return self._execution.begin(self._branch, call, partial(performing.close_commitments, domain))


def _now(clock: Any) -> int:
    now_ms: int = clock.now_ms()
    return now_ms


def _random(chance: Random) -> float:
    return chance.random()


def _uuid(chance: Random) -> uuids.UUID:
    return uuids.UUID(int=chance.getrandbits(128), version=4)


_NOW = describe(_now, name="ctx.now", retry=Never(), executor="inline")
_RANDOM = describe(_random, name="ctx.random", retry=Never(), executor="inline")
_UUID = describe(_uuid, name="ctx.uuid", retry=Never(), executor="inline")
