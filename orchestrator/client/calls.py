"""Durable calls of a workflow: which promise each one is, before anything is written.

Ids and tags follow from the position of the call alone, so a replay asks for the same ones (W2). Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

import msgspec

from orchestrator.client.invocation import (
    PROMISE,
    SLEEP,
    call_label,
    invocation_value,
    step_label,
    step_value,
)
from orchestrator.client.options import NO_DEADLINE_MS, AttemptLimits, CallOptions
from orchestrator.client.registry import RegisteredFunction
from orchestrator.commitments.closing import Closing
from orchestrator.commitments.wrapper import BoundStep
from orchestrator.domain import tags as tag
from orchestrator.domain.errors import OrchestratorError
from orchestrator.domain.ids import ID_LENGTH_MAX, extends, fault_of_id
from orchestrator.domain.promise import Value
from orchestrator.domain.retry import RetryPolicy
from orchestrator.protocol.commands import PromiseCreate

DETACHED_HASH_BYTES = 8
CLOSING_NAME = "ctx.close_commitments"
CANCELLED_NAME = "ctx.cancelled"
AWAIT_HEADER = "await"
"""In the param of a cancellation: which await of its workflow raises it, counted from 1."""


class TooDeep(OrchestratorError):
    """A workflow stands so deep within others that its calls can have no ids."""

    retryable = False

    def __init__(self, promise_id: str) -> None:
        super().__init__(
            f"the calls of a workflow {len(re.split('[:.]', promise_id))} levels deep would have ids of more "
            f"than {ID_LENGTH_MAX} characters: use a loop with ctx.continue_as(...), or ctx.detached(...)"
        )
        self.promise_id = promise_id


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """The workflow that calls: its promise, its tree, the task that it runs under and its deadline.

    `children` is what stands before the numbers of its children, `trace` the tag that remote calls carry,
    `local` all tags of its steps, which share them.
    """

    id: str
    origin: str
    branch: str
    timeout_at: int
    group: str
    children: str
    local: dict[str, str]
    trace: str | None = None

    def child(self, number: int) -> str:
        """Return the id of a child. Raises TooDeep."""
        promise_id = f"{self.children}{number}"
        if len(promise_id) > ID_LENGTH_MAX:
            raise TooDeep(self.id)
        return promise_id


class CallSite(msgspec.Struct, frozen=True, kw_only=True):
    """Where a workflow makes a call: its `number` from 1, the options of this call, and the present."""

    caller: Caller
    number: int
    options: CallOptions
    now_ms: int


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One durable call, the `number`-th of its caller. `label` is what its record must have been written by.

    `outside` marks a promise with an origin of its own; `deadline` one that may end before its parent,
    `detached` one that its parent neither waits for nor ends.
    """

    id: str
    create: PromiseCreate
    label: str
    caller: Caller
    number: int
    declared: object = None
    outside: bool = False
    deadline: bool = False
    detached: bool = False

    @property
    def position(self) -> str:
        """The place in words, for a report."""
        return f"call {self.number} of {self.caller.id}"


class StepCall(Call, frozen=True, kw_only=True):
    """A call that runs in this process. `canonical` is the text of its arguments, if it commits to them."""

    function: RegisteredFunction
    canonical: bytes | None
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    retry: RetryPolicy
    limits: AttemptLimits

    @property
    def promise_id(self) -> str:
        """The promise of the call, for who looks at what runs."""
        return self.id

    @property
    def name(self) -> str:
        """The name of the function."""
        return self.function.name

    @property
    def version(self) -> int:
        """The version of the function."""
        return self.function.version

    def bound(self) -> BoundStep | None:
        """Return the commitment to the arguments as they were when the call was made, if there is one."""
        if self.function.committer is None or self.canonical is None:
            return None
        return self.function.committer.bind_text(self.canonical)


def step(
    caller: Caller,
    number: int,
    function: RegisteredFunction,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> StepCall:
    """Return the call of a function in this process."""
    promise_id = f"{caller.children}{number}"
    if len(promise_id) > ID_LENGTH_MAX:
        raise TooDeep(caller.id)
    canonical, param = None, function.param
    if function.committer is not None:
        canonical = function.committer.input(args, kwargs)
        param = step_value(function.name, function.version, canonical)
    return StepCall(
        id=promise_id,
        create=PromiseCreate(id=promise_id, timeout_at=caller.timeout_at, param=param, tags=caller.local),
        label=function.label,
        caller=caller,
        number=number,
        declared=function.returns,
        function=function,
        canonical=canonical,
        args=args,
        kwargs=kwargs,
        retry=function.retry,
        limits=function.limits,
    )


def step_with_options(
    site: CallSite, function: RegisteredFunction, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> StepCall:
    """Return the call of a function in this process. Raises ValueError for an id of its own."""
    options, caller = site.options, site.caller
    if options.id is not None or options.target is not None or options.delayed:
        raise ValueError(
            f"{function} runs as a step here: id, target and delay are options of rpc and detached"
        )
    call = step(caller, site.number, function, args, kwargs)
    create = msgspec.structs.replace(
        call.create,
        timeout_at=options.deadline_ms(site.now_ms, caller.timeout_at),
        tags={**options.tags, **caller.local} if options.tags else caller.local,
    )
    return msgspec.structs.replace(
        call,
        create=create,
        deadline=options.timeout_s is not None,
        retry=options.retry if options.retry is not None else function.retry,
        limits=options.limits(function.limits),
    )


def closing(caller: Caller, number: int) -> Call:
    """Return the step that holds the closing of the commitments."""
    return own_step(caller, number, CLOSING_NAME, Closing)


def own_step(caller: Caller, number: int, name: str, declared: object = None) -> Call:
    """Return a step that the SDK itself records under a name of its own."""
    promise_id = caller.child(number)
    return Call(
        id=promise_id,
        create=PromiseCreate(
            id=promise_id,
            timeout_at=caller.timeout_at,
            param=step_value(name, 1),
            tags=caller.local,
        ),
        label=step_label(name, 1),
        caller=caller,
        number=number,
        declared=declared,
    )


def cancellation(caller: Caller, number: int, awaits: int) -> Call:
    """Return the step that says at which await (counted from 1) its workflow was cancelled."""
    call = own_step(caller, number, CANCELLED_NAME)
    param = Value(headers={**(call.create.param.headers or {}), AWAIT_HEADER: str(awaits)})
    return msgspec.structs.replace(call, create=msgspec.structs.replace(call.create, param=param))


def remote(
    site: CallSite, target: RegisteredFunction | str, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Call:
    """Return the call of a function by another worker. Raises EncodingError for an argument."""
    name, version = _named(target, site.options)
    promise_id = site.options.id if site.options.id is not None else site.caller.child(site.number)
    tags, outside = _placed(site, promise_id, site.caller.id)
    return Call(
        id=promise_id,
        create=PromiseCreate(
            id=promise_id,
            timeout_at=site.options.deadline_ms(site.now_ms, site.caller.timeout_at),
            param=invocation_value(name, version, args, kwargs),
            tags=tags,
        ),
        label=call_label(name, version),
        caller=site.caller,
        number=site.number,
        declared=None if isinstance(target, str) else target.returns,
        outside=outside,
    )


def detached(
    site: CallSite, target: RegisteredFunction | str, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Call:
    """Return a call that outlives its caller: not bounded by its deadline, not waited for, not cancelled."""
    name, version = _named(target, site.options)
    promise_id = site.options.id if site.options.id is not None else _detached_id(site)
    tags, outside = _placed(site, promise_id, site.caller.origin)
    if not outside and site.options.id is not None:
        tags[tag.DETACHED] = tag.TRUE
    return Call(
        id=promise_id,
        create=PromiseCreate(
            id=promise_id,
            timeout_at=site.options.deadline_ms(site.now_ms),
            param=invocation_value(name, version, args, kwargs),
            tags=tags,
        ),
        label=call_label(name, version),
        caller=site.caller,
        number=site.number,
        declared=None if isinstance(target, str) else target.returns,
        outside=outside,
        detached=True,
    )


def sleep(caller: Caller, number: int, due_ms: int, options: CallOptions, *, targeted: bool = False) -> Call:
    """Return a promise that its own deadline resolves; `targeted` gives it a target, as some engines need.

    A worker that is told of such a promise leaves it alone.
    """
    promise_id = caller.child(number)
    tags = {**_tree(caller, promise_id, caller.id), **options.tags, tag.TIMER: tag.TRUE}
    if targeted:
        tags[tag.TARGET] = options.address(caller.group)
    timeout_at = min(due_ms, caller.timeout_at)
    return Call(
        id=promise_id,
        create=PromiseCreate(id=promise_id, timeout_at=timeout_at, tags=tags),
        label=SLEEP,
        caller=caller,
        number=number,
    )


def promise(caller: Caller, number: int | None, options: CallOptions, now_ms: int) -> Call:
    """Return a promise that somebody outside settles.

    With an id of its own it stands outside the tree and has no deadline but its own; otherwise it is a
    child, bounded by its parent's deadline, and `number` says which.
    """
    promise_id = options.id if options.id is not None else caller.child(number or 0)
    outside = options.id is not None
    tree = _root(promise_id) if outside else _tree(caller, promise_id, caller.id)
    bound_ms = NO_DEADLINE_MS if outside else caller.timeout_at
    return Call(
        id=promise_id,
        create=PromiseCreate(
            id=promise_id,
            timeout_at=options.deadline_ms(now_ms, bound_ms),
            tags={**options.tags, **tree, tag.EXTERNAL: tag.TRUE},
        ),
        label=PROMISE,
        caller=caller,
        number=number or 0,
        outside=outside,
    )


def root(
    promise_id: str, address: str, options: CallOptions, now_ms: int, **invocation: Any
) -> PromiseCreate:
    """Return the promise of a new invocation: `invocation` is name, version, args and kwargs."""
    dispatch = options.dispatch_tags(now_ms)
    return PromiseCreate(
        id=promise_id,
        timeout_at=options.deadline_ms(now_ms),
        param=invocation_value(**invocation),
        tags={**options.tags, **_root(promise_id), **dispatch, tag.TARGET: address},
    )


def _placed(site: CallSite, promise_id: str, parent: str) -> tuple[dict[str, str], bool]:
    """Return the tags of a remote call, and whether it stands outside the caller's tree."""
    fault = fault_of_id(promise_id)
    if fault is not None:
        raise ValueError(fault)
    outside = not extends(promise_id, parent)
    # Awaited from another origin, it has to say that this is meant.
    tree = (
        {**_root(promise_id), tag.EXTERNAL: tag.TRUE} if outside else _tree(site.caller, promise_id, parent)
    )
    traced = {tag.TRACE: site.caller.trace} if site.caller.trace is not None else {}
    return {
        **traced,
        **site.options.tags,
        **tree,
        **site.options.dispatch_tags(site.now_ms),
        tag.TARGET: site.options.address(site.caller.group),
    }, outside


def local_tags(promise_id: str, origin: str, branch: str) -> dict[str, str]:
    """Return the tags of the steps of a workflow; all share them, and none changes them."""
    return {
        tag.SCOPE: tag.SCOPE_LOCAL,
        tag.ORIGIN: origin,
        tag.BRANCH: branch,
        tag.PARENT: promise_id,
    }


def _tree(caller: Caller, promise_id: str, parent: str) -> dict[str, str]:
    return {
        tag.SCOPE: tag.SCOPE_GLOBAL,
        tag.ORIGIN: caller.origin,
        tag.BRANCH: promise_id,
        tag.PARENT: parent,
    }


def _root(promise_id: str) -> dict[str, str]:
    return {
        tag.SCOPE: tag.SCOPE_GLOBAL,
        tag.ORIGIN: promise_id,
        tag.BRANCH: promise_id,
        tag.PARENT: promise_id,
    }


def _named(target: RegisteredFunction | str, options: CallOptions) -> tuple[str, int]:
    # A name alone stands for version 1, whatever is registered here: the record must not depend on the place.
    if isinstance(target, str):
        return target, options.version if options.version is not None else 1
    return target.name, target.version


def _detached_id(site: CallSite) -> str:
    digest = blake2b(f"{site.caller.children}{site.number}".encode(), digest_size=DETACHED_HASH_BYTES)
    return f"{site.caller.origin}:d{digest.hexdigest()}"
