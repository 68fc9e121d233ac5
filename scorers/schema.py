"""The published JSON schema of evidence bundles, made from the types that parse them.

`scorers/evidence-bundle.schema.json` is what stands in the package; a test holds it against this.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from orchestrator.commitments import Bundle
from orchestrator.commitments.bundle import BUNDLE_VERSION, PROOF_LENGTH_MAX
from orchestrator.commitments.integers import SAFE_INTEGER_MAX
from scorers.sections import SECTION, VOTES_SECTION, ScoringSection, VotesSection

SCHEMA_FILE = Path(__file__).with_name("evidence-bundle.schema.json")
_HASH = {"pattern": "^0x[0-9a-f]{64}$"}
_ADDRESS = {"pattern": "^0x[0-9a-f]{40}$"}
_AMOUNT = {"pattern": "^(0|[1-9][0-9]{0,77})$"}
_HASHES = (
    *("domain", "root", "input_hash", "output_hash", "hash", "policy_hash", "votes_root"),
    *("transaction_hash", "block_hash"),
)
_ADDRESSES = ("dao", "registry", "scorer", "voter")
_AMOUNTS = (
    *("proposal_id", "minimum_weight", "weight", "counted_weight"),
    *("for_votes", "against_votes", "abstain_votes", "required", "counted"),
)
_PATTERNS = {
    **dict.fromkeys(_HASHES, _HASH),
    **dict.fromkeys(_ADDRESSES, _ADDRESS),
    **dict.fromkeys(_AMOUNTS, _AMOUNT),
}


def evidence_schema() -> bytes:
    """Return the schema, draft 2020-12, always the same bytes."""
    (bundle, scoring, votes), components = msgspec.json.schema_components(
        [Bundle, ScoringSection, VotesSection],
        schema_hook=lambda _: {"description": "anything"},
        ref_template="#/$defs/{name}",
    )
    for name, schema in components.items():
        _tighten(name, schema)
    sections = {SECTION: scoring, VOTES_SECTION: votes}
    components["Bundle"]["properties"]["version"] = {"const": BUNDLE_VERSION}
    components["Bundle"]["properties"]["sections"] = {"type": "object", "properties": sections}
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Evidence of a committed workflow, version {BUNDLE_VERSION}",
        "description": "Numbers beyond 53 bits are decimal text; there are no floats anywhere.",
        **bundle,
        "$defs": components,
    }
    return msgspec.json.format(msgspec.json.encode(document, order="deterministic"), indent=1) + b"\n"


def _tighten(name: str, schema: dict[str, Any]) -> None:
    schema["description"] = " ".join(schema.get("description", name).split())
    for field, described in schema.get("properties", {}).items():
        if described.get("type") == "string":
            described.update(_PATTERNS.get(field, {}))
        elif described.get("type") == "integer":
            described.update({"maximum": SAFE_INTEGER_MAX, "minimum": -10_000 if field == "score" else 0})
        elif field == "proof":
            described.update({"items": {"type": "string", **_HASH}, "maxItems": PROOF_LENGTH_MAX})
