"""Any event of any contract, by its declaration in Solidity or its JSON ABI: decoded into plain JSON values.

Numbers of more than 48 bits are decimal text by their declared type, whatever their value; bytes and
addresses are hexadecimal text. What the chain keeps of an indexed string, array or struct is its hash, and so
is what is told of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from eth_abi.abi import decode as abi_decode
from eth_abi.abi import is_encodable_type
from eth_abi.exceptions import DecodingError, ParseError
from eth_utils.crypto import keccak

from contracts.bindings.codec import BindingError, DecodeError
from contracts.bindings.log import Log

__all__ = ["AnyEvent", "DeclarationError", "Field"]

_DECLARATION = re.compile(r"\s*(?:event\s+)?([A-Za-z_$][\w$]*)\s*\(([^()]*)\)\s*;?\s*")
_PARAMETER = re.compile(r"\s*([a-z][\w]*(?:\[\d*\])*)(\s+indexed)?(?:\s+([A-Za-z_$][\w$]*))?\s*")
_ARRAY = re.compile(r"(.*)\[(\d*)\]")
_SHORT_BITS = 48
_TOPICS_MAX = 3


class DeclarationError(BindingError):
    """A declaration is no event's."""

    def __str__(self) -> str:
        return f"cannot read the event {self.subject}: {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A parameter of an event; `components` are the parts of a struct."""

    name: str
    type: str
    indexed: bool = False
    components: tuple[Field, ...] = ()

    @property
    def canonical(self) -> str:
        """The type as a signature has it: a struct by its parts."""
        if not self.components:
            return _canonical(self.type)
        return f"({','.join(part.canonical for part in self.components)}){self.type.removeprefix('tuple')}"

    @property
    def hashed(self) -> bool:
        """Whether a topic holds only a hash of the value."""
        dynamic = self.type in ("string", "bytes") or bool(self.components) or "[" in self.type
        return self.indexed and dynamic

    @property
    def plain(self) -> bool:
        """Whether the value is one short word that can stand in an id."""
        return not (self.components or "[" in self.type or self.type in ("string", "bytes"))


@dataclass(frozen=True, slots=True, kw_only=True)
class AnyEvent:
    """An event: its name and its parameters, all of them with names."""

    name: str
    fields: tuple[Field, ...]
    topic0: bytes = field(init=False)

    def __post_init__(self) -> None:
        names = [each.name for each in self.fields]
        if len(names) != len(set(names)) or "" in names:
            raise DeclarationError(self.name, "every parameter needs a name of its own")
        if sum(each.indexed for each in self.fields) > _TOPICS_MAX:
            raise DeclarationError(self.name, "at most three parameters can be indexed")
        for each in self.fields:
            _check_type(self.name, each.canonical)
        object.__setattr__(self, "topic0", keccak(text=self.signature))

    @classmethod
    def parse(cls, declaration: str) -> AnyEvent:
        """Read `Transfer(address indexed from, address indexed to, uint256 value)`.

        Raises DeclarationError, as for a struct: an event with one needs its JSON ABI.
        """
        found = _DECLARATION.fullmatch(declaration)
        if found is None:
            raise DeclarationError(declaration, "write Name(type indexed name, type name), or give its ABI")
        texts = found[2].split(",") if found[2].strip() else []
        return cls(name=found[1], fields=tuple(_parameter(declaration, text) for text in texts))

    @classmethod
    def from_abi(cls, text: str, name: str) -> AnyEvent:
        """Take the event of this name from a JSON ABI, or from an artifact that has one as `abi`.

        Raises DeclarationError where there is none, or several.
        """
        try:
            document = json.loads(text)
        except ValueError as error:
            raise DeclarationError(name, f"its ABI is no JSON: {error}") from error
        entries = document.get("abi") if isinstance(document, dict) else document
        if not isinstance(entries, list):
            raise DeclarationError(name, "its ABI is no list of entries")
        found = [
            each
            for each in entries
            if isinstance(each, dict) and each.get("type") == "event" and each.get("name") == name
        ]
        if len(found) != 1:
            names = sorted(
                str(each.get("name"))
                for each in entries
                if isinstance(each, dict) and each.get("type") == "event"
            )
            raise DeclarationError(
                name, f"the ABI has {len(found)} events of this name, of {', '.join(names)}"
            )
        return cls(name=name, fields=tuple(_abi_field(name, each) for each in found[0].get("inputs", ())))

    @property
    def signature(self) -> str:
        """The canonical signature, such as `Transfer(address,address,uint256)`."""
        return f"{self.name}({','.join(each.canonical for each in self.fields)})"

    def decode(self, log: Log) -> dict[str, object]:
        """Return the parameters by name, as JSON values. Raises DecodeError."""
        subject = f"event {self.signature} at log {log.log_index} of block {log.block_number}"
        if log.topics[:1] != (self.topic0,):
            raise DecodeError(subject, "its first topic names another event")
        indexed = [each for each in self.fields if each.indexed]
        if len(log.topics) != 1 + len(indexed):
            raise DecodeError(subject, f"{len(log.topics)} topics where {1 + len(indexed)} belong")
        told = [each for each in self.fields if not each.indexed]
        try:
            data = abi_decode([each.canonical for each in told], log.data)
            topics = [
                topic if each.hashed else abi_decode([each.canonical], topic)[0]
                for each, topic in zip(indexed, log.topics[1:], strict=True)
            ]
        except (DecodingError, UnicodeDecodeError, OverflowError) as error:
            raise DecodeError(subject, str(error)) from error
        values = {each.name: _plain(each, value) for each, value in zip(told, data, strict=True)}
        values |= {
            each.name: "0x" + value.hex() if each.hashed else _plain(each, value)
            for each, value in zip(indexed, topics, strict=True)
        }
        return {each.name: values[each.name] for each in self.fields}


def _canonical(declared: str) -> str:
    return re.sub(r"^(u?int)(?=\[|$)", r"\g<1>256", declared)


def _parameter(declaration: str, text: str) -> Field:
    found = _PARAMETER.fullmatch(text)
    if found is None or found[3] in (None, "indexed"):
        raise DeclarationError(declaration, f"{text.strip()!r} is no parameter: write type [indexed] name")
    return Field(name=found[3], type=_canonical(found[1]), indexed=bool(found[2]))


def _abi_field(event: str, entry: Any) -> Field:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("type"), str):
        raise DeclarationError(event, f"its ABI has a parameter without a type: {entry!r:.80}")
    parts: Sequence[Any] = entry.get("components") or ()
    return Field(
        name=str(entry.get("name", "")),
        type=_canonical(entry["type"]),
        indexed=entry.get("indexed") is True,
        components=tuple(_abi_field(event, part) for part in parts),
    )


def _check_type(event: str, declared: str) -> None:
    try:
        known = is_encodable_type(declared)
    except (ParseError, ValueError) as error:
        raise DeclarationError(event, f"{declared} is no type: {error}") from error
    if not known:
        raise DeclarationError(event, f"{declared} is no type of Solidity's ABI")


def _plain(of: Field, value: Any) -> object:
    if array := _ARRAY.fullmatch(of.type):
        inner = Field(name=of.name, type=array[1], components=of.components)
        return [_plain(inner, each) for each in value]
    if of.components:
        return {
            part.name or str(number): _plain(part, each)
            for number, (part, each) in enumerate(zip(of.components, value, strict=True))
        }
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if of.type == "address":
        return str(value).lower()
    if number := re.fullmatch(r"u?int(\d+)", of.type):
        return value if int(number[1]) <= _SHORT_BITS else str(value)
    return str(value) if not isinstance(value, (bool, str)) else value
