"""The evidence bundle: its shape, and its JSON, read strictly.

Canonical values travel as text, exactly as they were hashed. Sections are what the application registers as
evidence beside the tree (transaction, block, chain); they are carried, not judged here.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from orchestrator.commitments import jcs
from orchestrator.commitments.errors import CanonicalError, ProofError
from orchestrator.commitments.integers import SAFE_INTEGER_MAX
from orchestrator.commitments.leaf import hash_from_text
from orchestrator.domain.ids import fault_of_id

BUNDLE_VERSION = 2
"""Since 2 the sections of a score hold votes, times and release, and single steps and votes have proofs."""
BUNDLE_BYTES_MAX = 64 * 1024 * 1024
PROOF_LENGTH_MAX = 64


ShownT = TypeVar("ShownT", bound=msgspec.Struct)


class LeafRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One committed step. `input` and `output` are canonical JSON text, None where not shown."""

    index: int
    promise_id: str
    function: str
    version: int
    input: str | None
    output: str | None
    input_hash: str
    output_hash: str
    hash: str
    proof: list[str]


class Bundle(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole evidence of one promise; hashes are 0x and 64 lower-case hexadecimal digits."""

    version: int
    promise_id: str
    domain: str
    root: str
    count: int
    leaves: list[LeafRecord]
    sections: dict[str, object]


def bundle_to_json(bundle: msgspec.Struct) -> bytes:
    """Return a bundle, or a part of one, as JSON: always the same bytes for the same. Raises ProofError."""
    try:
        text = jcs.encode(msgspec.to_builtins(bundle))
    except CanonicalError as error:
        raise ProofError(f"the bundle cannot be written: {error}") from error
    return text.encode()


def bundle_from_json(data: bytes | str, *, bytes_max: int = BUNDLE_BYTES_MAX) -> Bundle:
    """Read a bundle. Raises ProofError, in one line, for anything that is not exactly one."""
    return bundle_of(content_of(data, bytes_max=bytes_max))


def bundle_of(content: dict[str, object]) -> Bundle:
    """Return the bundle that a JSON object is; raises as `bundle_from_json`."""
    bundle = convert(content, Bundle)
    check_shape(bundle)
    return bundle


def content_of(data: bytes | str, *, bytes_max: int = BUNDLE_BYTES_MAX) -> dict[str, object]:
    """Return the JSON object of a bundle or of a part of one. Raises ProofError, also for another version."""
    encoded = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    if len(encoded) > bytes_max:
        raise ProofError(f"the bundle has {len(encoded)} bytes, at most {bytes_max} are read")
    try:
        content = jcs.parse(encoded.decode())
    except (CanonicalError, UnicodeDecodeError) as error:
        raise ProofError(f"the bundle cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise ProofError("the bundle must be a JSON object")
    if content.get("version") != BUNDLE_VERSION or type(content["version"]) is not int:
        found = repr(content.get("version"))[:40]
        raise ProofError(f"bundle version {found} is unknown, this version reads {BUNDLE_VERSION}")
    return content


def convert(content: dict[str, object], kind: type[ShownT]) -> ShownT:
    """Return the content as a bundle or a part of one. Raises ProofError that names the place."""
    try:
        return msgspec.convert(content, kind)
    except msgspec.ValidationError as error:
        raise ProofError(f"the bundle is malformed: {error}") from error


def check_shape(bundle: Bundle) -> None:
    """Raise ProofError for a hash of another length, an id or number out of range, a repeated index."""
    _check_id("promise_id", bundle.promise_id)
    hash_from_text("domain", bundle.domain)
    hash_from_text("root", bundle.root)
    _check_range("count", bundle.count)
    seen: set[int] = set()
    for position, leaf in enumerate(bundle.leaves):
        where = f"leaves[{position}]"
        _check_id(f"{where}.promise_id", leaf.promise_id)
        _check_range(f"{where}.index", leaf.index)
        _check_range(f"{where}.version", leaf.version)
        if leaf.index in seen:
            raise ProofError(f"{where}.index {leaf.index} stands twice")
        seen.add(leaf.index)
        for name in ("input_hash", "output_hash", "hash"):
            hash_from_text(f"{where}.{name}", getattr(leaf, name))
        if len(leaf.proof) > PROOF_LENGTH_MAX:
            raise ProofError(
                f"{where}.proof has {len(leaf.proof)} hashes, at most {PROOF_LENGTH_MAX} are possible"
            )
        for step, sibling in enumerate(leaf.proof):
            hash_from_text(f"{where}.proof[{step}]", sibling)


def _check_id(name: str, promise_id: str) -> None:
    fault = fault_of_id(promise_id)
    if fault is not None:
        raise ProofError(f"{name}: {fault}")


def _check_range(name: str, value: int) -> None:
    if not 0 <= value <= SAFE_INTEGER_MAX:
        raise ProofError(f"{name} must be from 0 to 2**53 - 1, not {value}")
