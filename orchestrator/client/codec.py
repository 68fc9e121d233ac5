"""Stored values: Python values as typed JSON text, and back by the declared type. No pickle, ever.

What JSON knows stays what it is. Everything else is an object with a key that begins with `$`, in the same
spelling as canonical values have (orchestrator.commitments), so that one decoder reads both: `{"$decimal":
"0.5"}`, `{"$class": "module.Vote", "fields": {…}}`. Encoding looks at the value alone, so every process
writes the same. Decoding takes the declared type as well: plain JSON from another language or the command
line becomes what the function declares.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, cast
from uuid import UUID

import msgspec

from orchestrator.client import shapes
from orchestrator.client.scalars import FROM_PLAIN, INTEGER_MAX, TREES, bytes_of, datetime_of
from orchestrator.client.sealing import readable
from orchestrator.client.type_codecs import TAG, TypeCodec, codec_named, codec_of
from orchestrator.commitments.classes import is_pydantic, is_record
from orchestrator.domain.errors import OrchestratorError
from orchestrator.domain.promise import EMPTY, Value

DEPTH_MAX = 200
_THEMSELVES = (int, str, bool)
"""Types of which a value is its own JSON tree, and is read as itself where just that type is declared."""
_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
_read = msgspec.json.decode


class EncodingError(OrchestratorError):
    """A value has no stored form; `path` names the place inside it, `reason` says what to do."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class DecodingError(OrchestratorError):
    """A stored text is not what is declared here; `path` names the place, `reason` says what is wrong."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


# -- texts


def text_of(tree: object) -> str:
    """Return the JSON text of a tree."""
    # Of whole numbers the text is the same without an encoder, and they are what steps mostly return.
    return str(tree) if type(tree) is int else _json.encode(tree)


def to_data(tree: object) -> str:
    """Return the text of a JSON tree as it stands in `Value.data`: base64 of UTF-8 JSON."""
    return data_of(text_of(tree))


def data_of(text: str) -> str:
    """Return a JSON text as it stands in `Value.data`."""
    return binascii.b2a_base64(text.encode(), newline=False).decode("ascii")


def from_data(data: str | None, what: str) -> object:
    """Return the JSON tree in a `Value.data`, None for none. Raises DecodingError that names `what`."""
    if not data:
        return None
    try:
        return _read(binascii.a2b_base64(data, strict_mode=True))
    except (binascii.Error, ValueError, RecursionError):
        # Whatever the strict and quick readers refuse, the patient ones decide.
        pass
    try:
        return json.loads(base64.b64decode(data, validate=True))
    except (binascii.Error, ValueError, RecursionError) as error:
        raise DecodingError(what, f"the stored text is not base64 of JSON ({error})") from error


def encode_value(value: object, what: str) -> Value:
    """Return a value as it is stored. Raises EncodingError that names `what`."""
    return EMPTY if value is None else Value(data=to_data(encode(value, what)))


def plain_result(value: Any, declared: object) -> Value | None:
    """Return how a result is stored that is read as itself; None where that takes a closer look."""
    if value is None:
        return EMPTY
    cls = type(value)
    if not _is_itself(cls, declared) or (cls is int and not -INTEGER_MAX <= value <= INTEGER_MAX):
        return None
    return Value(data=to_data(value))


def _is_itself(cls: type, declared: object) -> bool:
    """Tell whether a value of this type is its own tree, and is read as itself where that is declared."""
    return cls in _THEMSELVES and (declared is cls or declared is None) and codec_of(cls) is None


def encode_result(value: object, declared: object, what: Callable[[], str]) -> tuple[Value, Any]:
    """Return a result as it is stored, and what reading that as the type `declared` gives.

    `what` names it in errors. Raises EncodingError, or DecodingError if it is not what is declared.
    """
    plain = plain_result(value, declared)
    if plain is not None:
        return plain, value
    name = what()
    tree = encode(value, name)
    read = decode(tree, declared, name)
    return Value(data=to_data(tree)), read


def decode_value(value: Value, declared: object, what: str) -> Any:
    """Return a stored value as the type `declared` (None for undeclared). Raises DecodingError."""
    tree = from_data(value.data if value.headers is None else readable(value, what), what)
    return tree if _is_itself(type(tree), declared) else decode(tree, declared, what)


# -- encoding


def encode(value: object, path: str, depth: int = 0) -> object:
    """Return the JSON tree of a value. Raises EncodingError for one without a stored form."""
    cls = type(value)
    if value is None or cls in (bool, str):
        return value
    scalar = TREES.get(cls)
    if scalar is not None:
        return scalar(value)
    if depth > DEPTH_MAX:
        raise EncodingError(path, f"nested deeper than {DEPTH_MAX} levels, or it contains itself")
    if cls is list:
        return _elements(cast("list[object]", value), path, depth)
    if cls is dict:
        return _dictionary(cast("dict[object, object]", value), path, depth)
    return _tagged(value, cls, path, depth)


def _elements(values: Sequence[object], path: str, depth: int) -> list[object]:
    return [encode(value, f"{path}[{index}]", depth + 1) for index, value in enumerate(values)]


def _dictionary(values: dict[object, object], path: str, depth: int) -> object:
    if all(type(key) is str for key in values):
        members = {str(key): encode(value, f"{path}[{key!r}]", depth + 1) for key, value in values.items()}
        return {"$map": members} if any(key.startswith("$") for key in members) else members
    return {
        "$items": [
            [encode(key, f"{path} key", depth + 1), encode(value, f"{path}[{key!r}]", depth + 1)]
            for key, value in values.items()
        ]
    }


def _tagged(value: object, cls: type, path: str, depth: int) -> object:
    custom = codec_of(cls)
    if custom is not None:
        return {TAG: custom.name, "value": encode(_stored(value, custom, path), path, depth + 1)}
    if cls is tuple:
        return {"$tuple": _elements(cast("tuple[object, ...]", value), path, depth)}
    if cls in (set, frozenset):
        elements = [encode(element, f"{path} element", depth + 1) for element in cast("set[object]", value)]
        # Sets have no order of their own: the text must not depend on the process's hash seed.
        return {"$" + cls.__name__: sorted(elements, key=json.dumps)}
    if isinstance(value, Enum):
        shapes.remember(cls)
        return {"$enum": shapes.class_name(cls), "name": value.name}
    if is_record(cls):
        shapes.remember(cls)
        fields = {
            name: encode(getattr(value, name), f"{path}.{name}", depth + 1)
            for name in shapes.field_names(cls)
        }
        return {"$class": shapes.class_name(cls), "fields": fields}
    raise EncodingError(
        path,
        f"{cls.__module__}.{cls.__qualname__} has no stored form; convert it to a dataclass, dict or list",
    )


def _stored(value: object, custom: TypeCodec, path: str) -> object:
    try:
        return custom.to_stored(value)
    except Exception as error:
        raise EncodingError(
            path, f"the codec {custom.name!r} fails: {type(error).__name__}: {error}"
        ) from error


# -- decoding


def decode(tree: object, declared: object, path: str) -> Any:
    """Return the value of a JSON tree as the type `declared` says. Raises DecodingError."""
    try:
        return _decode(tree, shapes.shape_of(declared), path)
    except RecursionError as error:
        raise DecodingError(path, "nested too deeply") from error


def _decode(tree: object, shape: shapes.Shape, path: str) -> Any:
    custom = codec_of(shape.cls)
    if custom is not None and tree is not None and not (isinstance(tree, dict) and TAG in tree):
        # Plain JSON from another language, for a type that is declared here.
        return _restored(tree, custom, path)
    if isinstance(tree, dict):
        # An object of the user's own has no key that begins with `$`.
        if len(tree) <= 2 and not _TAGS.keys().isdisjoint(tree):
            return next(read for tag, read in _TAGS.items() if tag in tree)(tree, shape, path)
        return _plain_object(tree, shape, path)
    if isinstance(tree, list):
        return _plain_array(tree, shape, path)
    if tree is None or shape.cls is None or isinstance(tree, bool):
        return tree
    return _plain_scalar(tree, shape.cls, path)


def _plain_scalar(tree: Any, cls: type, path: str) -> object:
    convert = FROM_PLAIN.get(cls)
    if issubclass(cls, Enum):
        convert = cls
    if convert is None:
        return tree
    try:
        return convert(tree)
    except (ValueError, TypeError, ArithmeticError) as error:
        raise DecodingError(path, f"declared {cls.__qualname__}, stored {str(tree)[:80]!r}") from error


def _plain_array(tree: list[object], shape: shapes.Shape, path: str) -> object:
    values = [_decode(item, shape.element(index), f"{path}[{index}]") for index, item in enumerate(tree)]
    return shape.cls(values) if shape.cls in (tuple, set, frozenset) else values


def _plain_object(tree: dict[str, object], shape: shapes.Shape, path: str) -> object:
    if shape.cls is not None and is_record(shape.cls):
        return _record(shape.cls, tree, path)
    return {key: _decode(value, shape.element(1), f"{path}[{key!r}]") for key, value in tree.items()}


def _record(cls: type, fields: object, path: str) -> object:
    if not isinstance(fields, Mapping):
        raise DecodingError(path, f"declared {cls.__qualname__}, stored no fields")
    hints = shapes.field_hints(cls)
    unknown = sorted(set(fields) - set(shapes.field_names(cls)))
    if unknown:
        raise DecodingError(path, f"{cls.__qualname__} has no field {unknown[0]!r}")
    values = {
        name: _decode(value, shapes.shape_of(hints.get(name)), f"{path}.{name}")
        for name, value in fields.items()
    }
    try:
        return cast("Any", cls).model_validate(values) if is_pydantic(cls) else _construct(cls, values)
    except (TypeError, ValueError) as error:
        raise DecodingError(path, f"{cls.__qualname__} does not accept what is stored: {error}") from error


def _construct(cls: type, values: dict[str, object]) -> object:
    later = {name: values.pop(name) for name in shapes.fields_outside_init(cls) if name in values}
    record = cls(**values)
    for name, value in later.items():
        object.__setattr__(record, name, value)
    return record


def _custom(tree: dict[str, object], _shape: shapes.Shape, path: str) -> object:
    custom = codec_named(tree[TAG])
    if custom is None:
        raise DecodingError(path, f"no codec {tree[TAG]!r} here: register it by app.register_type(...)")
    return _restored(tree.get("value"), custom, path)


def _restored(tree: object, custom: TypeCodec, path: str) -> object:
    try:
        return custom.from_stored(_decode(tree, shapes.ANY, path))
    except DecodingError:
        raise
    except Exception as error:
        raise DecodingError(
            path, f"the codec {custom.name!r} fails: {type(error).__name__}: {error}"
        ) from error


def _class(tree: dict[str, object], shape: shapes.Shape, path: str) -> object:
    return _record(_named(tree["$class"], shape, path), tree.get("fields"), path)


def _enum(tree: dict[str, object], shape: shapes.Shape, path: str) -> object:
    cls = _named(tree["$enum"], shape, path)
    try:
        return cast("type[Enum]", cls)[str(tree.get("name"))]
    except (KeyError, TypeError) as error:
        raise DecodingError(path, f"{cls.__qualname__} has no member {tree.get('name')!r}") from error


def _named(name: object, shape: shapes.Shape, path: str) -> type:
    cls = shapes.find_class(str(name), shape)
    if cls is None:
        raise DecodingError(
            path, f"the class {name!r} is not known here; annotate it, or import its module in this process"
        )
    return cls


def _sequence(tag: str, cls: type) -> Callable[[dict[str, object], shapes.Shape, str], object]:
    def read(tree: dict[str, object], shape: shapes.Shape, path: str) -> object:
        items = tree[tag]
        if not isinstance(items, list):
            raise DecodingError(path, f"{tag} holds no array")
        if tag == "$set" and shape.cls is frozenset:
            return frozenset(_decode(item, shape.element(0), path) for item in items)
        return cls(
            _decode(item, shape.element(index), f"{path}[{index}]") for index, item in enumerate(items)
        )

    return read


def _map(tree: dict[str, object], shape: shapes.Shape, path: str) -> object:
    members = tree["$map"]
    if not isinstance(members, dict):
        raise DecodingError(path, "$map holds no object")
    return {key: _decode(value, shape.element(1), f"{path}[{key!r}]") for key, value in members.items()}


def _items(tree: dict[str, object], shape: shapes.Shape, path: str) -> object:
    try:
        return {
            _decode(key, shape.element(0), path): _decode(value, shape.element(1), path)
            for key, value in cast("list[tuple[object, object]]", tree["$items"])
        }
    except (TypeError, ValueError) as error:
        raise DecodingError(path, f"$items holds no pairs: {error}") from error


def _scalar(
    tag: str, convert: Callable[[Any], object]
) -> Callable[[dict[str, object], shapes.Shape, str], object]:
    def read(tree: dict[str, object], _shape: shapes.Shape, path: str) -> object:
        try:
            return convert(tree[tag])
        except (ValueError, TypeError, AttributeError, ArithmeticError) as error:
            raise DecodingError(path, f"{tag} holds {str(tree[tag])[:80]!r}") from error

    return read


_TAGS: dict[str, Callable[[dict[str, object], shapes.Shape, str], object]] = {
    TAG: _custom,
    "$class": _class,
    "$enum": _enum,
    "$map": _map,
    "$items": _items,
    "$tuple": _sequence("$tuple", tuple),
    "$set": _sequence("$set", set),
    "$frozenset": _sequence("$frozenset", frozenset),
    "$float": _scalar("$float", float),
    "$decimal": _scalar("$decimal", Decimal),
    "$bytes": _scalar("$bytes", bytes_of),
    "$integer": _scalar("$integer", int),
    "$datetime": _scalar("$datetime", datetime_of),
    "$date": _scalar("$date", date.fromisoformat),
    "$time": _scalar("$time", time.fromisoformat),
    "$timedelta": _scalar("$timedelta", lambda value: timedelta(microseconds=value)),
    "$uuid": _scalar("$uuid", UUID),
}
