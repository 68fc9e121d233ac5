"""Declared types as the decoder needs them: which class stands here, and what its elements are.

An annotation that cannot be resolved declares nothing; the tags in the stored text then say what a value is.
"""

from __future__ import annotations

import dataclasses
import sys
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

import msgspec

from orchestrator.client.type_codecs import codec_of
from orchestrator.commitments.classes import is_record

_PLAIN = (str, int, bool, list, dict, types.NoneType, typing.Union, types.UnionType, typing.Any, None)
_ARRAYS: dict[object, type] = {Sequence: list, list: list, set: set, AbstractSet: set, frozenset: frozenset}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """One place in a value: its class if exactly one is declared, the declared elements, the candidates.

    `variadic` repeats the first element; the second element of a mapping is its value's.
    """

    cls: type | None = None
    elements: tuple[object, ...] = ()
    variadic: bool = False
    candidates: tuple[type, ...] = ()

    def element(self, index: int) -> Shape:
        """Return the shape of the `index`-th element."""
        position = 0 if self.variadic else index
        return shape_of(self.elements[position]) if position < len(self.elements) else ANY


ANY = Shape()
_known: dict[str, type] = {}


def shape_of(declared: object) -> Shape:
    """Return the shape of an annotation."""
    if declared is None or declared is typing.Any:
        return ANY
    try:
        return _shape_of(declared)
    except TypeError:  # an annotation with an unhashable argument
        return _shape_of.__wrapped__(declared)


@lru_cache(maxsize=4096)
def _shape_of(declared: object) -> Shape:
    declared = _unwrapped(declared)
    origin, arguments = typing.get_origin(declared), typing.get_args(declared)
    if origin in (typing.Union, types.UnionType):
        return _union([argument for argument in arguments if argument is not type(None)])
    cls = origin if origin is not None else declared
    if cls in _ARRAYS:
        return Shape(cls=_ARRAYS[cls], elements=arguments, variadic=True)
    if cls is tuple:
        variadic = len(arguments) == 2 and arguments[1] is Ellipsis
        return Shape(cls=tuple, elements=arguments, variadic=variadic)
    if cls in (dict, Mapping) or (isinstance(cls, type) and issubclass(cls, Mapping)):
        return Shape(cls=dict, elements=arguments)
    return _of_class(cls)


def is_plain(declared: object) -> bool:
    """Tell whether a value of this type is its own JSON tree, unless something in it is tagged.

    So are text, truth, bare whole numbers, what declares nothing, and lists and objects of those.
    """
    try:
        return _is_plain(declared)
    except TypeError:  # an annotation with an unhashable argument
        return False


@lru_cache(maxsize=4096)
def _is_plain(declared: object) -> bool:
    origin: typing.Any = typing.get_origin(declared) or declared
    if origin not in _PLAIN or codec_of(origin) is not None:
        return False
    return all(is_plain(argument) for argument in typing.get_args(declared))


def _of_class(cls: object) -> Shape:
    if not isinstance(cls, type) or cls is object:
        return ANY
    if is_record(cls) or issubclass(cls, Enum):
        remember(cls)
        return Shape(cls=cls, candidates=(cls,))
    return Shape(cls=cls)


def _union(members: list[object]) -> Shape:
    if len(members) == 1:
        return shape_of(members[0])
    return Shape(candidates=tuple(cls for member in members for cls in shape_of(member).candidates))


def _unwrapped(declared: object) -> object:
    while True:
        if typing.get_origin(declared) in (
            typing.Annotated,
            typing.Final,
            typing.Required,
            typing.NotRequired,
        ):
            declared = typing.get_args(declared)[0]
        elif isinstance(declared, typing.NewType):
            declared = declared.__supertype__
        elif type(declared).__name__ == "TypeAliasType":
            declared = getattr(declared, "__value__")  # noqa: B009 - the class is new in Python 3.12
        else:
            return declared


# -- classes by name


def class_name(cls: type) -> str:
    """Return the name under which a class is stored."""
    return f"{cls.__module__}.{cls.__qualname__}"


def remember(cls: type) -> None:
    """Let `find_class` know a class that is declared or was stored by this process."""
    _known[class_name(cls)] = cls


def find_class(name: str, shape: Shape) -> type | None:
    """Return the class of a stored name: what is declared here, what was seen, or what a module offers.

    Only records and enumerations are ever returned, and nothing is imported: a stored text must not be
    able to run code.
    """
    for cls in shape.candidates:
        if name == cls.__qualname__ or name.endswith("." + cls.__qualname__):
            return cls
    return _known.get(name) or _in_modules(name)


def _in_modules(name: str) -> type | None:
    module_name, _, qualified = name.rpartition(".")
    while module_name:
        module = sys.modules.get(module_name)
        if module is not None:
            return _attribute(module, qualified)
        module_name, _, outer = module_name.rpartition(".")
        qualified = f"{outer}.{qualified}"
    return None


def _attribute(owner: object, qualified: str) -> type | None:
    for part in qualified.split("."):
        owner = vars(owner).get(part) if hasattr(owner, "__dict__") else None
    if isinstance(owner, type) and (is_record(owner) or issubclass(owner, Enum)):
        return owner
    return None


# -- fields


@lru_cache(maxsize=4096)
def field_names(cls: type) -> tuple[str, ...]:
    """Return the names of a record's fields, in their order."""
    if dataclasses.is_dataclass(cls):
        return tuple(field.name for field in dataclasses.fields(cls))
    if issubclass(cls, msgspec.Struct):
        return cls.__struct_fields__
    named: object = getattr(cls, "model_fields", None) or getattr(cls, "_fields", ())
    return tuple(typing.cast("Sequence[str]", named))


@lru_cache(maxsize=4096)
def field_hints(cls: type) -> Mapping[str, object]:
    """Return the declared types of a record's fields; those that cannot be resolved are left out."""
    return resolved_hints(cls, vars(sys.modules.get(cls.__module__, types.ModuleType(""))))


@lru_cache(maxsize=4096)
def fields_outside_init(cls: type) -> tuple[str, ...]:
    """Return the fields of a dataclass that its constructor does not take."""
    if not dataclasses.is_dataclass(cls):
        return ()
    return tuple(field.name for field in dataclasses.fields(cls) if not field.init)


def resolved_hints(owner: object, names: Mapping[str, object]) -> dict[str, object]:
    """Return the annotations of a class or function, resolved among `names` where they are text."""
    try:
        return typing.get_type_hints(owner, dict(names), include_extras=True)
    except (NameError, TypeError, AttributeError, SyntaxError):
        annotations: dict[str, object] = dict(getattr(owner, "__annotations__", {}))
        return {
            name: hint for name, text in annotations.items() if (hint := _resolve(text, names)) is not None
        }


def _resolve(annotation: object, names: Mapping[str, object]) -> object | None:
    if not isinstance(annotation, str):
        return annotation

    def holder() -> None: ...

    holder.__annotations__ = {"hint": annotation}
    try:
        return typing.cast("object", typing.get_type_hints(holder, dict(names), include_extras=True)["hint"])
    except (NameError, TypeError, AttributeError, SyntaxError):
        return None


def function_hints(fn: Callable[..., object]) -> dict[str, object]:
    """Return the resolved annotations of a function, with the names of its closure."""
    names = dict(getattr(fn, "__globals__", {}))
    cells = getattr(fn, "__closure__", None) or ()
    code = getattr(fn, "__code__", None)
    for name, cell in zip(code.co_freevars if code else (), cells, strict=False):
        try:
            names[name] = cell.cell_contents
        except ValueError:  # the enclosing function has not assigned it yet
            continue
    return resolved_hints(fn, names)
