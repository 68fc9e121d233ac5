"""Merkle commitments to the steps of a workflow: canonical encoding, leaf, tree, proof.

Pure: no clock, no chance, no I/O, no logs; of the project it imports `domain` and `protocol` alone.
"""

from orchestrator.commitments.bundle import Bundle, LeafRecord, bundle_from_json, bundle_to_json
from orchestrator.commitments.canonical import (
    canonical,
    canonical_arguments,
    canonical_result,
    check_function,
)
from orchestrator.commitments.closing import CLOSE_HEADER, Closing, close
from orchestrator.commitments.errors import CanonicalError, CommitmentError, ProofError
from orchestrator.commitments.integers import (
    Int32,
    Int64,
    Int256,
    IntegerType,
    Uint8,
    Uint16,
    Uint32,
    Uint64,
    Uint128,
    Uint256,
)
from orchestrator.commitments.leaf import Commitment, Leaf, leaf_hash, leaves_of, tree_of, verify_leaf
from orchestrator.commitments.partial import (
    StepProof,
    step_proof,
    step_proof_from_json,
    verify_step_proof,
)
from orchestrator.commitments.proof import (
    CommittedStep,
    Decode,
    StepValues,
    build_bundle,
    close_tree,
    committed_steps,
    with_values,
)
from orchestrator.commitments.rows import RowType
from orchestrator.commitments.tree import MerkleTree, MultiProof, verify_multi
from orchestrator.commitments.verification import Check, verify_bundle
from orchestrator.commitments.wrapper import BoundStep, Committer, commit_step, commitment_for

__all__ = [
    "CLOSE_HEADER",
    "BoundStep",
    "Bundle",
    "CanonicalError",
    "Check",
    "Closing",
    "Commitment",
    "CommitmentError",
    "CommittedStep",
    "Committer",
    "Decode",
    "Int32",
    "Int64",
    "Int256",
    "IntegerType",
    "Leaf",
    "LeafRecord",
    "MerkleTree",
    "MultiProof",
    "ProofError",
    "RowType",
    "StepProof",
    "StepValues",
    "Uint8",
    "Uint16",
    "Uint32",
    "Uint64",
    "Uint128",
    "Uint256",
    "build_bundle",
    "bundle_from_json",
    "bundle_to_json",
    "canonical",
    "canonical_arguments",
    "canonical_result",
    "check_function",
    "close",
    "close_tree",
    "commit_step",
    "commitment_for",
    "committed_steps",
    "leaf_hash",
    "leaves_of",
    "step_proof",
    "step_proof_from_json",
    "tree_of",
    "verify_bundle",
    "verify_leaf",
    "verify_multi",
    "verify_step_proof",
    "with_values",
]
