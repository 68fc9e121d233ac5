"""Encoders by declared type: each type is turned once into a function from its values to canonical text.

A position is closed when one exact type is declared for it, and open in a union or where nothing is declared.
In an open position everything that could be mistaken for something else is tagged; a union whose members
cannot be told apart is refused. Must not import protocol or anything that does I/O.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Hashable, Iterable, Mapping, MutableMapping, MutableSequence, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from itertools import repeat
from types import NoneType, UnionType

from orchestrator.commitments import classes, jcs, scalars
from orchestrator.commitments.errors import CanonicalError
from orchestrator.commitments.integers import IntegerType
from orchestrator.commitments.scalars import Encoder, refuse, tagged

DEPTH_MAX = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """How a declared type is written, and which runtime classes it takes (None: any)."""

    encode: Encoder
    takes: frozenset[type] | None


def encoding_of(declared: object, *, open_position: bool = False) -> Encoding:
    """Return the encoding of a declared type; None stands for no declaration at all.

    Raises CanonicalError if values of the type have no canonical form.
    """
    try:
        return _cached(declared, open_position)
    except TypeError:
        # Metadata of Annotated may be unhashable; such a type is built anew each time.
        return _build(declared, open_position)


def encoder_at(place: str, declared: object) -> Encoder:
    """Return the encoder of a declared type. Raises CanonicalError that names `place`."""
    try:
        return encoding_of(declared).encode
    except CanonicalError as error:
        error.prefix(place)
        raise


@lru_cache(maxsize=4096)
def _cached(declared: object, open_position: bool) -> Encoding:
    return _build(declared, open_position)


def _build(declared: object, open_position: bool) -> Encoding:
    declared, integer = _unwrap(declared)
    if integer is not None:
        return _one(int, scalars.integer_encoder(integer, open_position=open_position))
    if (
        declared is None
        or declared is typing.Any
        or declared is object
        or isinstance(declared, typing.TypeVar)
    ):
        return Encoding(encode=encode_undeclared, takes=None)
    origin = typing.get_origin(declared) or declared
    if origin is typing.Union or origin is UnionType:
        return _union(declared, open_position)
    if origin is typing.Literal:
        return _literal(typing.get_args(declared))
    if typing.is_typeddict(origin):
        return _one(dict, _typed_dict(typing.cast("type", origin)))
    if not isinstance(origin, type):
        raise CanonicalError("", f"the declared type {declared!r} has no canonical form")
    return _of_class(origin, typing.get_args(declared), open_position)


def _unwrap(declared: object) -> tuple[object, IntegerType | None]:
    """Strip NewType, type aliases and Annotated; return a declared integer's type as found on the way."""
    while True:
        if typing.get_origin(declared) is typing.Annotated:
            declared, *metadata = typing.get_args(declared)
            for mark in metadata:
                if isinstance(mark, IntegerType):
                    return declared, mark
        elif typing.get_origin(declared) in (typing.Required, typing.NotRequired, typing.Final):
            (declared,) = typing.get_args(declared)
        elif isinstance(declared, typing.NewType):
            declared = declared.__supertype__
        elif type(declared).__name__ == "TypeAliasType":
            declared = getattr(declared, "__value__")  # noqa: B009 - the class is new in Python 3.12
        else:
            return declared, None


def _of_class(cls: type, arguments: tuple[object, ...], open_position: bool) -> Encoding:
    if cls in scalars.SCALARS:
        return _one(cls, scalars.SCALARS[cls])
    container = _container(cls, arguments, open_position)
    if container is not None:
        return container
    if issubclass(cls, Enum):
        return _one(cls, _enum(cls, classes.declared_name))
    if classes.is_record(cls):
        return _one(cls, _record(cls, classes.declared_name))
    hint = "; declare Decimal or an integer" if cls is float else ""
    raise CanonicalError("", f"the declared type {cls.__qualname__} has no canonical form{hint}")


def _container(cls: type, arguments: tuple[object, ...], open_position: bool) -> Encoding | None:
    if cls in (list, Sequence, MutableSequence):
        # A declared Sequence does not tell lists from tuples, so they are one value of it.
        takes = (list,) if cls is list else (list, tuple)
        return Encoding(encode=_array(cls, takes, _element(arguments)), takes=frozenset(takes))
    if cls is tuple:
        return _one(tuple, _tuple(arguments, open_position))
    if cls in (set, frozenset, AbstractSet):
        kinds = (cls,) if cls is not AbstractSet else (set, frozenset)
        return Encoding(encode=_set(cls, kinds, _element(arguments)), takes=frozenset(kinds))
    if cls in (dict, Mapping, MutableMapping):
        return _one(dict, _dictionary(arguments))
    return None


def _one(cls: type, encode: Encoder) -> Encoding:
    return Encoding(encode=encode, takes=frozenset((cls,)))


def _element(arguments: tuple[object, ...]) -> Encoder:
    return encoding_of(arguments[0] if arguments else None).encode


def _union(declared: object, open_position: bool) -> Encoding:
    members = typing.get_args(declared)
    others = [member for member in members if member is not NoneType]
    open_position = open_position or len(others) > 1
    choices: dict[type, Encoder] = {}
    for member in members:
        encoding = encoding_of(member, open_position=open_position)
        if encoding.takes is None:
            return encoding
        for cls in encoding.takes:
            if any(cls.__qualname__ == other.__qualname__ for other in choices):
                raise CanonicalError(
                    "", f"{declared} has two members for {cls.__qualname__}; wrap them in classes"
                )
            choices[cls] = encoding.encode

    def encode(value: object, depth: int) -> str:
        choice = choices.get(type(value))
        if choice is None:
            raise refuse(str(declared), value)
        return choice(value, depth)

    return Encoding(encode=encode, takes=frozenset(choices))


def _literal(allowed: tuple[object, ...]) -> Encoding:
    def encode(value: object, depth: int) -> str:
        if not any(type(value) is type(one) and value == one for one in allowed):
            raise refuse(f"one of {allowed}", value)
        return encoding_of(type(value)).encode(value, depth)

    return Encoding(encode=encode, takes=frozenset(type(one) for one in allowed))


def _too_deep() -> CanonicalError:
    return CanonicalError("", f"the value is nested deeper than {DEPTH_MAX} levels, or contains itself")


def _elements(values: Iterable[object], encoders: Iterable[Encoder], depth: int) -> list[str]:
    if depth >= DEPTH_MAX:
        raise _too_deep()
    depth += 1
    encoded: list[str] = []
    try:
        for value, encode in zip(values, encoders, strict=False):
            encoded.append(encode(value, depth))
    except CanonicalError as error:
        error.prefix(f"[{len(encoded)}]")
        raise
    return encoded


def _array(cls: type, takes: tuple[type, ...], element: Encoder) -> Encoder:
    def encode(value: object, depth: int) -> str:
        if type(value) not in takes:
            raise refuse(cls.__name__, value)
        return jcs.array(_elements(typing.cast("Sequence[object]", value), repeat(element), depth))

    return encode


def _tuple(arguments: tuple[object, ...], open_position: bool) -> Encoder:
    variadic = not arguments or (len(arguments) == 2 and arguments[1] is Ellipsis)
    element = _element(arguments) if variadic else encode_undeclared
    fixed = [] if variadic else [encoding_of(argument).encode for argument in arguments]

    def encode(value: object, depth: int) -> str:
        if type(value) is not tuple:
            raise refuse("tuple", value)
        if not variadic and len(value) != len(fixed):
            raise CanonicalError("", f"declared a tuple of {len(fixed)}, got {len(value)} elements")
        text = jcs.array(_elements(value, repeat(element) if variadic else fixed, depth))
        return tagged("tuple", text) if open_position else text

    return encode


def _set(cls: type, takes: tuple[type, ...], element: Encoder) -> Encoder:
    def encode(value: object, depth: int) -> str:
        if type(value) not in takes:
            raise refuse(cls.__name__, value)
        elements = _elements(typing.cast("AbstractSet[object]", value), repeat(element), depth)
        return tagged("set", jcs.array(sorted(elements)))

    return encode


def _members(values: Mapping[object, object], encoders: Iterable[Encoder], depth: int) -> str:
    """Return a JSON object; one with a key that begins with `$` is wrapped, lest it pass for a tag."""
    if depth >= DEPTH_MAX:
        raise _too_deep()
    depth += 1
    members: list[tuple[str, str]] = []
    wrapped = False
    key: object = None
    try:
        for (key, value), encode in zip(values.items(), encoders, strict=False):
            if type(key) is not str:
                raise CanonicalError("", "keys must be strings; use a list of pairs or convert the keys")
            wrapped = wrapped or key[:1] == "$"
            members.append((key, encode(value, depth)))
    except CanonicalError as error:
        error.prefix(f"[{key!r}]")
        raise
    text = jcs.json_object(members)
    return tagged("map", text) if wrapped else text


def _dictionary(arguments: tuple[object, ...]) -> Encoder:
    if arguments and _unwrap(arguments[0]) != (str, None):
        raise CanonicalError("", f"keys must be strings, not {arguments[0]!r}; use a list of pairs")
    element = _element(arguments[1:])

    def encode(value: object, depth: int) -> str:
        if type(value) is not dict:
            raise refuse("dict", value)
        return _members(value, repeat(element), depth)

    return encode


def _typed_dict(cls: type) -> Encoder:
    def encode(value: object, depth: int) -> str:
        if type(value) is not dict:
            raise refuse(cls.__qualname__, value)
        hints = dict(classes.fields_of(cls))
        if not _required_keys(cls, hints) <= value.keys() <= hints.keys():
            raise CanonicalError("", f"keys {sorted(map(str, value))} are not those of {cls.__qualname__}")
        return _members(value, [encoding_of(hints[key]).encode for key in value], depth)

    return encode


def _required_keys(cls: type, hints: Mapping[str, object]) -> set[str]:
    """Return the keys a TypedDict must have; its own attribute misreads annotations that are still text."""
    listed: frozenset[str] = getattr(cls, "__required_keys__", frozenset())
    marks = {key: typing.get_origin(declared) for key, declared in hints.items()}
    return {
        key
        for key, mark in marks.items()
        if mark is typing.Required or (key in listed and mark is not typing.NotRequired)
    }


def _record(cls: type, name: Callable[[type], str]) -> Encoder:
    head = f'{{"$class":{jcs.string(name(cls))},"fields":'
    extensible = classes.is_pydantic(cls)

    def encode(value: object, depth: int) -> str:
        if type(value) is not cls:
            raise refuse(cls.__qualname__, value)
        if extensible:
            classes.refuse_extras(value)
        if depth >= DEPTH_MAX:
            raise _too_deep()
        depth += 1
        fields = []
        for field, key, encode_field in _fields_in_order(typing.cast("Hashable", cls)):
            try:
                fields.append(key + encode_field(getattr(value, field), depth))
            except AttributeError as error:
                raise CanonicalError(f".{field}", "the field has no value") from error
            except CanonicalError as error:
                error.prefix(f".{field}")
                raise
        return f"{head}{{{','.join(fields)}}}}}"

    return encode


@lru_cache(maxsize=4096)
def _fields_in_order(key: Hashable) -> tuple[tuple[str, str, Encoder], ...]:
    """Return each field of a record, its key as text and its encoder, as they stand in the object.

    Asked for with a first value only: a class may have fields of its own class.
    """
    return tuple(
        (field, f"{jcs.string(field)}:", encoder_at(f".{field}", declared))
        for field, declared in jcs.in_order(classes.fields_of(typing.cast("type", key)))
    )


def _enum(cls: type[Enum], name: Callable[[type], str]) -> Encoder:
    def encode(value: object, _depth: int) -> str:
        if type(value) is not cls:
            raise refuse(cls.__qualname__, value)
        if value.name not in cls.__members__:
            raise CanonicalError("", f"{value!r} is a combination of flags, which has no name; use a set")
        return f'{{"$enum":{jcs.string(name(cls))},"name":{jcs.string(value.name)}}}'

    return encode


def encode_undeclared(value: object, depth: int) -> str:
    """Return the canonical text of a value at a place that declares nothing, by its exact class."""
    cls = type(value)
    plain = scalars.SCALARS.get(cls)
    if plain is not None:
        return plain(value, depth)
    if cls in _CONTAINERS:
        return encoding_of(cls, open_position=True).encode(value, depth)
    if isinstance(value, Enum):
        return _enum(type(value), classes.absolute_name)(value, depth)
    if classes.is_record(cls):
        return _record(cls, classes.absolute_name)(value, depth)
    if cls is float:
        raise refuse("", value)
    raise CanonicalError(
        "", f"{cls.__qualname__} has no canonical form; convert it to a dataclass, dict or list"
    )


_CONTAINERS = frozenset((list, tuple, dict, set, frozenset))
