"""The functions of this process: by name and version, what they take, how they run.

A workflow is a function whose first parameter is annotated `Context`; everything else is a leaf. A leaf
whose first parameter is annotated `Info` is told about its attempt.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from orchestrator.client import codec, shapes
from orchestrator.client.invocation import step_label, step_value
from orchestrator.client.options import UNLIMITED, AttemptLimits
from orchestrator.commitments.wrapper import Committer, commit_step
from orchestrator.domain.errors import NotRegistered
from orchestrator.domain.promise import Value
from orchestrator.domain.retry import Exponential, RetryPolicy

LATEST = 0
VERSION_DEFAULT = 1
_RESULT_IS_LAST = (Generator, Coroutine, Awaitable)
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)

Function = Callable[..., Any]
Executor = Literal["thread", "inline", "process"]


class FunctionKind(StrEnum):
    """Whether the driver steps a function, or asyncio runs it."""

    WORKFLOW = "workflow"
    LEAF = "leaf"


class ContextMark:
    """The base of the class that marks a workflow's first parameter."""

    __slots__ = ()


class InfoMark:
    """The base of the class that a leaf may take as its first parameter."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RegisteredFunction:
    """A function with everything that an execution needs to know of it.

    `hints` are the declared types of its parameters, `returns` of its result (None for undeclared);
    `inserted` tells whether Context or Info stand before the caller's arguments. The same for each of its
    steps are `label`, which they are recorded by, `param`, where no arguments are committed to, and `prompt`:
    whether such a step ends before it gives the loop back, unless it returns something to be awaited.
    """

    name: str
    version: int
    fn: Function
    kind: FunctionKind
    is_async: bool
    is_generator: bool
    inserted: bool
    signature: inspect.Signature
    hints: Mapping[str, object]
    returns: object
    retry: RetryPolicy
    executor: Executor
    committer: Committer | None
    limits: AttemptLimits = UNLIMITED
    title: str = field(init=False)
    label: str = field(init=False)
    param: Value = field(init=False)
    prompt: bool = field(init=False)

    def __post_init__(self) -> None:
        """Work out once what each step would work out."""
        plain = self.kind is FunctionKind.LEAF and not (self.is_async or self.inserted)
        for name, value in (
            ("title", f"{self.name} version {self.version}"),
            ("label", step_label(self.name, self.version)),
            ("param", step_value(self.name, self.version)),
            ("prompt", plain and self.executor == "inline"),
        ):
            object.__setattr__(self, name, value)

    def __str__(self) -> str:
        """Write name and version, as errors and records show them."""
        return self.title

    def decode_arguments(
        self, args: list[object], kwargs: Mapping[str, object]
    ) -> tuple[list[Any], dict[str, Any]]:
        """Return the stored arguments as the parameters declare them.

        Raises TypeError if they do not fit the signature, DecodingError if one is not what is declared.
        """
        if not args and not kwargs and not self.signature.parameters:
            return [], {}
        try:
            self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"the arguments of {self} do not fit: {error}") from None
        parameters = list(self.signature.parameters.values())
        positional = [parameter.name for parameter in parameters if parameter.kind in _POSITIONAL]
        rest = next((p.name for p in parameters if p.kind is inspect.Parameter.VAR_POSITIONAL), "")
        keyed = next((p.name for p in parameters if p.kind is inspect.Parameter.VAR_KEYWORD), "")
        names = [*positional, *[rest] * (len(args) - len(positional))]
        return (
            [self._argument(name, value) for name, value in zip(names, args, strict=False)],
            {
                name: self._argument(
                    name, value, declared=None if name in self.hints else self.hints.get(keyed)
                )
                for name, value in kwargs.items()
            },
        )

    def _argument(self, name: str, value: object, declared: object = None) -> object:
        declared = declared if declared is not None else self.hints.get(name)
        return codec.decode(value, declared, f"argument {name!r} of {self}")


def describe(
    fn: Function,
    *,
    name: str | None = None,
    version: int = VERSION_DEFAULT,
    retry: RetryPolicy | None = None,
    executor: Executor = "thread",
    commit: bool = False,
    limits: AttemptLimits = UNLIMITED,
) -> RegisteredFunction:
    """Return a function as executions see it.

    Raises TypeError for what is no function or cannot be stepped, CanonicalError for one that cannot commit.
    """
    if not callable(fn):
        raise TypeError(f"{fn!r} is not callable: register a function")
    hints = shapes.function_hints(inspect.unwrap(fn))
    signature = inspect.signature(fn)
    mark = _first_mark(signature, hints)
    is_generator = inspect.isgeneratorfunction(fn)
    registered_name = name if name is not None else getattr(fn, "__name__", type(fn).__name__)
    if inspect.isasyncgenfunction(fn) or (is_generator and mark is not ContextMark):
        raise TypeError(
            f"{registered_name} is a generator: only a workflow (first parameter ctx: Context) may yield"
        )
    is_async = inspect.iscoroutinefunction(fn)
    if mark is ContextMark and not (is_async or is_generator):
        raise TypeError(f"{registered_name} takes a Context and must be `async def` or a generator")
    if executor == "process":
        _check_process(fn, registered_name, plain=not is_async and mark is not ContextMark)
    if version < VERSION_DEFAULT:
        raise ValueError(f"version {version} of {registered_name}: versions count from {VERSION_DEFAULT}")
    if mark is not None:
        signature = signature.replace(parameters=list(signature.parameters.values())[1:])
    return RegisteredFunction(
        name=registered_name,
        version=version,
        fn=fn,
        kind=FunctionKind.WORKFLOW if mark is ContextMark else FunctionKind.LEAF,
        is_async=is_async,
        is_generator=is_generator,
        inserted=mark is not None,
        signature=signature,
        hints=hints,
        returns=_result_type(hints.get("return"), wrapped=is_generator),
        retry=retry if retry is not None else Exponential(),
        executor=executor,
        limits=limits,
        committer=(
            commit_step(registered_name, version, fn, takes_context=mark is not None) if commit else None
        ),
    )


def _check_process(fn: Function, name: str, *, plain: bool) -> None:
    if not plain:
        raise TypeError(f"{name} is async or a workflow: only a plain `def` runs in a process of its own")
    if "<" in getattr(fn, "__qualname__", "<none>"):
        raise TypeError(
            f"{name} cannot run in a process of its own: define it at the top level of a module, where the "
            "process finds it by name"
        )


def _first_mark(signature: inspect.Signature, hints: Mapping[str, object]) -> type | None:
    parameters = list(signature.parameters.values())
    if not parameters or parameters[0].kind not in _POSITIONAL:
        return None
    hint = hints.get(parameters[0].name)
    if isinstance(hint, type):
        return next((mark for mark in (ContextMark, InfoMark) if issubclass(hint, mark)), None)
    # Imported for type checkers only, the class cannot be resolved: its name has to do.
    text = parameters[0].annotation
    named = text.rpartition(".")[2] if isinstance(text, str) else ""
    return {"Context": ContextMark, "Info": InfoMark}.get(named)


def _result_type(declared: object, *, wrapped: bool) -> object:
    origin = typing.get_origin(declared)
    if origin is AsyncGenerator:
        return None
    if wrapped or origin in _RESULT_IS_LAST:
        arguments = typing.get_args(declared)
        return arguments[-1] if arguments and origin in _RESULT_IS_LAST else None
    return declared


class Registry:
    """What is registered here, found by name and version or by the function itself."""

    def __init__(self) -> None:
        self._named: dict[str, dict[int, RegisteredFunction]] = {}
        self._functions: dict[Function, RegisteredFunction] = {}
        self._unregistered: dict[Function, RegisteredFunction] = {}

    def add(self, function: RegisteredFunction) -> None:
        """Register a function. Raises ValueError if another one has its name and version."""
        versions = self._named.setdefault(function.name, {})
        known = versions.get(function.version)
        if known is not None and known.fn is not function.fn:
            raise ValueError(f"{function} is registered already; give another name or version")
        versions[function.version] = function
        self._functions[function.fn] = function

    def named(self, name: str, version: int = LATEST) -> RegisteredFunction:
        """Return the function of a name, its latest version for 0. Raises NotRegistered."""
        versions = self._named.get(name, {})
        found = versions.get(version if version != LATEST else max(versions, default=LATEST))
        if found is None:
            raise NotRegistered(name, version, self.names(), tuple(sorted(self._named.get(name, ()))))
        return found

    def of(self, target: Function | str, version: int | None = None) -> RegisteredFunction:
        """Return a registered function by itself or by name. Raises NotRegistered."""
        if isinstance(target, str):
            return self.named(target, version if version is not None else LATEST)
        found = self._functions.get(target)
        if found is None:
            raise NotRegistered(
                getattr(target, "__name__", repr(target)), version or VERSION_DEFAULT, self.names()
            )
        return found if version is None else self.named(found.name, version)

    def of_any(self, target: Function | str, version: int | None = None) -> RegisteredFunction:
        """Return a function to be run as a step of a workflow here: it need not be registered."""
        if isinstance(target, str):
            return self.of(target, version)
        found = self._functions.get(target)
        if found is not None:
            return found if version is None else self.named(found.name, version)
        found = self._unregistered.get(target)
        if found is None:
            found = describe(target)
            self._unregistered[target] = found
        return found

    def names(self) -> tuple[str, ...]:
        """Return the registered names, sorted."""
        return tuple(sorted(self._named))
