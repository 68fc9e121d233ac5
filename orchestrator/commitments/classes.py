"""Classes whose instances are values: what their fields are, and under which name they are tagged.

Known are dataclasses, msgspec Structs, named tuples and, by their shape alone, pydantic models.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Hashable, Mapping
from functools import lru_cache

import msgspec

from orchestrator.commitments.errors import CanonicalError


def is_record(cls: type) -> bool:
    """Tell whether instances of `cls` are values made of declared fields."""
    return (
        dataclasses.is_dataclass(cls)
        or issubclass(cls, msgspec.Struct)
        or is_pydantic(cls)
        or (issubclass(cls, tuple) and hasattr(cls, "_fields"))
    )


def is_pydantic(cls: type) -> bool:
    """Tell whether `cls` has the shape of a pydantic model; pydantic itself is never imported."""
    return hasattr(cls, "model_fields") and hasattr(cls, "model_dump")


def fields_of(cls: type) -> tuple[tuple[str, object], ...]:
    """Return (field, declared type) of a record or TypedDict. Raises CanonicalError if unresolvable."""
    return _fields_of(typing.cast("Hashable", cls))


@lru_cache(maxsize=4096)
def _fields_of(key: Hashable) -> tuple[tuple[str, object], ...]:
    cls = typing.cast("type", key)
    hints = hints_of(cls)
    names = tuple(hints) if typing.is_typeddict(cls) else _field_names(cls)
    return tuple((name, hints.get(name)) for name in names)


def _field_names(cls: type) -> tuple[str, ...]:
    if dataclasses.is_dataclass(cls):
        return tuple(field.name for field in dataclasses.fields(cls))
    if issubclass(cls, msgspec.Struct):
        return cls.__struct_fields__
    names: object = getattr(cls, "model_fields", None) or getattr(cls, "_fields", ())
    return tuple(typing.cast("Mapping[str, object]", names))


def hints_of(owner: object) -> dict[str, object]:
    """Return the resolved annotations of a function or class, declared integers included."""
    try:
        return typing.get_type_hints(owner, include_extras=True)
    except (NameError, TypeError, AttributeError, SyntaxError) as error:
        name = getattr(owner, "__qualname__", repr(owner))
        raise CanonicalError(
            name, f"an annotation cannot be resolved ({error}); import its names at run time, at module level"
        ) from error


def declared_name(cls: type) -> str:
    """Return the tag of a class at a place that declares it: the name, without its module."""
    return cls.__qualname__


def absolute_name(cls: type) -> str:
    """Return the tag of a class at a place that declares nothing: with its module, else two could be alike.

    Raises CanonicalError for a class of `__main__`: that name depends on how the program was started.
    """
    if cls.__module__ == "__main__":
        raise CanonicalError(
            "",
            f"{cls.__qualname__} lives in __main__, whose name depends on how one starts; annotate it",
        )
    return f"{cls.__module__}.{cls.__qualname__}"


def refuse_extras(value: object) -> None:
    """Raise CanonicalError if a pydantic model carries fields beyond its declared ones."""
    extras = getattr(value, "model_extra", None)
    if extras:
        raise CanonicalError("", f"undeclared fields {sorted(map(str, extras))} have no declared type")
