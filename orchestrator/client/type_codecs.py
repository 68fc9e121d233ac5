"""Types that know no stored form by themselves, with the two functions that give them one.

What is registered counts for the whole process, as classes do: a value must mean the same wherever it is
read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from orchestrator.domain.errors import OrchestratorError

TAG = "$as"


class TypeConflict(OrchestratorError):
    """A type, or a name, is given two stored forms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeCodec:
    """How the instances of exactly `cls` are stored, under `name`.

    `to_stored` gives a value that has a stored form (a dict, text, bytes, a dataclass …), `from_stored`
    makes the instance from it again.
    """

    cls: type
    name: str
    to_stored: Callable[[Any], object]
    from_stored: Callable[[Any], object]


by_class: dict[type, TypeCodec] = {}
"""The types that have a stored form of their own."""
_by_name: dict[str, TypeCodec] = {}


def add_type(codec: TypeCodec) -> None:
    """Give a type a stored form. Raises TypeConflict if it, or the name, has another one."""
    for known in (by_class.get(codec.cls), _by_name.get(codec.name)):
        if known is not None and known != codec:
            raise TypeConflict(
                f"{codec.cls.__qualname__} as {codec.name!r}: {known.cls.__qualname__} is stored as "
                f"{known.name!r} already; give another name, or register each type once"
            )
    by_class[codec.cls] = codec
    _by_name[codec.name] = codec


def codec_of(cls: type | None) -> TypeCodec | None:
    """Return the stored form of a type, None if it has none of its own."""
    return by_class.get(cls) if cls is not None else None


def codec_named(name: object) -> TypeCodec | None:
    """Return the stored form of this name, None if it is not known here."""
    return _by_name.get(name) if isinstance(name, str) else None
