"""The text of RFC 8785 (JSON Canonicalization Scheme): strings, key order, arrays and objects.

Numbers are integers of at most 53 bits and nothing else: what this project writes and accepts has no floats.
`parse` and `encode` are for JSON as such; typed values go through `canonical`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from operator import itemgetter
from typing import TypeVar

from orchestrator.commitments.errors import CanonicalError
from orchestrator.commitments.integers import SAFE_INTEGER_MAX

NESTING_MAX = 200
# What json.dumps(value, ensure_ascii=False) calls in the end, after it has set up an encoder for each string.
quoted = json.encoder.encode_basestring
_key = itemgetter(0)

ItemT = TypeVar("ItemT")


def string(value: str) -> str:
    """Return the JSON string of RFC 8785, section 3.2.2.2: the shortest escapes, everything else as it is.

    Raises CanonicalError for a lone surrogate, which UTF-8 cannot carry.
    """
    if not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise CanonicalError("", f"the string has a lone surrogate at character {error.start}") from error
    return quoted(value)


def array(elements: Iterable[str]) -> str:
    """Return the JSON array of encoded elements."""
    return "[" + ",".join(elements) + "]"


def json_object(members: Iterable[tuple[str, str]]) -> str:
    """Return the JSON object of (key, encoded value), keys in the order of their UTF-16 code units."""
    ordered = in_order(members)
    written = [f"{quoted(key) if key.isascii() else string(key)}:{value}" for key, value in ordered]
    return f"{{{','.join(written)}}}"


def in_order(members: Iterable[tuple[str, ItemT]]) -> list[tuple[str, ItemT]]:
    """Return pairs of a key and something in the order of their keys' UTF-16 code units."""
    ordered = list(members)
    if len(ordered) > 1:
        # Of ASCII text, which keys mostly are, both orders are one, and this one is found much sooner.
        plain = "".join([key for key, _ in ordered]).isascii()
        ordered.sort(key=_key if plain else lambda member: utf16_order(member[0]))
    return ordered


def utf16_order(key: str) -> bytes:
    """Return what sorts a key as RFC 8785, section 3.2.3 wants it: by UTF-16 code units, not code points."""
    return key.encode("utf-16-be", "surrogatepass")


def parse(text: str) -> object:
    """Return the value of a JSON text.

    Raises CanonicalError for a float, a repeated key, deep nesting, or half of a surrogate pair.
    """
    try:
        found: object = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_float=_refuse_float,
            parse_int=_safe_integer,
            parse_constant=_refuse_float,
        )
        if "\\ud" in text or "\\uD" in text:
            # Escaped, halves pass the reader, and nobody could write them again.
            json.dumps(found, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise CanonicalError("", "a string has a lone surrogate") from error
    except RecursionError as error:
        raise CanonicalError("", "the JSON is nested too deeply") from error
    except ValueError as error:
        raise CanonicalError("", f"not JSON: {error}") from error
    return found


def encode(value: object, depth: int = 0) -> str:
    """Return the canonical text of a JSON value. Raises CanonicalError for what has no place in it."""
    if depth > NESTING_MAX:
        raise CanonicalError("", f"the JSON is nested deeper than {NESTING_MAX} levels")
    if value is None or type(value) is bool:
        return "null" if value is None else str(value).lower()
    if type(value) is str:
        return string(value)
    if type(value) is int and abs(value) <= SAFE_INTEGER_MAX:
        return str(value)
    if type(value) is list:
        return array([encode(element, depth + 1) for element in value])
    if type(value) is dict and all(type(key) is str for key in value):
        return json_object([(key, encode(member, depth + 1)) for key, member in value.items()])
    raise CanonicalError("", f"{type(value).__qualname__} cannot stand in canonical JSON; write it as text")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise CanonicalError("", "a key stands twice in one JSON object")
    return members


def _refuse_float(text: str) -> object:
    raise CanonicalError("", f"the number {text[:40]} is not an integer; write it as text")


def _safe_integer(text: str) -> int:
    if len(text) > len(str(-SAFE_INTEGER_MAX)) or abs(int(text)) > SAFE_INTEGER_MAX:
        raise CanonicalError("", f"the integer {text[:40]} is too large for a JSON number; write it as text")
    return int(text)
