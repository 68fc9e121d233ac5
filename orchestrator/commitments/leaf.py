"""What is committed of a step, and the leaf that it becomes.

A commitment stands in plain headers beside the step's result, written in the same write. A leaf adds where
the step stands: the application's domain, its index and the number of all leaves.

Invariants: M1 equal inputs give equal roots anywhere: no clock, worker, attempt, nonce or transaction enters.
M2 a changed input, output, order, count, version or domain gives another root.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from orchestrator.commitments import tree
from orchestrator.commitments.errors import ProofError
from orchestrator.commitments.integers import SAFE_INTEGER_MAX
from orchestrator.commitments.rows import RowType

SCHEME = "1"
SCHEME_HEADER = "commitment-scheme"
FUNCTION_HEADER = "commitment-function"
VERSION_HEADER = "commitment-version"
INPUT_HEADER = "commitment-input"
OUTPUT_HEADER = "commitment-output"
STEP_HEADERS = (FUNCTION_HEADER, VERSION_HEADER, INPUT_HEADER, OUTPUT_HEADER)

FUNCTION_LENGTH_MAX = 256
LEAF_TYPES = ("bytes32", "uint256", "uint256", "string", "uint256", "bytes32", "bytes32")
LEAF_ROW = RowType(LEAF_TYPES)
_HASH_TEXT = re.compile(r"0x[0-9a-f]{64}")
_NUMBER_TEXT = re.compile(r"0|[1-9][0-9]{0,15}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Commitment:
    """One step: the function's name and version, SHA-256 of its canonical input and output."""

    function: str
    version: int
    input_hash: bytes
    output_hash: bytes

    def __post_init__(self) -> None:
        check_named(self.function, self.version)
        check_hash("input hash", self.input_hash)
        check_hash("output hash", self.output_hash)

    def to_headers(self) -> dict[str, str]:
        """Return the headers that a settlement carries."""
        return headers_of(self.function, self.version, self.input_hash, self.output_hash)

    @classmethod
    def from_headers(cls, headers: Mapping[str, str] | None) -> Self | None:
        """Return the commitment in `headers`, None if there is none. Raises ProofError if it is malformed."""
        if headers is None or not any(name in headers for name in STEP_HEADERS):
            return None
        check_scheme(headers)
        return cls(
            function=header(headers, FUNCTION_HEADER),
            version=number_from_text(VERSION_HEADER, header(headers, VERSION_HEADER)),
            input_hash=hash_from_text(INPUT_HEADER, header(headers, INPUT_HEADER)),
            output_hash=hash_from_text(OUTPUT_HEADER, header(headers, OUTPUT_HEADER)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """A commitment in its place: `index` of `count` leaves of one `domain` (32 opaque bytes)."""

    domain: bytes
    index: int
    count: int
    commitment: Commitment

    def __post_init__(self) -> None:
        check_hash("domain", self.domain)
        check_number("index", self.index, SAFE_INTEGER_MAX)
        check_number("count", self.count, SAFE_INTEGER_MAX)
        if self.index >= self.count:
            raise ProofError(f"leaf index {self.index} is not below the count of {self.count}")


def headers_of(function: str, version: int, input_hash: bytes, output_hash: bytes) -> dict[str, str]:
    """Return the headers of a commitment whose function and hashes were checked before."""
    return {
        SCHEME_HEADER: SCHEME,
        FUNCTION_HEADER: function,
        VERSION_HEADER: str(version),
        INPUT_HEADER: hash_text(input_hash),
        OUTPUT_HEADER: hash_text(output_hash),
    }


def leaf_hash(leaf: Leaf) -> bytes:
    """Return keccak256(keccak256(abi.encode(leaf))), the leaf of OpenZeppelin's StandardMerkleTree.

    The contract checks this order: (domain, index, count, function, version, inputHash, outputHash).
    """
    step = leaf.commitment
    values = (
        leaf.domain,
        leaf.index,
        leaf.count,
        step.function,
        step.version,
        step.input_hash,
        step.output_hash,
    )
    return LEAF_ROW.leaf_hash(values)


def leaves_of(domain: bytes, commitments: Sequence[Commitment]) -> list[Leaf]:
    """Return the leaves of all `commitments`, in their order."""
    count = len(commitments)
    return [
        Leaf(domain=domain, index=index, count=count, commitment=commitment)
        for index, commitment in enumerate(commitments)
    ]


def tree_of(domain: bytes, commitments: Sequence[Commitment]) -> tree.MerkleTree:
    """Return the tree over the leaves of all `commitments`. Raises ProofError if there is none."""
    return tree.MerkleTree([leaf_hash(leaf) for leaf in leaves_of(domain, commitments)])


def verify_leaf(root: bytes, leaf: Leaf, proof: Iterable[bytes]) -> bool:
    """Tell whether `leaf`, hashed here, stands in the tree of `root`."""
    return tree.verify(root, leaf_hash(leaf), proof)


def hash_text(value: bytes) -> str:
    """Return a hash as 0x and 64 lower-case hexadecimal digits."""
    return "0x" + value.hex()


def hash_from_text(name: str, text: str) -> bytes:
    """Return the 32 bytes of `0x…`. Raises ProofError, naming `name`, for any other spelling."""
    if not _HASH_TEXT.fullmatch(text):
        raise ProofError(f"{name} must be 0x and 64 lower-case hexadecimal digits, not {text[:80]!r}")
    return bytes.fromhex(text[2:])


def number_from_text(name: str, text: str) -> int:
    """Return a decimal number of at most 53 bits. Raises ProofError for any other spelling."""
    if not _NUMBER_TEXT.fullmatch(text) or int(text) > SAFE_INTEGER_MAX:
        raise ProofError(f"{name} must be a decimal number, not {text[:80]!r}")
    return int(text)


def header(headers: Mapping[str, str], name: str) -> str:
    """Return a header. Raises ProofError if it is missing."""
    value = headers.get(name)
    if value is None:
        raise ProofError(f"the header {name} is missing")
    return value


def check_scheme(headers: Mapping[str, str]) -> None:
    """Raise ProofError unless the headers speak the one scheme that this version knows."""
    scheme = header(headers, SCHEME_HEADER)
    if scheme != SCHEME:
        raise ProofError(f"commitment scheme {scheme[:80]!r} is unknown here, this version reads {SCHEME!r}")


def check_hash(name: str, value: bytes) -> None:
    """Raise ProofError unless `value` is 32 bytes."""
    if type(value) is not bytes or len(value) != tree.HASH_BYTES:
        raise ProofError(f"the {name} must be {tree.HASH_BYTES} bytes")


def check_number(name: str, value: int, maximum: int) -> None:
    """Raise ProofError unless `value` is an integer from 0 to `maximum`."""
    if type(value) is not int or not 0 <= value <= maximum:
        raise ProofError(f"the {name} must be an integer from 0 to {maximum}, not {value!r}")


def check_named(function: str, version: int) -> None:
    """Raise ProofError unless a commitment can name this function and version."""
    _check_function(function)
    check_number("version", version, SAFE_INTEGER_MAX)


def _check_function(function: str) -> None:
    if type(function) is not str or not 0 < len(function) <= FUNCTION_LENGTH_MAX:
        raise ProofError(f"a function's name must have 1 to {FUNCTION_LENGTH_MAX} characters")
    try:
        function.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ProofError("a function's name must be valid Unicode text") from error
