"""Functions and events of contracts as values that encode and decode, without any I/O.

Owns the translation between Python values and the contract ABI. Addresses are strings in lower case with
`0x`, `bytesN` are bytes, integers are int. It must not import web3, a sibling package or anything that does
I/O.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Generic, TypeVar

from eth_abi.abi import decode as abi_decode
from eth_abi.abi import encode as abi_encode
from eth_abi.exceptions import DecodingError, EncodingError
from eth_utils.crypto import keccak

from contracts.bindings.log import Log

__all__ = ["BindingError", "DecodeError", "EncodeError", "Event", "Function", "Parameter", "encode_values"]

R = TypeVar("R")


class BindingError(Exception):
    """A value does not fit the contract's ABI; a retry with the same value does not help."""

    def __init__(self, subject: str, reason: str) -> None:
        super().__init__(subject, reason)
        self.subject = subject
        self.reason = reason


class EncodeError(BindingError):
    """An argument does not fit the type that the contract declares."""

    def __str__(self) -> str:
        return f"cannot encode {self.subject}: {self.reason}"


class DecodeError(BindingError):
    """Bytes from a node are not what the contract's ABI promises."""

    def __str__(self) -> str:
        return f"cannot decode {self.subject}: {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A parameter of an event: its name and type in Solidity, and how its value is refined."""

    name: str
    type: str
    indexed: bool = False
    parse: Callable[..., object] | None = None

    @property
    def field_name(self) -> str:
        """The name of the dataclass's field: the Solidity name in snake case."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", self.name).lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Function(Generic[R]):
    """A function of a contract: its call data and its result.

    `result` takes the decoded outputs as positional arguments and makes the value that `decode` returns.
    """

    name: str
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    result: Callable[..., R]
    selector: bytes = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "selector", keccak(text=self.signature)[:4])

    @property
    def signature(self) -> str:
        """The canonical signature, such as `castVote(uint256,uint8)`."""
        return f"{self.name}({','.join(self.inputs)})"

    def encode(self, *arguments: object) -> bytes:
        """Return the call data; a dataclass stands for a struct, field by field.

        Raises:
            EncodeError: an argument is missing, too many or of another type.

        """
        return self.selector + encode_values(self.signature, self.inputs, arguments)

    def decode(self, data: bytes) -> R:
        """Return the typed result of a call.

        Raises:
            DecodeError: the data is not such a result; empty data means an address without this contract.

        """
        subject = f"the result of {self.signature}"
        if self.outputs and not data:
            raise DecodeError(subject, "the answer is empty: is there such a contract at this address?")
        values = _decode_values(subject, self.outputs, data)
        return _built(subject, lambda: self.result(*values))


@dataclass(frozen=True, slots=True, kw_only=True)
class Event(Generic[R]):
    """An event of a contract: its first topic, and the dataclass that its logs become."""

    name: str
    parameters: tuple[Parameter, ...]
    record: type[R]
    topic0: bytes = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "topic0", keccak(text=self.signature))

    @property
    def signature(self) -> str:
        """The canonical signature, such as `ProposalCanceled(uint256)`."""
        return f"{self.name}({','.join(parameter.type for parameter in self.parameters)})"

    def matches(self, log: Log) -> bool:
        """Whether the log's first topic is this event's."""
        return log.topics[:1] == (self.topic0,)

    def topics(self, **indexed: object) -> list[str | None]:
        """Return the `topics` filter of eth_getLogs: the event, narrowed by fields that are indexed.

        Raises:
            EncodeError: a field is unknown, not indexed or of another type.

        """
        topics: list[str | None] = ["0x" + self.topic0.hex()]
        for parameter in self._indexed():
            value = indexed.pop(parameter.field_name, None)
            topics.append(None if value is None else self._topic(parameter, value))
        if indexed:
            raise EncodeError(f"a filter of {self.signature}", f"not indexed: {', '.join(sorted(indexed))}")
        while topics[-1] is None:
            topics.pop()
        return topics

    def decode(self, log: Log) -> R:
        """Return the log as this event's dataclass.

        Raises:
            DecodeError: the log is of another event, or its topics or data are malformed.

        """
        subject = f"event {self.signature} at log {log.log_index} of block {log.block_number}"
        if not self.matches(log):
            raise DecodeError(subject, "its first topic names another event")
        indexed, plain = self._indexed(), [each for each in self.parameters if not each.indexed]
        if len(log.topics) != 1 + len(indexed):
            raise DecodeError(subject, f"{len(log.topics)} topics where {1 + len(indexed)} belong")
        topics = _decode_values(subject, [each.type for each in indexed], b"".join(log.topics[1:]))
        # A stranger's reason for a vote need not be UTF-8, and the vote counts all the same.
        data = _decode_values(subject, [each.type for each in plain], log.data, any_text=True)
        pairs = [*zip(indexed, topics, strict=True), *zip(plain, data, strict=True)]
        return _built(subject, lambda: self._record(pairs))

    def _record(self, pairs: Sequence[tuple[Parameter, object]]) -> R:
        values = {each.field_name: each.parse(value) if each.parse else value for each, value in pairs}
        return self.record(**values)

    def _indexed(self) -> list[Parameter]:
        return [parameter for parameter in self.parameters if parameter.indexed]

    def _topic(self, parameter: Parameter, value: object) -> str:
        return "0x" + encode_values(self.signature, [parameter.type], [value]).hex()


def encode_values(subject: str, types: Sequence[str], values: Sequence[object]) -> bytes:
    """Return the ABI encoding of the values.

    Raises:
        EncodeError: they do not fit the types; `subject` names what was to be encoded.

    """
    if len(values) != len(types):
        raise EncodeError(subject, f"{len(values)} arguments where {len(types)} belong")
    try:
        return abi_encode(list(types), [_plain(value) for value in values])
    except (EncodingError, TypeError, ValueError, OverflowError) as error:
        raise EncodeError(subject, str(error)) from error


def _plain(value: object) -> object:
    """Turn dataclasses into the tuples that eth_abi takes for structs, inside lists too."""
    if is_dataclass(value) and not isinstance(value, type):
        return tuple(_plain(getattr(value, each.name)) for each in fields(value))
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return value


def _decode_values(
    subject: str, types: Sequence[str], data: bytes, *, any_text: bool = False
) -> tuple[object, ...]:
    read_as = [kind.replace("string", "bytes") if any_text else kind for kind in types]
    try:
        values = abi_decode(read_as, data)
    except (DecodingError, UnicodeDecodeError, OverflowError) as error:
        raise DecodeError(subject, str(error)) from error
    return tuple(
        value if kind == asked else _text(value)
        for value, kind, asked in zip(values, types, read_as, strict=True)
    )


def _text(value: object) -> object:
    """Return text, or a tuple of texts, with U+FFFD for what is no UTF-8."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return tuple(_text(each) for each in value) if isinstance(value, tuple) else value


def _built(subject: str, build: Callable[[], R]) -> R:
    """Build a typed value; an ordinal unknown to its enumeration is undecodable data like any other."""
    try:
        return build()
    except ValueError as error:
        raise DecodeError(subject, str(error)) from error
