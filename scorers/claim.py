"""The claim of a bundle: its section read, and the finalised block of a node at which it is judged."""

from __future__ import annotations

import re
from dataclasses import dataclass

import msgspec

from contracts.rpc import Node
from orchestrator.commitments import Bundle
from scorers.sections import SECTION, ScoringSection

_ADDRESS = re.compile(r"0x[0-9a-f]{40}")
_HASH = re.compile(r"(0x)?[0-9a-fA-F]{64}")
_PROPOSAL_ID = re.compile(r"[0-9]{1,78}")


class EvidenceError(Exception):
    """A bundle that says too little, or what the chain does not confirm; the message names the place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A bundle with its section read, and the finalised block at which it is judged."""

    bundle: Bundle
    section: ScoringSection
    proposal_id: int
    at: int


def section_in(bundle: Bundle) -> ScoringSection:
    """Return the bundle's section. Raises EvidenceError if it is missing or malformed."""
    content = bundle.sections.get(SECTION)
    if content is None:
        raise EvidenceError(f"the bundle has no section {SECTION!r}: its score is not on a chain yet")
    try:
        section = msgspec.convert(content, ScoringSection)
    except msgspec.ValidationError as error:
        raise EvidenceError(f"section {SECTION!r} is malformed: {error}") from error
    if not _PROPOSAL_ID.fullmatch(section.proposal_id):
        raise EvidenceError(f"section {SECTION!r} is malformed: proposal_id is no decimal number")
    for name in ("dao", "registry", "scorer"):
        check_address(f"section {SECTION!r}: the {name}", getattr(section, name))
    return section


async def read_claim(node: Node, bundle: Bundle) -> Claim:
    """Return the bundle's claim. Raises EvidenceError if its section is missing or malformed."""
    section = section_in(bundle)
    finalized = await node.header("finalized")
    return Claim(bundle=bundle, section=section, proposal_id=int(section.proposal_id), at=finalized.number)


def same(what: str, claimed: object, actual: object) -> None:
    """Raise EvidenceError, with both, unless the chain says what the bundle claims."""
    if claimed != actual:
        raise EvidenceError(f"{what} is {actual} on the chain, the bundle says {claimed}")


def check_address(name: str, text: str) -> None:
    """Raise EvidenceError that names it unless `text` is an address in the one spelling of bundles."""
    if not _ADDRESS.fullmatch(text):
        raise EvidenceError(f"{name} {text[:60]!r} is no address, 0x and 40 lower-case digits")


def hash_in(name: str, text: str) -> bytes:
    """Return the 32 bytes of a hash. Raises EvidenceError that names it."""
    if not _HASH.fullmatch(text):
        raise EvidenceError(f"{name} is not a hash: {text[:80]!r}")
    return bytes.fromhex(text.removeprefix("0x"))


def text_of(value: bytes) -> str:
    """Return bytes as 0x text."""
    return "0x" + value.hex()
