"""The proof of one step alone: what a reader needs who asks for nothing else of a large bundle."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from orchestrator.commitments import bundle as bundles
from orchestrator.commitments import verification
from orchestrator.commitments.bundle import Bundle, LeafRecord
from orchestrator.commitments.errors import ProofError
from orchestrator.commitments.verification import Check

STEP_KIND = "step"


class StepProof(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One leaf of a bundle with its path; `count` says of how many leaves."""

    version: int
    kind: str
    promise_id: str
    domain: str
    root: str
    count: int
    leaf: LeafRecord
    sections: dict[str, object]


def step_proof(bundle: Bundle, index: int, *, without: Collection[str] = ()) -> StepProof:
    """Return the proof of the step at `index`, `without` the sections of these names.

    Raises ProofError if there is no such step.
    """
    leaf = next((leaf for leaf in bundle.leaves if leaf.index == index), None)
    if leaf is None:
        raise ProofError(f"{bundle.promise_id} has {bundle.count} steps, counted from 0: there is no {index}")
    return StepProof(
        version=bundle.version,
        kind=STEP_KIND,
        promise_id=bundle.promise_id,
        domain=bundle.domain,
        root=bundle.root,
        count=bundle.count,
        leaf=leaf,
        sections={name: content for name, content in bundle.sections.items() if name not in without},
    )


def step_proof_from_json(data: bytes | str, *, bytes_max: int = bundles.BUNDLE_BYTES_MAX) -> StepProof:
    """Read the proof of a step. Raises ProofError, in one line, for anything that is not exactly one."""
    return step_proof_of(bundles.content_of(data, bytes_max=bytes_max))


def step_proof_of(content: dict[str, object]) -> StepProof:
    """Return the proof of a step that a JSON object is; raises as `step_proof_from_json`."""
    proof = bundles.convert(content, StepProof)
    if proof.kind != STEP_KIND:
        raise ProofError(f"a proof of kind {proof.kind[:40]!r} is no proof of a step")
    bundles.check_shape(as_bundle(proof))
    return proof


def as_bundle(proof: StepProof) -> Bundle:
    """Return the bundle that shows this step alone: the questions about single leaves can be put to it."""
    return Bundle(
        version=proof.version,
        promise_id=proof.promise_id,
        domain=proof.domain,
        root=proof.root,
        count=proof.count,
        leaves=[proof.leaf],
        sections=proof.sections,
    )


def verify_step_proof(proof: StepProof) -> list[Check]:
    """Return the checks of one step: `shape`, `values`, `leaves` and `proofs`, as of a bundle."""
    return verification.verify_shown(as_bundle(proof))
