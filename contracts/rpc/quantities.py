"""The text forms of JSON-RPC: quantities (`0x1f`), data (`0x00ff`), block references.

Pure. Every decoder raises ValueError for what is not such a text, and takes nothing for granted about who
sent it.
"""

from __future__ import annotations

BLOCK_TAGS = frozenset({"latest", "safe", "finalized", "earliest", "pending"})
HASH_BYTES = 32

BlockReference = int | str | bytes
"""A number, a tag, or a block's hash."""


def encode_quantity(value: int) -> str:
    """Return the shortest hexadecimal form; raises ValueError below zero."""
    if value < 0:
        raise ValueError(f"a quantity is not negative: {value}")
    return hex(value)


def decode_quantity(value: object) -> int:
    """Return the integer of a quantity; leading zeros are accepted, since some nodes send them."""
    if not isinstance(value, str) or not value.startswith("0x"):
        raise ValueError(f"not a quantity: {value!r:.100}")
    digits = value[2:]
    # int() would take a sign, underscores and digits of other scripts as well.
    if not (digits.isascii() and digits.isalnum()):
        raise ValueError(f"not a quantity: {value!r:.100}")
    return int(digits, 16)


def encode_data(value: bytes) -> str:
    """Return the hexadecimal form of bytes."""
    return "0x" + value.hex()


def decode_data(value: object, length: int | None = None) -> bytes:
    """Return the bytes of hexadecimal data; `length` is the exact number that there must be."""
    if not isinstance(value, str) or not value.startswith("0x"):
        raise ValueError(f"not hexadecimal data: {value!r:.100}")
    data = bytes.fromhex(value[2:])
    if 2 * len(data) != len(value) - 2:
        raise ValueError(f"not hexadecimal data: {value!r:.100}")
    if length is not None and len(data) != length:
        raise ValueError(f"{len(data)} bytes where {length} belong: {value!r:.100}")
    return data


def decode_hash(value: object) -> bytes:
    """Return the 32 bytes of a hash."""
    return decode_data(value, HASH_BYTES)


def decode_address(value: object) -> str:
    """Return an address in lower case."""
    return encode_data(decode_data(value, 20))


def encode_address(address: str) -> str:
    """Return an address in lower case; raises ValueError if it is none."""
    return decode_address(address)


def encode_number(block: int | str) -> str:
    """Return a block parameter by number or tag."""
    if isinstance(block, int):
        return encode_quantity(block)
    if block not in BLOCK_TAGS:
        raise ValueError(f"not a block tag: {block!r}")
    return block


def encode_block(block: BlockReference) -> str | dict[str, str]:
    """Return a block parameter of a state read: quantity, tag, or the object of EIP-1898."""
    if isinstance(block, bytes):
        return {"blockHash": encode_data(block)}
    return encode_number(block)


def describe_block(block: BlockReference) -> str:
    """Return a block reference for a message."""
    return encode_data(block) if isinstance(block, bytes) else str(block)
