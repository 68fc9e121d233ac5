"""Typed rows as leaves of a StandardMerkleTree: what an application proves beside its steps.

A workflow whose step returns many equal things (one vote each, one payment each) commits to them one by one
by putting the root of their tree into the step's output. A row's leaf is
keccak256(keccak256(abi.encode(row))), as OpenZeppelin's package and contracts hash it.

The encoder is this package's own, since eth_abi takes a third of a millisecond for ten rows; the tests hold
it against eth_abi. It knows the types that a row needs: bytes32, uint8 to uint256, address, bool and string.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from orchestrator.commitments.errors import ProofError
from orchestrator.commitments.keccak import keccak

WORD_BYTES = 32
_ADDRESS_BYTES = 20
_ADDRESS_LENGTH = 2 + 2 * _ADDRESS_BYTES
_STRING = "string"
_TRUE, _FALSE = (1).to_bytes(WORD_BYTES, "big"), bytes(WORD_BYTES)

WordEncoder = Callable[[object], bytes]


class RowType:
    """The Solidity types of a row's fields, in the order in which they are hashed. Raises ProofError."""

    __slots__ = ("_encoders", "types")

    def __init__(self, types: Sequence[str]) -> None:
        self.types = tuple(types)
        self._encoders = tuple(_encoder(one) for one in self.types)

    def encode(self, values: Sequence[object]) -> bytes:
        """Return `abi.encode` of the values. Raises ProofError, with the field's number, for a wrong one."""
        if len(values) != len(self.types):
            raise ProofError(f"a row has {len(self.types)} fields, got {len(values)}")
        heads: list[bytes] = []
        tails: list[bytes] = []
        offset = WORD_BYTES * len(values)
        for number, (encode, value) in enumerate(zip(self._encoders, values, strict=True)):
            try:
                if encode is not None:
                    heads.append(encode(value))
                    continue
                tail = _string(value)
            except (ValueError, TypeError, OverflowError) as error:
                raise ProofError(f"field {number} is no {self.types[number]}: {error}") from error
            heads.append(offset.to_bytes(WORD_BYTES, "big"))
            tails.append(tail)
            offset += len(tail)
        return b"".join((*heads, *tails))

    def leaf_hash(self, values: Sequence[object]) -> bytes:
        """Return the row's leaf, 32 bytes. Raises ProofError as `encode` does."""
        return keccak(keccak(self.encode(values)))


def _encoder(declared: str) -> WordEncoder | None:
    """Return how a word of this type is written; None for text, which stands behind the words."""
    if declared == _STRING:
        return None
    if declared in _WORDS:
        return _WORDS[declared]
    digits = declared.removeprefix("uint")
    if declared == digits or not digits.isdecimal() or not 0 < int(digits) <= 256 or int(digits) % 8:
        raise ProofError(f"a row cannot have a field of type {declared!r}")
    return _unsigned(int(digits))


def _unsigned(bits: int) -> WordEncoder:
    limit = 1 << bits

    def encode(value: object) -> bytes:
        if type(value) is not int or not 0 <= value < limit:
            raise ValueError(f"{value!r} is not from 0 to 2**{bits} - 1")
        return value.to_bytes(WORD_BYTES, "big")

    return encode


def _bytes32(value: object) -> bytes:
    if type(value) is not bytes or len(value) != WORD_BYTES:
        raise ValueError("32 bytes are needed")
    return value


def _address(value: object) -> bytes:
    # fromhex() skips blanks: what is shorter than it looks would be another address.
    if type(value) is str and len(value) == _ADDRESS_LENGTH and value[:2] == "0x":
        content = bytes.fromhex(value[2:])
        if len(content) == _ADDRESS_BYTES:
            return content.rjust(WORD_BYTES, b"\0")
    raise ValueError("0x and 40 hexadecimal digits are needed")


def _bool(value: object) -> bytes:
    if type(value) is not bool:
        raise ValueError("true or false is needed")
    return _TRUE if value else _FALSE


def _string(value: object) -> bytes:
    if type(value) is not str:
        raise ValueError("text is needed")
    content = value.encode("utf-8")
    padded = content.ljust(-(-len(content) // WORD_BYTES) * WORD_BYTES, b"\0")
    return len(content).to_bytes(WORD_BYTES, "big") + padded


_WORDS: dict[str, WordEncoder] = {"bytes32": _bytes32, "address": _address, "bool": _bool}
