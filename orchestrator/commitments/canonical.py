"""Canonical JSON (RFC 8785) of values, arguments and results, by their declared types.

Two different values of one declared type are never written alike, and the declaration alone decides the
form. The rules stand in docs/commitments.md; the encoders in `encoders`, the names of integers in `integers`.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Coroutine,
    Generator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass
from functools import lru_cache

from orchestrator.commitments import classes, encoders, jcs
from orchestrator.commitments.errors import CanonicalError
from orchestrator.commitments.scalars import Encoder

CONTEXT_CLASS = "Context"
_RESULT_IS_LAST = (Generator, Coroutine, Awaitable)
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)

# Any callable: what it takes and returns is read from its signature.
Function = Callable[..., object]


def canonical(value: object, declared: object = None) -> bytes:
    """Return the canonical JSON of `value` as the type `declared` says, UTF-8.

    Without a declaration the exact class of each value decides, and what could be ambiguous is tagged or
    refused. Raises CanonicalError with the path inside the value.
    """
    encode = encoders.encoder_at("value", declared)
    try:
        return encode(value, 0).encode()
    except CanonicalError as error:
        error.prefix("value")
        raise


def canonical_arguments(
    fn: Function, args: Sequence[object], kwargs: Mapping[str, object], *, takes_context: bool | None = None
) -> bytes:
    """Return the canonical JSON object of a call's arguments by parameter name, defaults applied.

    A context parameter is not part of `args` and not of the encoding. It is the first parameter if
    `takes_context` says so, or, when that is None, if its annotation is a class named `Context`.
    Raises CanonicalError if the arguments do not fit the signature, or have no canonical form.
    """
    return parameters_of(fn, takes_context).encode(args, kwargs)


def canonical_result(fn: Function, value: object) -> bytes:
    """Return the canonical JSON of a function's result, by its return annotation."""
    return result_of(fn).encode(value)


def check_function(fn: Function, *, takes_context: bool | None = None) -> None:
    """Raise CanonicalError if a declared type of `fn` has no canonical form, whatever the values.

    To be called when the function is registered: a fault found after a step has run costs the step.
    """
    hints, signature = _hints(fn), _signature(fn, takes_context)
    seen: set[object] = set()
    for name, parameter in signature.parameters.items():
        _check(name, _declared(parameter, hints), seen)
    _check("result", _result_type(hints), seen)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parameter:
    """A parameter of a function: its place in a call, and how its argument is written behind its key."""

    name: str
    key: str
    position: int
    encode: Encoder


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """What a function takes, in the order of the keys: read once, for that costs more than most values."""

    name: str
    signature: inspect.Signature
    positional: bool
    ordered: tuple[_Parameter, ...]

    def encode(self, args: Sequence[object], kwargs: Mapping[str, object]) -> bytes:
        """Return the canonical JSON of a call's arguments; raises as `canonical_arguments`."""
        if self.positional and not kwargs and len(args) == len(self.ordered):
            # Each argument has its parameter: what most calls are, and a quarter of their cost.
            values = args
        else:
            values = self._bound(args, kwargs)
        members = []
        for each in self.ordered:
            try:
                members.append(each.key + each.encode(values[each.position], 0))
            except CanonicalError as error:
                error.prefix(each.name)
                raise
        return f"{{{','.join(members)}}}".encode()

    def _bound(self, args: Sequence[object], kwargs: Mapping[str, object]) -> Sequence[object]:
        """Return the arguments in the order of the parameters, defaults applied."""
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise CanonicalError(self.name, f"the arguments do not fit the signature: {error}") from error
        bound.apply_defaults()
        return list(bound.arguments.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a function returns, read once."""

    encoder: Encoder

    def encode(self, value: object) -> bytes:
        """Return the canonical JSON of a result. Raises CanonicalError."""
        try:
            return self.encoder(value, 0).encode()
        except CanonicalError as error:
            error.prefix("result")
            raise


def parameters_of(fn: Function, takes_context: bool | None) -> Parameters:
    """Return what a function takes; `takes_context` as for `canonical_arguments`. Raises CanonicalError."""
    try:
        return _kept_parameters(fn, takes_context)
    except TypeError:
        # A callable object may be unhashable.
        return _read_parameters(fn, takes_context)


@lru_cache(maxsize=1024)
def _kept_parameters(fn: Function, takes_context: bool | None) -> Parameters:
    return _read_parameters(fn, takes_context)


def _read_parameters(fn: Function, takes_context: bool | None) -> Parameters:
    hints, signature = _hints(fn), _signature(fn, takes_context)
    given = [(name, position) for position, name in enumerate(signature.parameters)]
    return Parameters(
        name=_name(fn),
        signature=signature,
        positional=all(each.kind in _POSITIONAL for each in signature.parameters.values()),
        ordered=tuple(
            _Parameter(
                name=name,
                key=f"{jcs.string(name)}:",
                position=position,
                encode=encoders.encoder_at(name, _declared(signature.parameters[name], hints)),
            )
            for name, position in jcs.in_order(given)
        ),
    )


def result_of(fn: Function) -> Result:
    """Return what a function returns. Raises CanonicalError."""
    try:
        return _kept_result(fn)
    except TypeError:
        return _read_result(fn)


@lru_cache(maxsize=1024)
def _kept_result(fn: Function) -> Result:
    return _read_result(fn)


def _read_result(fn: Function) -> Result:
    return Result(encoder=encoders.encoder_at("result", _result_type(_hints(fn))))


def _signature(fn: Function, takes_context: bool | None) -> inspect.Signature:
    signature = inspect.signature(fn)
    parameters = list(signature.parameters.values())
    if takes_context is None:
        takes_context = bool(parameters) and _is_context(parameters[0].annotation)
    return signature.replace(parameters=parameters[1:]) if takes_context else signature


def _is_context(annotation: object) -> bool:
    """Tell by the name alone: the SDK stands above this package, which therefore cannot import the class."""
    name = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    return name.rpartition(".")[2] == CONTEXT_CLASS


def _hints(fn: Function) -> dict[str, object]:
    target = inspect.unwrap(fn)
    if not inspect.isroutine(target) and not inspect.isclass(target):
        target = type(target).__call__
    return classes.hints_of(target)


def _declared(parameter: inspect.Parameter, hints: Mapping[str, object]) -> object:
    declared = hints.get(parameter.name)
    if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
        return tuple if declared is None else tuple[declared, ...]  # type: ignore[valid-type]
    if parameter.kind is inspect.Parameter.VAR_KEYWORD:
        return dict if declared is None else dict[str, declared]  # type: ignore[valid-type]
    return declared


def _result_type(hints: Mapping[str, object]) -> object:
    declared = hints.get("return")
    if typing.get_origin(declared) is AsyncGenerator:
        raise CanonicalError("result", "a stream has no canonical form; return a list")
    return typing.get_args(declared)[-1] if typing.get_origin(declared) in _RESULT_IS_LAST else declared


def _check(path: str, declared: object, seen: set[object]) -> None:
    try:
        encoders.encoding_of(declared)
    except CanonicalError as error:
        error.prefix(path)
        raise
    for argument in typing.get_args(declared):
        _check_class(path, argument, seen)
    _check_class(path, declared, seen)


def _check_class(path: str, declared: object, seen: set[object]) -> None:
    for argument in typing.get_args(declared):
        _check_class(path, argument, seen)
    cls = typing.get_origin(declared) or declared
    if not isinstance(cls, type) or cls in seen or not (classes.is_record(cls) or typing.is_typeddict(cls)):
        return
    seen.add(cls)
    for field, inner in classes.fields_of(cls):
        _check(f"{path}.{field}", inner, seen)


def _name(fn: Function) -> str:
    return getattr(fn, "__qualname__", type(fn).__qualname__)
